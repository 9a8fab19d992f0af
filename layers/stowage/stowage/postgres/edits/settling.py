"""What a table's AFTER triggers have made of records of which a statement has told already.

RETURNING gives a row as it is before AFTER triggers run (PostgreSQL documentation, "Overview of Trigger Behavior"), and
such a trigger may well change its own row by another statement. Where a table has any, its entries for the journal wait
(`staged`) until they and the answer have been read anew.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from stowage.basics.sizes import MOST_ANSWER_BYTES
from stowage.entities.declaration import Entity
from stowage.postgres.journal.images import whole_image
from stowage.postgres.reads.records import record_json
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import has_after_triggers
from stowage.postgres.tables.relations import id_of, key_type, mine, table_of, text_array
from stowage.postgres.tables.trashed import mark

_SETTLE = sql.SQL("""
WITH stw_now AS MATERIALIZED (
    SELECT made.{id}::text AS id, {image} AS after FROM {table} AS made
    WHERE {mine} AND made.{id} = ANY(ARRAY(
        SELECT stw_entry.id::{key} FROM pg_temp.stw_staged AS stw_entry WHERE stw_entry.entity = {entity}
    ))
)
UPDATE pg_temp.stw_staged AS stw_entry SET after = stw_now.after FROM stw_now
WHERE stw_entry.entity = {entity} AND stw_entry.type IN ('created', 'updated') AND stw_entry.id = stw_now.id
""")
_READ = sql.SQL("""
WITH asked AS (SELECT id, n FROM unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)),
found AS MATERIALIZED (
    SELECT made.{id} AS id, {record} AS record FROM {table} AS made
    WHERE {mine} AND made.{id} = ANY(%(ids)s::{key}[])
)
SELECT count(*), CASE WHEN bool_and(record IS NOT NULL) AND sum(octet_length(record)) <= {most}
                      THEN string_agg(record, ',' ORDER BY n) END
FROM asked JOIN found USING (id)
""")

_SETTLE_MARKS = sql.SQL("""
WITH stw_entered AS MATERIALIZED (
    SELECT id FROM stowage.trash_entries
    WHERE tenant = %(tenant)s AND entity = {entity} AND deleted_operation = %(operation)s AND {whose}
),
stw_now AS MATERIALIZED (
    SELECT made.{id}::text AS id, {mark} AS mark FROM {table} AS made
    WHERE {mine} AND made.{id} = ANY(ARRAY(SELECT id::{key} FROM stw_entered))
)
UPDATE stowage.trash_entries AS stw_entry SET mark = stw_now.mark FROM stw_now
WHERE stw_entry.tenant = %(tenant)s AND stw_entry.entity = {entity} AND stw_entry.id = stw_now.id
""")
_THESE, _ALONG = sql.SQL("id = ANY(%(ids)s::text[])"), sql.SQL("deleted_with = ANY(%(ids)s::text[])")


def settle_staged(connection: psycopg.Connection, schema: str, entity: Entity) -> None:
    """Let the entries that wait say what the entity's new and changed records are now, where triggers may differ."""
    if has_after_triggers(connection, schema, entity):
        statement = _SETTLE.format(
            id=id_of(entity),
            image=whole_image(entity, "made"),
            table=table_of(schema, entity),
            mine=mine(schema, entity, "made"),
            key=key_type(entity),
            entity=sql.Literal(entity.name),
        )
        connection.execute(statement)


def read_settled(
    connection: psycopg.Connection, schema: str, entity: Entity, ids: Sequence[str], told: str | None
) -> str | None:
    """The JSON of these records, joined by commas, as AFTER triggers have left them; None as in `Updated`.

    What was `told` where the table has no such trigger, or where one has taken a record away.
    """
    if told is None or not (ids and has_after_triggers(connection, schema, entity)):
        return told
    statement = _READ.format(
        id=id_of(entity),
        record=record_json(entity, "made"),
        table=table_of(schema, entity),
        mine=mine(schema, entity, "made"),
        key=key_type(entity),
        most=sql.Literal(MOST_ANSWER_BYTES),
    )
    row = connection.execute(statement, {"ids": text_array(ids)}).fetchone()
    assert row is not None, "an aggregate gives one row"
    count, records = row
    return records if count == len(ids) else told


def settle_marks(
    connection: psycopg.Connection, edit: Edit, entity: Entity, ids: Sequence[str], *, came_along: bool = False
) -> None:
    """Let the trash know these records, or those that `came_along` with these, as AFTER triggers have left them: the
    mark of a flag's entry is the time of the last change, which is what such triggers often set.
    """
    if ids and has_after_triggers(connection, edit.schema, entity):
        statement = _SETTLE_MARKS.format(
            id=id_of(entity),
            mark=mark(entity, "made"),
            table=table_of(edit.schema, entity),
            mine=mine(edit.schema, entity, "made"),
            key=key_type(entity),
            entity=sql.Literal(entity.name),
            whose=_ALONG if came_along else _THESE,
        )
        connection.execute(statement, {**edit.given, "ids": text_array(ids)})
