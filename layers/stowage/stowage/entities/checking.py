"""Compares declarations with the tables that tenants have: what fits no more, and what would be slow."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from stowage.basics.errors import MisconfiguredError
from stowage.entities.hooks import hook_named
from stowage.entities.language import OWN_PREFIX, TRASH_IN_ROW
from stowage.entities.shapes import Absent, Shape, ShapeColumn
from stowage.entities.types import read_type

type Literals = Mapping[str, Mapping[str, Any]]
type Severity = Literal["error", "warning"]

_READS = ("USAGE", "SELECT")
_OF_DEFAULT = re.compile("stowage_app USAGE of the schema (.+) by (.+)")


@dataclass(frozen=True)
class Finding:
    """Something of an entity that is not as declared. `tenants` None: it is so whatever a tenant has.

    An error makes requests fail or be refused; a warning makes them slow or says what will be refused.
    """

    severity: Severity
    entity: str | None
    sentence: str
    tenants: int | None = None
    schemas: tuple[str, ...] = ()


def wanted_columns(literals: Literals) -> dict[str, list[str]]:
    """The columns that the declarations need, by table; tables of other schemas than the tenant's are left out."""
    return {
        literal["table"]: [*_columns(literal), *_owner(literal), *_trash_columns(literal), *TRASH_IN_ROW]
        for literal in literals.values()
        if literal["schema"] is None
    }


def check(literals: Literals, absent: Sequence[Absent], shapes: Sequence[Shape]) -> list[Finding]:
    """Every finding, errors first."""
    by_table = {literal["table"]: name for name, literal in literals.items() if literal["schema"] is None}
    found: list[Finding] = []
    for name, literal in literals.items():
        found += [Finding("error", name, f"Stowage cannot serve it yet: {reason}") for reason in literal["lacks"]]
    for each in absent:
        if each.table is None:
            found.append(Finding("error", None, "there is no schema of the tenant", each.tenants, each.schemas))
            continue
        # Where others have it, these tenants may well have no such records.
        severity: Severity = "warning" if any(shape.table == each.table for shape in shapes) else "error"
        sentence = f"there is no table {each.table}: the entity is absent there"
        found.append(Finding(severity, by_table[each.table], sentence, each.tenants, each.schemas))
    found += _hooks(literals)
    alike: dict[Finding, Finding] = {}
    for shape in shapes:
        for one in _compare(by_table[shape.table], literals[by_table[shape.table]], shape):
            same = alike.get(key := replace(one, tenants=None, schemas=()), key)
            alike[key] = replace(
                one,
                tenants=(same.tenants or 0) + (one.tenants or 0),
                schemas=tuple(sorted(same.schemas + one.schemas)),
            )
    return sorted([*found, *alike.values()], key=lambda each: (each.severity, each.entity or "", each.sentence))


def _hooks(literals: Literals) -> Iterator[Finding]:
    """The hooks that cannot be used here, where their file is packed."""
    for name, literal in literals.items():
        for field, given in literal["fields"].items():
            if "hook" in given:
                try:
                    hook_named(given["hook"])
                except MisconfiguredError as error:
                    yield Finding("error", name, f"{field}: {error.message}")


def _columns(literal: Mapping[str, Any]) -> dict[str, tuple[str, bool | None]]:
    """The columns of an entity, each with its type and whether it may be null (None: either will do)."""
    columns: dict[str, tuple[str, bool | None]] = {column: (written, None) for column, written in literal["key"]}
    for name in ("created", "updated"):
        if literal[name]:
            column, written = literal[name]
            columns[column] = (written, None)
    for given in literal["fields"].values():
        columns[given["column"]] = (given["sql"], given["nullable"])
    return columns


def _owner(literal: Mapping[str, Any]) -> tuple[str, ...]:
    """The column that says whose a row is, where all tenants share the table."""
    return literal["where"][:1] if literal["where"] else ()


def _trash_columns(literal: Mapping[str, Any]) -> tuple[str, ...]:
    """The column in which the trash lies, where there is one."""
    return literal["trash"][:1] if literal["trash"] else ()


