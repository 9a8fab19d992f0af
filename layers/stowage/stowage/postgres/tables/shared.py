"""Compares the declarations of tables that all tenants share with the tables of one database."""

from dataclasses import replace

import psycopg

from stowage.entities.checking import Finding, Literals, check, wanted_columns
from stowage.postgres.tables.shapes import read_shapes


def check_shared(connection: psycopg.Connection, literals: Literals) -> list[Finding]:
    """What of these tables is not there as it is declared, whatever the tenant."""
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
                if shape.table == literal["table"] and literal["where"][0] not in shape.columns:
                    sentence = f"there is no column {literal['where'][0]}, which says whose a row is"
                    found.append(Finding("error", name, sentence))
    return [replace(each, tenants=None, schemas=()) for each in found]
