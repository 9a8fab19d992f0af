"""Assigns: many records get the same values by two statements."""

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.entities.declaration import Entity
from stowage.postgres.edits.locks import Outcome, Stamp, lock_records
from stowage.postgres.tables.relations import table_of, text_array
from stowage.tenants import Tenant

_ASSIGN = sql.SQL("""
WITH old AS MATERIALIZED (
    SELECT asked.n, record.id, record.updated_at, {columns}
    FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS asked (id, n)
    JOIN {table} AS record ON record.id = asked.id
    WHERE ({columns}) IS DISTINCT FROM ({values})
),
changed AS (
    UPDATE {table} AS record SET updated_at = %(at)s, {assignments}
    FROM old WHERE record.id = old.id
    RETURNING old.n, record.id, {before} AS before, {after} AS after
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM changed) + 1) AS base
)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, taken.base + row_number() OVER (ORDER BY n), %(operation)s, %(entity)s, id, 'updated', before, after,
       %(actor)s, %(at)s
FROM taken, changed
UNION ALL
SELECT %(tenant)s, taken.base + (SELECT count(*) FROM changed) + 1, %(operation)s, %(entity)s, %(operation)s,
       'operation', NULL, %(told)s, %(actor)s, %(at)s
FROM taken
""")


def assign_records(
    connection: psycopg.Connection,
    tenant: Tenant,
    declared: Entity,
    ids: Sequence[str],
    values: Mapping[str, str | None],
    stamp: Stamp,
    *,
    kind: str,
) -> Outcome:
    """Give these records the same values (by field name), journalled under one operation.

    Codes: `not_found`, `already_deleted`. A record that has the values already succeeds and is left as it is. Two
    statements; what the values refer to has been locked before.
    """
    outcome = lock_records(connection, tenant.schema, declared, ids)
    columns = {declared.column(name): value for name, value in values.items()}
    names = [sql.Identifier(column) for column in columns]
    given = [sql.Placeholder(f"value_{n}") + sql.SQL("::text") for n in range(len(columns))]

    def image(row: str) -> sql.Composed:
        parts = [
            sql.SQL("{}, {}.{}").format(sql.Literal(column), sql.Identifier(row), sql.Identifier(column))
            for column in (*columns, "updated_at")
        ]
        return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(parts))

    statement = _ASSIGN.format(
        table=table_of(tenant.schema, declared),
        columns=sql.SQL(", ").join(sql.SQL("record.{}").format(name) for name in names),
        values=sql.SQL(", ").join(given),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(name, value) for name, value in zip(names, given, strict=True)
        ),
        before=image("old"),
        after=image("record"),
    )
    connection.execute(
        statement,
        {
            "ids": text_array([record_id for record_id, code in zip(ids, outcome.codes, strict=True) if code is None]),
            "tenant": tenant.id,
            "entity": declared.name,
            "operation": stamp.operation,
            "actor": stamp.actor,
            "at": stamp.at,
            "told": Jsonb({"kind": kind} | outcome.counts),
            **{f"value_{n}": value for n, value in enumerate(columns.values())},
        },
    )
    return outcome
