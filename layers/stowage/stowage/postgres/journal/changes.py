"""The journal (DESIGN §5): what happened to each record, appended with gap-free numbers in the order of the commits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg


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


_APPEND = """
WITH taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, %(count)s) AS base
),
written AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT %(tenant)s, taken.base + n, operation, entity, id, type, before, after, actor, at
    FROM taken, unnest(
        %(operations)s::text[], %(entities)s::text[], %(ids)s::text[], %(types)s::text[],
        %(befores)s::jsonb[], %(afters)s::jsonb[], %(actors)s::text[], %(ats)s::timestamptz[]
    ) WITH ORDINALITY AS new (operation, entity, id, type, before, after, actor, at, n)
)
SELECT base FROM taken
"""


def append_changes(connection: psycopg.Connection, tenant: str, changes: Sequence[Change]) -> range:
    """Append these changes of one tenant in their order; the seqs they got. One statement, none for no changes.

    Call it as the last statement of the transaction that made the changes: the tenant's numbers stay locked until
    that ends. Raises what psycopg raises.
    """
    if not changes:
        return range(0)
    row = connection.execute(
        _APPEND,
        {
            "tenant": tenant,
            "count": len(changes),
            "operations": [change.operation for change in changes],
            "entities": [change.entity for change in changes],
            "ids": [change.id for change in changes],
            "types": [change.type for change in changes],
            "befores": [_image(change.before) for change in changes],
            "afters": [_image(change.after) for change in changes],
            "actors": [change.actor for change in changes],
            "ats": [change.at for change in changes],
        },
    ).fetchone()
    assert row is not None, "a SELECT of one CTE row gives one row"
    first = int(row[0]) + 1
    return range(first, first + len(changes))


def _image(columns: Mapping[str, Any] | None) -> str | None:
    return None if columns is None else json.dumps(columns, ensure_ascii=False, allow_nan=False)
