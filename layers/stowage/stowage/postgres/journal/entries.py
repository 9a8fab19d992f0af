"""Entries of the journal for those who read it: a record's, and those of a tenant by time; newest first.

Both read a bounded number of rows whatever the journal holds: a record's entries by their own index, the others by the
index of their time. Where filters leave out nearly everything, a page says how far it has looked and may be short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.basics.sizes import MOST_ANSWER_BYTES

RECORD_TYPES = ("created", "updated", "deleted", "restored", "purged")
"""The types of entries about a record; their images are columns of it."""

MOST_SCANNED = 20_000
"""So many entries are looked at for one page."""


@dataclass(frozen=True)
class Entry:
    """One entry. Images of records hold each column's value as JSON text, others (`told`) are one JSON text.

    `before` and `after` are null where there are none: of a record that was created or gone for good, or purged since.
    `is_cut`: they are more than an answer may hold together with the images before them, and left out.
    """

    seq: int
    at: datetime
    actor: str
    type: str
    entity: str
    id: str
    operation: str
    before: dict[str, str] | None
    after: dict[str, str] | None
    told: str | None
    is_cut: bool


# Images are written as texts value by value, so that no number loses digits on its way.
_SHOWN = sql.SQL("""
WITH RECURSIVE page AS MATERIALIZED (
    SELECT change.*, type = ANY(%(records)s) AS is_record, row_number() OVER (ORDER BY {order}) AS place
    FROM ({page}) AS change
),
sized AS (
    SELECT 0::bigint AS place, 0::bigint AS bytes
    UNION ALL
    SELECT page.place, bytes + {bytes_before} + {bytes_after}
    FROM sized JOIN page ON page.place = sized.place + 1 WHERE bytes <= %(bytes)s
)
SELECT seq, at, actor, type, entity, id, operation, is_cut,
       CASE WHEN is_record AND NOT is_cut THEN {before} END AS before,
       CASE WHEN is_record AND NOT is_cut THEN {after} END AS after,
       CASE WHEN NOT is_record AND NOT is_cut THEN after::text END AS told
FROM (
    SELECT page.*, coalesce(bytes > %(bytes)s, true) AS is_cut FROM page LEFT JOIN sized USING (place)
) AS shown
ORDER BY place
""")
# The text of a large image takes seconds, and may be more than Postgres can hold: so it is made of no image that surely
# has too many bytes, and of none behind one. A value of jsonb is up to six times as long as its text (a short number);
# `||` gives it as it is, unpacked.
_BYTES = sql.SQL("""
CASE WHEN {0} IS NULL THEN 0
     WHEN pg_column_size({0}) > 10 * %(bytes)s OR pg_column_size({0} || '{{}}') > 10 * %(bytes)s
     THEN 10 * %(bytes)s ELSE octet_length({0}::text) END
""")
_IMAGE = sql.SQL("(SELECT jsonb_object_agg(key, value::text) FROM jsonb_each({}))")

_OF_RECORD = sql.SQL("""
SELECT * FROM stowage.changes
WHERE tenant = %(tenant)s AND entity = %(entity)s AND id = %(id)s AND type = ANY(%(records)s)
  AND seq < %(before)s
ORDER BY seq DESC LIMIT %(limit)s
""")
_BY_SEQ, _BY_TIME, _OLDEST = sql.SQL("seq DESC"), sql.SQL("at DESC, seq DESC"), sql.SQL("seq")
_LAST = 2**63 - 1


def _shown(page: sql.Composable, order: sql.SQL) -> sql.Composed:
    before, after = sql.SQL("before"), sql.SQL("after")
    return _SHOWN.format(
        page=page,
        order=order,
        before=_IMAGE.format(before),
        after=_IMAGE.format(after),
        bytes_before=_BYTES.format(before),
        bytes_after=_BYTES.format(after),
    )


def read_history(
    connection: psycopg.Connection, tenant: str, entity: str, record_id: str, before: int | None, limit: int
) -> list[Entry]:
    """Up to so many entries of one record, by its raw id, newest first; those below the number `before`."""
    given = {"tenant": tenant, "entity": entity, "id": record_id, "before": before or _LAST, "limit": limit}
    return _read(connection, _shown(_OF_RECORD, _BY_SEQ), given)


class Position(NamedTuple):
    """A place in the order of the audit log."""

    at: datetime
    seq: int


@dataclass(frozen=True)
class Wanted:
    """Which entries are wanted: by each of these that is given; times from `since` on and before `until`."""

    actor: str | None = None
    types: Sequence[str] | None = None
    entity: str | None = None
    id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_AUDIT = sql.SQL("""
