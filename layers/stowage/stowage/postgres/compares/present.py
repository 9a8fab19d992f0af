"""Where records of a backup are now: live, in the trash, or nowhere; and what keeps them in the trash."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.edits.undo import clashes_outside
from stowage.postgres.tables.relations import any_of, id_of, key_type, lacks_parent, mine, parents, table_of, text_array
from stowage.postgres.tables.trashed import in_trash_unindexed, of_trash
from stowage.tenants import Tenant

type Place = Literal["live", "trash"]

_PRESENT = sql.SQL("""
SELECT record.{id}::text, CASE WHEN {trashed} THEN 'trash' ELSE 'live' END
FROM {table} AS record WHERE {mine} AND record.{id} = ANY(%(ids)s::{key}[])
""")
_KEPT = sql.SQL("""
SELECT record.{id}::text, CASE WHEN {with} = '' THEN 'purged' WHEN {lacks_parent} THEN 'parent_in_trash'
                               WHEN {clashes} THEN 'conflict' END
FROM {table} AS record WHERE {mine} AND record.{id} = ANY(%(ids)s::{key}[])
""")


def where_they_are(
    connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str]
) -> dict[str, Place]:
    """Where these locked records are; those that are nowhere are left out."""
    statement = _PRESENT.format(
        id=id_of(declared),
        trashed=in_trash_unindexed(declared, "record") if declared.soft_delete else sql.SQL("false"),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        key=key_type(declared),
    )
    return dict(connection.execute(statement, {"ids": text_array(ids)}).fetchall())


def kept_in_trash(
    connection: psycopg.Connection, tenant: Tenant, declared: Entity, ids: Sequence[str]
) -> dict[str, str]:
    """Which of these records cannot come out of the trash, by code: `purged` (its purge has begun), `parent_in_trash`,
    `conflict` (a unique rule, for it or for what would come with it).
    """
    statement = _KEPT.format(
        id=id_of(declared),
        lacks_parent=any_of(
            lacks_parent(tenant.schema, parent, declared, reference, "record")
            for parent, reference in parents(declared)
        ),
        clashes=clashes_outside(connection, tenant.schema, declared),
        table=table_of(tenant.schema, declared),
        mine=mine(tenant.schema, declared, "record"),
        key=key_type(declared),
        **{"with": of_trash(declared, "record", "deleted_with")},
    )
    found = connection.execute(statement, {"ids": text_array(ids), "tenant": tenant.id}).fetchall()
    return {record_id: code for record_id, code in found if code}


_PURGED = sql.SQL("""
SELECT DISTINCT id FROM stowage.changes
WHERE tenant = %(tenant)s AND entity = %(entity)s AND type = 'purged' AND id = ANY(%(ids)s) AND at >= %(since)s
""")


def purged_since(
    connection: psycopg.Connection, tenant: Tenant, declared: Entity, ids: Sequence[str], since: datetime
) -> set[str]:
    """Which of these records were deleted for good since then, as the journal has it."""
    given = {"tenant": tenant.id, "entity": declared.name, "ids": list(ids), "since": since}
    return {record_id for (record_id,) in connection.execute(_PURGED, given)}
