"""The journal read from its beginning: whether its entries follow from one another, and where each record ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from stowage.entities.declared import ENTITIES
from tests.stack.office import Office

_STEPS = {
    "created": ("nowhere", "live"),
    "updated": ("live", "live"),
    "deleted": ("live", "trash"),
    "restored": ("trash", "live"),
    "purged": ("trash", "nowhere"),
}
"""From where to where each type of entry takes a record."""

type Entry = dict[str, Any]
"""Some of an entry's columns: `entity`, `id`, `type`, `operation`, and perhaps `before` and `after`."""


@dataclass
class Told:
    """Where a record is, `live`, in the `trash` or `nowhere`, and those of its columns that were told."""

    state: str
    columns: dict[str, Any] = field(default_factory=dict)


def read_story(entries: Iterable[Entry]) -> dict[tuple[str, str], Told]:
    """What becomes of each record, by entity and id; AssertionError where an entry does not follow from those before.

    Of records that were made by SQL the first entry tells where they were. Images, where there are any, must begin
    with what the last ones left.
    """
    story: dict[tuple[str, str], Told] = {}
    operations: set[tuple[str, str, str]] = set()
    for entry in entries:
        if entry["type"] not in _STEPS:
            continue
        key = entry["entity"], entry["id"]
        before, after = _STEPS[entry["type"]]
        told = story.setdefault(key, Told(before))
        assert told.state == before, entry
        assert (entry["operation"], *key) not in operations, f"twice in one operation: {entry}"
        operations.add((entry["operation"], *key))
        told.state = after
        known = told.columns
        for column, value in _image(entry, "before").items():
            assert known.get(column, value) == value, (column, known[column], entry)
        known |= _image(entry, "after")
        if after == "nowhere":
            known.clear()
    return story


def _image(entry: Entry, name: str) -> dict[str, Any]:
    """An image that the purge has not blanked, its times as times."""
    image = entry.get(name) or {}
    if "$sha256" in image:
        return {}
    return {column: _as_time(column, value) for column, value in image.items()}


def _as_time(column: str, value: Any) -> Any:
    """A column's value; times compare whatever their zone."""
    return datetime.fromisoformat(value) if column.endswith("_at") and value is not None else value


def holds_what_it_should(entry: Entry) -> None:
    """Behind a change stands the whole record, before it what changed and nothing else; a purge blanks both."""
    before, after = entry["before"] or {}, entry["after"] or {}
    if entry["type"] not in ("created", "updated", "deleted", "restored") or "$sha256" in before | after:
        return
    assert after.keys() >= {field.column for field in ENTITIES[entry["entity"]].fields}, entry
    assert after.keys() >= before.keys(), entry
    assert bool(before) == (entry["type"] != "created"), entry
    assert not [column for column, value in before.items() if after[column] == value], entry


def adds_up(office: Office) -> None:
    """The journal has no gap, each entry follows from those before, and the records are as it says."""
    assert office.is_gapless()
    with psycopg.connect(office.app_url, autocommit=True, row_factory=dict_row) as connection:
        query = "SELECT * FROM stowage.changes WHERE tenant = %s ORDER BY seq"
        entries = connection.execute(query, (office.id,)).fetchall()
    for entry in entries:
        holds_what_it_should(entry)
    story = read_story(entries)
    rows = {(table, row_id): row for table in ("accounts", "posts") for row_id, row in office.rows(table).items()}
    for key, told in story.items():
        row = rows.get(key)
        there = "nowhere" if row is None else "trash" if row["deleted_at"] else "live"
        assert told.state == there, key
        if row is not None:
            assert {name: _as_time(name, row[name]) for name in told.columns} == told.columns, key
