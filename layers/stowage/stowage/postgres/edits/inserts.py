"""New records: one statement inserts them all, writes their journal, and gives them back as JSON.

Nobody is asked row by row: what the table refuses is skipped by ON CONFLICT, what has no live parent by a semi-join,
and the number of rows that came through tells whether all did. Only where some did not, further statements ask why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from pydantic_core import to_json

from stowage.entities.declaration import Entity
from stowage.postgres.edits.rules import (
    Problem,
    column_of,
    find_problems,
    has_parent,
    parent_cte,
    parents_of,
)
from stowage.postgres.reads.records import record_json
from stowage.postgres.session.savepoints import Refused, tried
from stowage.postgres.tables.relations import table_of

type Row = dict[str, Any]
"""A new record: values by column name, `id` and every own column among them."""


@dataclass(frozen=True)
class Author:
    """Who changes a tenant's records, when, and under which operation."""

    tenant: str
    schema: str
    operation: str
    actor: str
    at: datetime


_INSERT = sql.SQL("""
WITH given AS MATERIALIZED (
    SELECT item.*, ordinality AS n
    FROM json_populate_recordset(NULL::{table}, %(rows)s::json) WITH ORDINALITY AS item
),
{parents}written AS (
    INSERT INTO {table} AS made ({columns}, created_at, updated_at)
    SELECT {given_columns}, %(at)s, %(at)s FROM given WHERE {sound} ORDER BY {order} ON CONFLICT DO NOTHING
    RETURNING made.id, {record} AS record, jsonb_build_object({image}) AS image
),
counted AS MATERIALIZED (SELECT count(*) AS rows FROM written),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, rows) AS base FROM counted WHERE rows = %(total)s
),
journal AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT %(tenant)s, base + row_number() OVER (ORDER BY id COLLATE "C"), %(operation)s, %(entity)s, id, 'created',
           NULL, image, %(actor)s, %(at)s
    FROM taken, written
)
SELECT rows, (SELECT string_agg(record, ',' ORDER BY n) FROM taken, written JOIN given USING (id)),
       CASE WHEN rows <> %(total)s THEN
           ARRAY(SELECT n FROM given WHERE NOT EXISTS (SELECT FROM written WHERE written.id = given.id) ORDER BY n)
       END
FROM counted
""")
_BY_BYTES = sql.SQL('{}::text COLLATE "C"')
_TRUE: LiteralString = "true"
_TAKEN = "23505"
"""The SQLSTATE of what ON CONFLICT skips."""


def insert_records(
    connection: psycopg.Connection, author: Author, entity: Entity, rows: Sequence[Row]
) -> str | Refused:
    """Insert records and journal them; one statement.

    Their JSON, joined by commas in their order; or why the database refused one of them, and then nothing is left of
    it. Rows go in by the order of their unique fields, so that two who import the same do not deadlock.
    """
    own = [field.column for field in entity.fields if field.name not in ("createdAt", "updatedAt")]
    every = [field.column for field in entity.fields]
    parents = parents_of(entity)
    given = sql.Identifier("given")
    wanted = sql.SQL("SELECT {} FROM given")
    key = [entity.column(field) for field in entity.unique[0]] if entity.unique else ["id"]
    statement = _INSERT.format(
        table=table_of(author.schema, entity),
        parents=sql.SQL("").join(
            sql.SQL("{},\n").format(parent_cte(author.schema, parent, wanted.format(sql.Identifier(parent.column))))
            for parent in parents
        ),
        columns=sql.SQL(", ").join(map(sql.Identifier, own)),
        given_columns=sql.SQL(", ").join(column_of(given, column) for column in own),
        sound=sql.SQL(" AND ").join([sql.SQL(_TRUE), *(has_parent(parent, given) for parent in parents)]),
        order=sql.SQL(", ").join([*(_BY_BYTES.format(column_of(given, column)) for column in key), sql.SQL("n")]),
        image=sql.SQL(", ").join(
            part for column in every for part in (sql.Literal(column), sql.Identifier("made", column))
        ),
        record=record_json(entity, "made"),
    )
    row = tried(
        connection,
        statement,
        {
            "rows": to_json(rows).decode(),
            "total": len(rows),
            "tenant": author.tenant,
            "operation": author.operation,
            "entity": entity.name,
            "actor": author.actor,
            "at": author.at,
        },
        lambda row: row[0] == len(rows),
    )
    if isinstance(row, Refused):
        return row
    count, records, missing = row
    return (records or "") if count == len(rows) else Refused(_TAKEN, tuple(missing))


_CANDIDATES = sql.SQL("""
candidates AS MATERIALIZED (
    SELECT item.*, ordinality AS n
    FROM json_populate_recordset(NULL::{table}, %(rows)s::json) WITH ORDINALITY AS item
)""")


def insert_problems(
    connection: psycopg.Connection, schema: str, entity: Entity, rows: Sequence[Row]
) -> list[Problem] | None:
    """Why rows cannot be inserted, each by itself; duplicates are not looked for. None as from `find_problems`."""
    candidates = _CANDIDATES.format(table=table_of(schema, entity))
    return find_problems(connection, schema, entity, candidates, {"rows": to_json(rows).decode()}, existing=False)
