"""The journal: what happened to each record, with gap-free numbers in the order of the commits.

This module holds the only statement that writes it. Statements that change records are composed with it (`journalled`),
so that a change and its entries are one: `WITH changed AS (UPDATE … RETURNING …), {journal} SELECT …`. The tenant's
numbers are taken when everything before has been done and locked, and stay locked until the transaction ends. So let it
be the last statement that changes records; where several have to, each stages its entries and `append_staged` comes
last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.postgres.session.edit import Edit

type Type = Literal["created", "updated", "deleted", "restored", "purged"]

# MATERIALIZED makes the call happen once, not once for each row.
_APPEND = sql.SQL("""
stw_base AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, {count}) AS base {when}
),
stw_journal AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT %(tenant)s, base + place, operation, entity, id, type, before, after, actor, at
    FROM stw_base, ({lines}) AS stw_lines
)
""")
_NOTHING = sql.SQL("")
_BEFORE, _AFTER = sql.SQL("before"), sql.SQL("after")


@dataclass(frozen=True)
class Change:
    """One change of one record.

    `entity` is the plural name of the declaration, `id` the raw id, `type` what happened (`created`, `updated`,
    `deleted`, `restored`, `purged`; `operation` for the summary of a bulk operation, whose `id` is the operation's;
    `{subject}.{event}` for what is no record's: `export.requested`, `trash.purged`).
    `before` and `after` are columns as JSON values, by column name; `at` is aware.
    """

    operation: str
    entity: str
    id: str
    type: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    actor: str
    at: datetime


_GIVEN = sql.SQL("""
SELECT * FROM unnest(
    %(operations)s::text[], %(entities)s::text[], %(ids)s::text[], %(types)s::text[],
    %(befores)s::jsonb[], %(afters)s::jsonb[], %(actors)s::text[], %(ats)s::timestamptz[]
) WITH ORDINALITY AS stw_given (operation, entity, id, type, before, after, actor, at, place)
""")
_APPEND_GIVEN = sql.SQL("WITH {} SELECT base FROM stw_base").format(
    _APPEND.format(count=sql.SQL("%(count)s"), when=_NOTHING, lines=_GIVEN)
)


def append_changes(connection: psycopg.Connection, tenant: str, changes: Sequence[Change]) -> range:
    """Append these changes of one tenant in their order; the seqs they got. One statement, none for no changes.

    Call it as the last statement of the transaction that made the changes: the tenant's numbers stay locked until
    that ends. Raises what psycopg raises.
    """
    if not changes:
        return range(0)
    row = connection.execute(
        _APPEND_GIVEN,
        {
            "tenant": tenant,
            "count": len(changes),
            "operations": [change.operation for change in changes],
            "entities": [change.entity for change in changes],
            "ids": [change.id for change in changes],
            "types": [change.type for change in changes],
            "befores": [_json(change.before) for change in changes],
            "afters": [_json(change.after) for change in changes],
            "actors": [change.actor for change in changes],
            "ats": [change.at for change in changes],
        },
    ).fetchone()
    assert row is not None, "a SELECT of one CTE row gives one row"
    first = int(row[0]) + 1
    return range(first, first + len(changes))


def _json(columns: Mapping[str, Any] | None) -> str | None:
    return None if columns is None else json.dumps(columns, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Lines:
    """Entries of one type in a statement: one for each row of its CTE `rows`.

    `source` is what stands behind FROM, `rows` itself unless it is given: it has the column `id`. `n` orders the
    entries; None leaves them as they come. `before` and `after` are
    its columns of these names unless given. `entity` is the plural name.
    """

    rows: str
    entity: str
    type: Type
    source: sql.Composable | None = None
    n: LiteralString | None = "n"
    before: sql.Composable | None = None
    after: sql.Composable | None = None


@dataclass(frozen=True)
class Summary:
    """The entry of a whole operation, behind those of its records: `after` is a JSON value, written where `when`."""

    entity: str
    after: sql.Composable
    when: LiteralString = "true"


_LINES = sql.SQL("""
SELECT {ahead} + row_number() OVER ({order}) AS place, %(operation)s::text AS operation, {entity}::text AS entity,
       id::text AS id, {type}::text AS type, {before} AS before, {after} AS after, %(actor)s::text AS actor,
       %(at)s::timestamptz AS at
FROM {source}
""")
_SUMMARY = sql.SQL("""
SELECT {ahead} + 1, %(operation)s, {entity}, %(operation)s, 'operation', NULL, {after}, %(actor)s, %(at)s WHERE {when}
""")
_COUNT = sql.SQL("(SELECT count(*) FROM {})")
_COUNT_SUMMARY = sql.SQL("CASE WHEN {} THEN 1 ELSE 0 END")
_UNION = sql.SQL(" UNION ALL ")
_ORDER, _PLUS, _NONE_AHEAD = sql.SQL("ORDER BY {}"), sql.SQL(" + "), sql.SQL("0")


def journalled(*lines: Lines, summary: Summary | None = None, when: sql.Composable = _NOTHING) -> sql.Composed:
    """The CTEs of a statement that append its changes, these lines in their order.

    `stw_base` has one row once the numbers have been taken, `stw_journal` writes. `when` is a FROM and a WHERE; without
    a row of it nothing is written. The statement's parameters are those of `Edit.given`.
    """
    selects: list[sql.Composable] = []
    counts: list[sql.Composable] = []
    for each in lines:
        # Numbered part by part: fifty thousand whole records are not sorted as one.
        selects.append(_select(each, _PLUS.join(counts or [_NONE_AHEAD])))
        counts.append(_COUNT.format(sql.Identifier(each.rows)))
    if summary:
        ahead, when_told = _PLUS.join(counts or [_NONE_AHEAD]), sql.SQL(summary.when)
        entity = sql.Literal(summary.entity)
        selects.append(_SUMMARY.format(ahead=ahead, entity=entity, after=summary.after, when=when_told))
        counts.append(_COUNT_SUMMARY.format(when_told))
    return _APPEND.format(count=_PLUS.join(counts), when=when, lines=_UNION.join(selects))


def _select(lines: Lines, ahead: sql.Composable) -> sql.Composed:
    return _LINES.format(
        ahead=ahead,
        order=_ORDER.format(sql.SQL(lines.n)) if lines.n else _NOTHING,
        entity=sql.Literal(lines.entity),
        type=sql.Literal(lines.type),
        before=lines.before or _BEFORE,
        after=lines.after or _AFTER,
        source=lines.source or sql.Identifier(lines.rows),
    )


_STAGE = sql.SQL("""
stw_journal AS (
    INSERT INTO pg_temp.stw_staged (n, entity, id, type, before, after)
    SELECT {n}, {entity}, id::text, {type}, {before}, {after} FROM {source}
)
""")
_PREPARE: LiteralString = """
CREATE TEMPORARY TABLE IF NOT EXISTS stw_staged (
    n bigint, entity text, id text, type text, before jsonb, after jsonb
) ON COMMIT DELETE ROWS
"""
_APPEND_STAGED = sql.SQL("WITH {} SELECT FROM stw_base").format(
    _APPEND.format(
        count=sql.SQL("(SELECT count(*) FROM pg_temp.stw_staged) + num_nonnulls(%(told)s::jsonb)"),
        when=_NOTHING,
        lines=sql.SQL("""
            SELECT row_number() OVER (ORDER BY n) AS place, %(operation)s::text AS operation, entity, id, type, before,
                   after, %(actor)s::text AS actor, %(at)s::timestamptz AS at
            FROM pg_temp.stw_staged
            UNION ALL
            SELECT (SELECT count(*) FROM pg_temp.stw_staged) + 1, %(operation)s, %(of)s, %(operation)s, 'operation',
                   NULL, %(told)s, %(actor)s, %(at)s
            WHERE %(told)s::jsonb IS NOT NULL
        """),
    )
)


def prepare_staging(connection: psycopg.Connection) -> None:
    """Make the temporary table in which entries wait, where the connection has none yet."""
    connection.execute(_PREPARE)


def staged(lines: Lines) -> sql.Composed:
    """The CTE `stw_journal` of a statement whose entries wait for `append_staged`, which orders all of them by `n`.

    For operations of several statements: those that lock records do not hold the tenant's numbers meanwhile.
    """
    return _STAGE.format(
        n=sql.SQL(lines.n or "0"),
        entity=sql.Literal(lines.entity),
        type=sql.Literal(lines.type),
        before=lines.before or _BEFORE,
        after=lines.after or _AFTER,
        source=lines.source or sql.Identifier(lines.rows),
    )


def append_staged(
    connection: psycopg.Connection, edit: Edit, entity: str, told: Mapping[str, Any] | None = None
) -> None:
    """Append what waits, and the operation's summary where it is told; the transaction's last statement."""
    told_json = None if told is None else Jsonb(told)
    connection.execute(_APPEND_STAGED, {**edit.given, "of": entity, "told": told_json})
