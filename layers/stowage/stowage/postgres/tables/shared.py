"""Compares the declarations of tables that all tenants share with the tables of one database."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import psycopg

from stowage.basics.schemas import Schema
from stowage.entities.checking import Finding, Literals, check, wanted_columns
from stowage.entities.declared import key_type
from stowage.entities.keys import canonical
from stowage.entities.shapes import Shape
from stowage.postgres.tables.shapes import read_shapes


def check_shared(connection: psycopg.Connection, literals: Literals, schemas: Iterable[str] = ()) -> list[Finding]:
    """What of these tables is not there as it is declared, whatever the tenant.

    Each `Schema` among `schemas` is of a tenant whose id the column of `where` must be able to hold.
    """
    tenants = [schema.tenant for schema in schemas if isinstance(schema, Schema)]
    found: list[Finding] = []
    for schema in sorted({literal["schema"] for literal in literals.values() if literal["schema"]}):
        there = {name: {**each, "schema": None} for name, each in literals.items() if each["schema"] == schema}
        absent, shapes = read_shapes(connection, [schema], wanted_columns(there))
        if any(each.table is None for each in absent):
            found += [Finding("error", name, f"there is no schema {schema}") for name in there]
            continue
        found += check({name: {**each, "lacks": ()} for name, each in there.items()}, absent, shapes)
        for name, literal in there.items():
            for shape in shapes:
                if shape.table == literal["table"]:
                    found += [Finding("error", name, told) for told in _owner(literal["where"][0], shape, tenants)]
    return [replace(each, tenants=None, schemas=()) for each in found]


def _owner(column: str, shape: Shape, tenants: Sequence[str]) -> Iterator[str]:
    """What is wrong with the column that says whose a row is."""
    if column not in shape.columns:
        yield f"there is no column {column}, which says whose a row is"
        return
    there = shape.columns[column]
    if there.is_generated:
        yield f"{column} is generated, so nobody can say whose a new record is"
    others = [tenant for tenant in tenants if canonical(key_type(there.type), tenant) is None]
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        yield f"{column} is {there.type}, which the tenant's id {others[0]}{more} is not"
