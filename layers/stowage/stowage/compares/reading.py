"""What differs between a backup and the live tenant, a page at a time (docs/api.md)."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any, Literal, NotRequired, TypedDict

from pydantic_core import from_json, to_json

from stowage.access.identity import Identity, for_role
from stowage.basics.ids import encode_id, parse_rfc3339, rfc3339
from stowage.basics.sizes import is_deliverable
from stowage.compares.requests import DifferenceKind
from stowage.compares.staged import compared_sides, place_of, staging_of
from stowage.entities.declaration import Entity
from stowage.entities.declared import entity_named
from stowage.postgres.compares.differences import as_dumped
from stowage.postgres.compares.items import sizes_backed_up
from stowage.postgres.compares.listing import Difference, LastChange, read_differences, read_ids
from stowage.postgres.dumps.pg_dump import TIME_ZONE
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.transactions import look
from stowage.runs.record import Run
from stowage.tenants import Tenant

LOCK_SECONDS = 5.0
MOST_BYTES = 8_000_000
"""So much of a backup is read for a page. An answer holds less; but a value's JSON may be shorter than its text."""


class Change(TypedDict):
    """The last change of a record since the backup was asked for, as the journal has it."""

    type: str
    operation: str
    actor: str
    at: str


class DifferenceEntry(TypedDict):
    """A record that differs, each side as `GET` shows it: `backup` is null for one that is only live, and so on.

    `truncated`: it is larger than an answer may be.
    """

    id: str
    label: str
    backup: dict[str, Any] | None
    live: dict[str, Any] | None
    changed_fields: list[str]
    last_change: Change | None
    truncated: NotRequired[Literal[True]]


class DifferencesPage(TypedDict):
    """Records that differ; a page may be short, because some have become the same since: the last has no cursor."""

    data: list[DifferenceEntry]
    next_cursor: str | None


@for_role("admin")
def read_differences_page(
    run: Run,
    tenant: Tenant,
    identity: Identity,  # noqa: ARG001
    now: datetime,
    entity: str,
    kind: DifferenceKind,
    cursor: str | None,
    limit: int,
) -> str:
    """The body of a page. BadRequestError for an entity that was not compared, ConflictError and GoneError as
    `staging_of`.
    """
    staging, after = staging_of(run, now), place_of(cursor)
    since = parse_rfc3339(run.outcome.facts["backup_at"]) if run.outcome else now
    declared = entity_named(entity, "entity")

    def work(connection: Connection) -> tuple[list[Difference], int | None]:
        as_dumped(connection, TIME_ZONE)
        sides = compared_sides(connection, tenant, staging, declared)
        kept = read_ids(connection, sides, kind, after, limit + 1)
        sizes = sizes_backed_up(connection, sides, [record_id for _, record_id in kept])
        shown = _fitting(kept[:limit], sizes)
        last = shown[-1][0] if len(shown) < len(kept) else None
        if shown and sizes.get(shown[0][1], 0) > MOST_BYTES:
            n, record_id = shown[0]
            return [Difference(n, record_id, None, None, [], None)], last
        return read_differences(connection, sides, kind, shown, tenant.id, since), last

    found, last = look(tenant.database, work, schema=tenant.schema, lock_seconds=LOCK_SECONDS)
    return _body(declared, found, last)


def _fitting(kept: list[tuple[int, str]], sizes: Mapping[str, int]) -> list[tuple[int, str]]:
    """The first of these records, as many as may be read at once; at least one."""
    read = accumulate(sizes.get(record_id, 0) for _, record_id in kept)
    return kept[: max(1, sum(size <= MOST_BYTES for size in read))]


def _body(declared: Entity, found: list[Difference], last: int | None) -> str:
    """The page, up to the first record that has no room beside the others."""
    shown = list[str]()
    for place, difference in enumerate(found):
        entry = _shown(declared, difference)
        if not is_deliverable(_page([*shown, entry], last)):
            if place:
                return _page(shown, found[place - 1].n)
            entry = _shown(declared, Difference(difference.n, difference.id, None, None, [], None), is_cut=True)
            return _page([entry], difference.n if len(found) > 1 else last)
        shown.append(entry)
    return _page(shown, last)


def _page(shown: list[str], last: int | None) -> str:
    return f'{{"data":[{",".join(shown)}],"next_cursor":{_json(str(last) if last is not None else None)}}}'


def _shown(declared: Entity, difference: Difference, *, is_cut: bool = False) -> str:
    backup, live = difference.backup or "null", difference.live or "null"
    label = (from_json(difference.live or difference.backup or "{}")).get(declared.label)
    about = {"id": encode_id(difference.id), "label": difference.id if label is None else _text(label)}
    told: dict[str, Any] = {"changed_fields": difference.changed_fields, "last_change": _change(difference.last_change)}
    if is_cut or (difference.backup is None and difference.live is None):
        told["truncated"] = True
    return f'{_json(about)[:-1]},"backup":{backup},"live":{live},{_json(told)[1:]}'


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _change(change: LastChange | None) -> Change | None:
    if change is None:
        return None
    return {"type": change.type, "operation": change.operation, "actor": change.actor, "at": rfc3339(change.at)}


def _json(value: object) -> str:
    return to_json(value).decode()