def _compare(name: str, literal: Mapping[str, Any], shape: Shape) -> Iterator[Finding]:
    def finding(severity: Severity, sentence: str) -> Finding:
        return Finding(severity, name, sentence, shape.tenants, shape.schemas)

    yield from _compare_columns(literal, shape, finding)
    if shape.hides:
        yield finding("error", "row-level security hides rows from stowage_app (docs/operations.md)")
    if shape.is_view and not literal["read_only"]:
        yield finding("error", "it is a view; say readOnly")
    for role, needed in _rights(literal, shape).items():
        if lacking := [right for right in needed if f"{role} {right}" in shape.lacking]:
            yield finding("error", f"{role} lacks {', '.join(lacking)}; run `grant` for the schema")
    wanting = () if literal["read_only"] else map(_OF_DEFAULT.fullmatch, shape.lacking)
    for schema, column in (each.groups() for each in wanting if each):
        told = f"stowage_app lacks USAGE of the schema {schema}, which the default of {column} needs"
        yield finding("error", f"{told}: GRANT USAGE ON SCHEMA {schema} TO stowage_app")
    if not shape.is_view:
        yield from _compare_indexes(literal, shape, finding)


def _rights(literal: Mapping[str, Any], shape: Shape) -> dict[str, tuple[str, ...]]:
    """The rights that each of Stowage's roles needs on a table."""
    found: dict[str, tuple[str, ...]] = {"stowage_app": _READS}
    if not (literal["read_only"] or shape.is_view):
        made = [column for column, _ in literal["key"] if literal["maker"] == "database"]
        sequences = (f"USAGE of the sequence of {column}" for column in (*made, *_columns_that(literal, "filled")))
        found["stowage_app"] = (*_READS, "INSERT", "UPDATE", "DELETE", *sequences)
        if literal["trash"]:
            found["stowage_purge"] = (*_READS, "UPDATE", "DELETE")
        elif literal["references"]:
            found["stowage_purge"] = (*_READS, "UPDATE")
    if not (shape.is_view or literal["where"]):  # a backup holds the tenant's own tables
        found["stowage_dump"] = _READS
    return found


def _compare_columns(
    literal: Mapping[str, Any], shape: Shape, finding: Callable[[Severity, str], Finding]
) -> Iterator[Finding]:
    declared = _columns(literal)
    for column in declared:
        if column not in shape.columns:
            yield finding("error", f"there is no column {column}")
    for column in shape.columns:
        if column.startswith(OWN_PREFIX):
            yield finding("error", f"{column} must be renamed: names in Stowage's statements begin with {OWN_PREFIX}")
    yield from _compare_trash(literal, shape, finding)
    unwritten = _columns_that(literal, "hidden") | _columns_that(literal, "read_only")
    filled = _columns_that(literal, "filled")
    for column, (written, may_be_null) in declared.items():
        if column not in shape.columns:
            continue
        there = shape.columns[column]
        if not _is_same(written, there.type):
            yield finding("error", f"{column} is {there.type}, not {written}")
        if there.is_generated and column not in unwritten and not literal["read_only"]:
            yield finding("error", f"{column} is generated; say readOnly")
        if may_be_null is not None and may_be_null != there.is_nullable and not shape.is_view:
            yield finding("warning", _told_of_null(column, there))
        yield from (finding("warning", told) for told in _told_of_values(column, literal, there))
        if column in filled and not there.is_filled:
            yield finding("error", f"{column} has no default, but says databaseDefault")
    if not literal["read_only"]:
        yield from _compare_new_records(literal, shape, finding)


def _compare_new_records(
    literal: Mapping[str, Any], shape: Shape, finding: Callable[[Severity, str], Finding]
) -> Iterator[Finding]:
    """What keeps a new record from being made."""
    declared = _columns(literal)
    for column, _ in literal["key"] if literal["maker"] == "database" else ():
        if column in shape.columns and not shape.columns[column].is_filled:
            yield finding("error", f"{column} has no default and is no identity, so the database makes no keys")
    unwritten = _columns_that(literal, "hidden") | _columns_that(literal, "read_only")
    given_by_us = (set(declared) - unwritten) | _columns_that(literal, "filled")
    given_by_us |= {*_trash_columns(literal), *_owner(literal)}
    for column, there in shape.columns.items():
        if not (there.is_nullable or there.is_filled or column in given_by_us) and not shape.is_view:
            yield finding("warning", f"{column} must be given and is no field, so records cannot be created")