WITH of_record AS MATERIALIZED (
    SELECT at, seq, actor, type, entity, id FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = %(entity)s AND id = %(id)s
),
scanned AS MATERIALIZED (
    SELECT at, seq, {wanted} AS is_wanted FROM {source}
    WHERE {range}
    ORDER BY at DESC, seq DESC LIMIT %(scanned)s
),
page AS MATERIALIZED (SELECT at, seq FROM scanned WHERE is_wanted ORDER BY at DESC, seq DESC LIMIT %(limit)s)
SELECT ARRAY(SELECT seq FROM page), count(*), (array_agg(at ORDER BY at, seq))[1], (array_agg(seq ORDER BY at, seq))[1]
FROM scanned
""")
_OF_PAGE = sql.SQL("SELECT * FROM stowage.changes WHERE tenant = %(tenant)s AND seq = ANY(%(seqs)s::bigint[])")
_ALL, _RECORDS = sql.SQL("stowage.changes"), sql.SQL("of_record")

_CONDITIONS: Mapping[str, LiteralString] = {
    "actor": "actor = %(actor)s",
    "types": "type = ANY(%(types)s)",
    "entity": "entity = %(entity)s",
    "id": "id = %(id)s",
}


def read_entries(
    connection: psycopg.Connection, tenant: str, wanted: Wanted, before: Position | None, limit: int
) -> tuple[list[Entry], Position | None]:
    """Up to so many of a tenant's entries, newest first, behind the position `before`; and where the search stopped
    before so many were found, None at the end.
    """
    is_of_record = wanted.entity is not None and wanted.id is not None
    source = _RECORDS if is_of_record else _ALL
    conditions = [sql.SQL(text) for name, text in _CONDITIONS.items() if getattr(wanted, name) is not None]
    ranges = [] if is_of_record else [sql.SQL("tenant = %(tenant)s")]
    if before:
        ranges.append(sql.SQL("(at, seq) < (%(before_at)s, %(before_seq)s)"))
    if wanted.since:
        ranges.append(sql.SQL("at >= %(since)s"))
    if wanted.until:
        ranges.append(sql.SQL("at < %(until)s"))
    every = sql.SQL("true")
    statement = _AUDIT.format(
        wanted=sql.SQL(" AND ").join(conditions or [every]),
        source=source,
        range=sql.SQL(" AND ").join(ranges or [every]),
    )
    given: dict[str, Any] = {
        **vars(wanted),
        "tenant": tenant,
        "types": list(wanted.types) if wanted.types else None,
        "before_at": before.at if before else None,
        "before_seq": before.seq if before else None,
        "limit": limit,
        "scanned": MOST_SCANNED,
    }
    row = connection.execute(statement, given).fetchone()
    assert row is not None, "an aggregate gives one row"
    seqs, scanned, at, seq = row
    found = _read(connection, _shown(_OF_PAGE, _BY_TIME), {"tenant": tenant, "seqs": seqs}) if seqs else []
    return found, Position(at, seq) if scanned == MOST_SCANNED and len(seqs) < limit else None


def read_numbered(connection: psycopg.Connection, tenant: str, seqs: Sequence[int]) -> list[Entry]:
    """A tenant's entries of these numbers, oldest first; for an answer that shows each image twice."""
    given = {"tenant": tenant, "seqs": seqs, "bytes": MOST_ANSWER_BYTES // 4}
    return _read(connection, _shown(_OF_PAGE, _OLDEST), given)


def _read(connection: psycopg.Connection, statement: sql.Composed, given: Mapping[str, Any]) -> list[Entry]:
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(
            statement, {"bytes": MOST_ANSWER_BYTES // 2, **given, "records": list(RECORD_TYPES)}
        ).fetchall()
