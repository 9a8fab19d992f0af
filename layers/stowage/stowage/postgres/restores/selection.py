"""Which entries of an archive chosen tables need, and which belong to them.

`pg_restore --table` gives a table and its rows: no keys, no indexes, no triggers. So the entries are chosen here, by
what pg_dump says each depends on.
"""

from collections.abc import Collection
from dataclasses import dataclass

from stowage.basics.errors import RunError
from stowage.postgres.dumps.archive import Contents, Entry

_TABLES = ("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW")
_ALWAYS = ("ENCODING", "STDSTRINGS", "SEARCHPATH", "SCHEMA")
_OF_CHOSEN = (
    "TABLE DATA",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "STATISTICS",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
    "MATERIALIZED VIEW DATA",
)
"""What comes with a table if it depends on it, and on nothing that is left out."""


@dataclass(frozen=True)
class Chosen:
    """The numbers of the chosen entries; `left_out`: what belongs to chosen tables and needs others."""

    numbers: frozenset[int]
    left_out: list[str]


def choose_tables(contents: Contents, schema: str, tables: Collection[str]) -> Chosen:
    """What these tables of a schema need and have. RunError `tables_missing` for those that the archive lacks."""
    by_number = {entry.id: entry for entry in contents.entries}
    named = {entry.tag: entry.id for entry in contents.entries if entry.type in _TABLES and entry.namespace == schema}
    missing = sorted(set(tables) - set(named))
    if missing:
        raise RunError(f"The backup has no such tables: {', '.join(missing[:10])}.", "tables_missing")
    chosen = {entry.id for entry in contents.entries if entry.type in _ALWAYS or _is_said_of_schema(entry)}
    _take(by_number, [named[table] for table in tables], chosen)
    left_out: dict[int, str] = {}
    grew = True
    while grew:
        grew = False
        for entry in contents.entries:
            if entry.id in chosen or entry.type not in _OF_CHOSEN:
                continue
            needs = [number for number in entry.needs if number in by_number]
            of_tables = [number for number in needs if number in chosen and by_number[number].type not in _ALWAYS]
            others = [number for number in needs if number not in chosen]
            if not of_tables:
                continue
            if any(by_number[number].type in _TABLES for number in others):
                left_out[entry.id] = f"{entry.type} {entry.tag}"
                continue
            _take(by_number, [entry.id], chosen)
            grew = True
    return Chosen(frozenset(chosen), [told for number, told in left_out.items() if number not in chosen])


def _is_said_of_schema(entry: Entry) -> bool:
    return entry.type in ("COMMENT", "ACL", "DEFAULT ACL", "SECURITY LABEL") and (
        entry.type == "DEFAULT ACL" or entry.tag.startswith("SCHEMA ")
    )


def _take(by_number: dict[int, Entry], numbers: list[int], chosen: set[int]) -> None:
    """Choose these entries and all that they need."""
    todo = list(numbers)
    while todo:
        number = todo.pop()
        if number not in chosen:
            chosen.add(number)
            todo += [need for need in by_number[number].needs if need in by_number]