def _compare_trash(
    literal: Mapping[str, Any], shape: Shape, finding: Callable[[Severity, str], Finding]
) -> Iterator[Finding]:
    """What the column of the trash cannot say."""
    if literal["trash"] is None:
        return
    column, kind = literal["trash"]
    if column not in shape.columns:
        yield finding("error", f"there is no column {column}, so nothing says what is in the trash")
        return
    there = shape.columns[column]
    is_flag = "flag" in kind
    if is_flag and there.type != "boolean":
        yield finding("error", f"{column} is {there.type}, and a flag of the trash is boolean")
    elif not is_flag and not re.fullmatch(r"date|timestamp(\(\d\))? with(out)? time zone", there.type):
        yield finding("error", f"{column} is {there.type}, and the trash says since when by a timestamp or a date")
    elif there.is_generated:
        yield finding("error", f"{column} is generated, so nobody can put a record into the trash")
    elif not is_flag and not there.is_nullable:
        yield finding("error", f"{column} is NOT NULL, so every record is in the trash")
    elif is_flag and there.is_nullable and kind == "flag":
        yield finding("error", f"{column} may be null; say nullable = true, else such records are nowhere")
    if set(TRASH_IN_ROW) <= shape.columns.keys():
        yield finding("error", "an earlier version's trash lies in these rows; `soft-delete` prints how it moves")


def _columns_that(literal: Mapping[str, Any], flag: str) -> set[str]:
    """The columns of the fields that have this flag in the declaration."""
    return {given["column"] for given in literal["fields"].values() if given.get(flag)}


def _told_of_null(column: str, there: ShapeColumn) -> str:
    if there.is_nullable:
        return f"{column} may be null, but is `not null` in the declaration"
    return f"{column} is NOT NULL, but may be null in the declaration"


def _told_of_values(column: str, literal: Mapping[str, Any], there: ShapeColumn) -> Iterator[str]:
    """The declared values that an enum does not have, and its own that are not declared."""
    values = {
        value for given in literal["fields"].values() if given["column"] == column for value in given.get("values", ())
    }
    if there.labels and values:
        if unknown := sorted(values - {*there.labels}):
            yield f"{column} has no value {', '.join(unknown)}"
        if undeclared := [label for label in there.labels if label not in values]:
            yield f"{column} may be {', '.join(undeclared)}, which the declaration does not say"


def _is_same(declared: str, there: str) -> bool:
    """Whether a column is of the declared type; one of another schema may be named with or without it."""
    if declared == there or there.rpartition(".")[2] == declared:
        return True
    wanted, found = read_type(declared), read_type(there)
    return wanted is not None and found is not None and wanted.text == found.text


def _compare_indexes(
    literal: Mapping[str, Any], shape: Shape, finding: Callable[[Severity, str], Finding]
) -> Iterator[Finding]:
    """Columns by which routes look rows up and no index begins with."""
    any_index = {index.column for index in shape.indexes}
    if len(literal["key"]) == 1 and literal["where"] is None:  # of a shared table, within a tenant
        [(key, _)] = literal["key"]
        if key in shape.columns and not any(index.is_key and index.column == key for index in shape.indexes):
            yield finding("error", f"{key} is not unique by itself, so it is no key")
    if literal["created"] and literal["created"][0] not in any_index:
        yield finding("warning", f"no index begins with {literal['created'][0]}: lists are slow")
    if literal["trash"] and literal["trash"][0] in shape.columns and literal["trash"][0] not in any_index:
        yield finding("warning", f"no index begins with {literal['trash'][0]}: the trash is slow")
    for rule in literal["unique"]:
        columns = {literal["fields"][field]["column"] for field in rule}
        if columns <= shape.columns.keys() and not any(
            index.unique - {*_owner(literal)} == columns for index in shape.indexes
        ):
            told = f"no unique index has {', '.join(sorted(columns))}: of two requests at once both may be let in"
            yield finding("warning", told)
    for field, target, *_ in literal["references"]:
        column = literal["key"][0][0] if field == "id" else literal["fields"][field]["column"]
        if column in shape.columns and column not in any_index:
            yield finding("warning", f"no index begins with {column}: deleting {target} is slow")
