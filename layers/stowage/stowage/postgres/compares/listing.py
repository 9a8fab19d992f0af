"""A page of what differs: the ids were kept when the backup was compared, the values are those of now."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.postgres.compares.differences import Sides, differs, joined, kind_and_id, unlike
from stowage.postgres.compares.items import read_backed_up, show_backed_up
from stowage.postgres.reads.records import record_json
from stowage.postgres.tables.relations import has_any_id

_KEPT = sql.SQL("SELECT n, id FROM {} WHERE entity = %s AND kind = %s AND n > %s ORDER BY n LIMIT %s")
_NOW = sql.SQL("""
SELECT {kind_and_id}, CASE WHEN stw_live.{key} IS NOT NULL THEN {record} END,
       array_remove(ARRAY[{changed}]::text[], NULL)
FROM {joined} WHERE {unlike}
""")
_NAME = sql.SQL("CASE WHEN {} THEN {} END")
_LAST: LiteralString = """
SELECT given.id, type, operation, actor, at
FROM unnest(%(ids)s::text[]) AS given (id), LATERAL (
    SELECT type, operation, actor, at FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = %(entity)s AND id = given.id AND type = ANY(%(types)s) AND at >= %(since)s
    ORDER BY seq DESC LIMIT 1
) AS last
"""
_TYPES = ["created", "updated", "deleted", "restored", "purged"]


@dataclass(frozen=True)
class LastChange:
    """The last entry of the journal about a record: under which operation, by whom, when."""

    id: str
    type: str
    operation: str
    actor: str
    at: datetime


@dataclass(frozen=True)
class Difference:
    """A record that differs: both sides as the API shows them, as JSON; None where there is none, or it is too large.

    `n` is its place among those of its entity and kind.
    """

    n: int
    id: str
    backup: str | None
    live: str | None
    changed_fields: list[str]
    last_change: LastChange | None


def read_ids(connection: psycopg.Connection, sides: Sides, kind: str, after: int, limit: int) -> list[tuple[int, str]]:
    """The places and ids of records that were of a kind when they were compared, behind the place `after`."""
    statement = _KEPT.format(sql.Identifier(sides.staging, "stw_differences"))
    return connection.execute(statement, (sides.entity.name, kind, after, limit)).fetchall()


_OF_KIND = sql.SQL("SELECT {kind_and_id} FROM {joined} WHERE {unlike}")
_REMAINING = sql.SQL("SELECT count(*) FROM {} WHERE entity = %s AND kind = %s AND n > %s")


def still_of_kind(
    connection: psycopg.Connection, sides: Sides, kind: str, after: int, most: int
) -> tuple[list[str], int, int]:
    """The ids of up to so many records that were of a kind and still are, behind the place `after`; the last place that
    was looked at, and how many were kept behind it. In a transaction of `as_dumped`.
    """
    ids, last = list[str](), after
    while len(ids) < most and (kept := read_ids(connection, sides, kind, last, most)):
        statement = _OF_KIND.format(
            kind_and_id=kind_and_id(sides),
            joined=joined(sides, has_any_id(sides.entity, [record_id for _, record_id in kept])),
            unlike=unlike(connection, sides),
        )
        now = {record_id for found, record_id in connection.execute(statement) if found == kind}
        for place, record_id in kept:
            if len(ids) == most:
                break
            last = place
            if record_id in now:
                ids.append(record_id)
    differences = sql.Identifier(sides.staging, "stw_differences")
    row = connection.execute(_REMAINING.format(differences), (sides.entity.name, kind, last)).fetchone()
    return ids, last, row[0] if row else 0


def read_differences(
    connection: psycopg.Connection, sides: Sides, kind: str, kept: list[tuple[int, str]], tenant: str, since: datetime
) -> list[Difference]:
    """Those of the kept records that are still of that kind. Their last change is told if it was at `since` or later.

    In a transaction of `as_dumped`.
    """
    if not kept:
        return []
    entity = sides.entity
    changed = [
        _NAME.format(differs(connection, sides.live[field.column]), sql.Literal(field.name)) for field in sides.fields
    ]
    statement = _NOW.format(
        kind_and_id=kind_and_id(sides),
        key=sql.Identifier(entity.key.names[0]),
        record=record_json(entity, "stw_live"),
        changed=sql.SQL(", ").join(changed),
        joined=joined(sides, has_any_id(entity, [record_id for _, record_id in kept])),
        unlike=unlike(connection, sides),
    )
    # Without parameters, because a name may hold a percent sign.
    now = {record_id: rest for found, record_id, *rest in connection.execute(statement) if found == kind}
    records = read_backed_up(connection, sides, list(now)) if now and kind != "only_live" else {}
    backups = show_backed_up(connection, sides, records) if records else {}
    given = {"ids": list(now), "tenant": tenant, "entity": entity.name, "since": since, "types": _TYPES}
    with connection.cursor(row_factory=class_row(LastChange)) as cursor:
        last = {change.id: change for change in cursor.execute(_LAST, given)}
    return [
        Difference(
            n,
            record_id,
            backups.get(record_id),
            now[record_id][0],
            now[record_id][1] if kind == "changed" else [],
            last.get(record_id),
        )
        for n, record_id in kept
        if record_id in now
    ]
