"""Assigns: many records get the same values by two statements."""

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.entities.declaration import Entity
from stowage.postgres.edits.locks import Outcome, lock_records
from stowage.postgres.journal.changes import Lines, Summary, journalled
from stowage.postgres.journal.images import changed_image, whole_image
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept
from stowage.postgres.tables.relations import (
    id_of,
    key_type,
    key_types,
    mine,
    rows_of,
    stamped,
    table_of,
    text_array,
)

# The ids stand there twice: a join alone would hash the whole table, however few of its records are asked for.
_ASSIGN = sql.SQL("""
WITH old AS MATERIALIZED (
    SELECT asked.n AS stw_n, record.{id} AS stw_id, {old}
    FROM unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)
    JOIN {rows} AS record ON record.{id} = asked.id
    WHERE record.{id} = ANY(%(ids)s::{key}[]) AND ({columns}) IS DISTINCT FROM ({values})
),
changed AS (
    UPDATE {table} AS record SET {assignments}
    FROM old WHERE {mine} AND record.{id} = old.stw_id
    RETURNING old.stw_n AS n, record.{id} AS id, {before} AS before, {after} AS after
),
{journal}
SELECT (SELECT count(*) FROM old) - (SELECT count(*) FROM changed) FROM stw_base
""")


def assign_records(
    connection: psycopg.Connection,
    edit: Edit,
    declared: Entity,
    ids: Sequence[str | None],
    values: Mapping[str, str | None],
    *,
    kind: str,
) -> Outcome:
    """Give these records the same values (ids, by field name), journalled under one operation.

    Codes: `not_found`, `already_deleted`. A record that has the values already succeeds and is left as it is. Two
    statements; what the values refer to has been locked before.
    """
    outcome = lock_records(connection, edit.schema, declared, ids)
    columns = {declared.column(name): value for name, value in values.items()}
    given = [
        sql.SQL("{}::{}").format(sql.Placeholder(f"value_{n}"), key_types(declared, name))
        for n, name in enumerate(values)
    ]
    statement = _ASSIGN.format(
        table=table_of(edit.schema, declared),
        rows=rows_of(edit.schema, declared),
        mine=mine(edit.schema, declared, "record"),
        id=id_of(declared),
        key=key_type(declared),
        old=sql.SQL(", ").join(sql.Identifier("record", name) for name in (*columns, *declared.stamps)),
        columns=sql.SQL(", ").join(sql.Identifier("record", name) for name in columns),
        values=sql.SQL(", ").join(given),
        assignments=sql.SQL(", ").join(
            [
                *(
                    sql.SQL("{} = {}").format(sql.Identifier(name), value)
                    for name, value in zip(columns, given, strict=True)
                ),
                *stamped(declared, "record"),
            ]
        ),
        before=changed_image(declared, [*columns, *declared.stamps], "old", "record"),
        after=whole_image(declared, "record"),
        journal=journalled(
            Lines("changed", declared.name, "updated"), summary=Summary(declared.name, sql.SQL("%(told)s"))
        ),
    )
    row = connection.execute(
        statement,
        {
            **edit.given,
            "ids": text_array([record_id for record_id, code in zip(ids, outcome.codes, strict=True) if code is None]),
            "told": Jsonb({"kind": kind} | outcome.counts),
            **{f"value_{n}": value for n, value in enumerate(columns.values())},
        },
    ).fetchone()
    assert row is not None
    refuse_kept(connection, edit.schema, declared, row[0])
    return outcome
