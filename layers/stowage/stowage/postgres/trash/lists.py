"""What the trash shows, in which order, and how much there is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.tables.relations import key_type, parents, table_of
from stowage.tenants import Tenant

LONGEST_NAME = 2_000
COUNTED_UP_TO = 1_000
"""So many entries are counted; how many more there are is kept (`stowage.trash_counts`)."""


@dataclass(frozen=True)
class TrashRow:
    """A record in the trash; `cascaded` counts by entity what came with it."""

    entity: str
    id: str
    name: str
    platform: str | None
    deleted_at: datetime
    deleted_by: str | None
    purge_at: datetime
    cascaded: dict[str, int] = field(default_factory=dict)


_LISTED: LiteralString = "deleted_at IS NOT NULL AND deleted_with IS NULL"

_PAGE = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT entity, id, row_number() OVER () AS place
    FROM (SELECT * FROM ({all}) AS listed ORDER BY deleted_at DESC, {then} LIMIT %(limit)s OFFSET %(offset)s) AS listed
)
SELECT shown.* FROM ({shown}) AS shown JOIN page USING (entity, id) ORDER BY place
""")

# Ordered and bounded by itself, so that each table gives its part from its index, and the whole is a merge.
_ALL = sql.SQL("""
(SELECT {entity}::text AS entity, deleted_at, id::text AS id, {by} AS stw_by FROM {table} AS record WHERE {listed}
 ORDER BY record.deleted_at DESC, record.id DESC LIMIT %(limit)s + %(offset)s)
""")
# Ids of several types have no order together: each entity's have their own, whatever the page.
_BY_ID, _THEN_BY_ID = sql.SQL("record.id"), sql.SQL("stw_by DESC")
_BY_PLACE = sql.SQL("row_number() OVER (ORDER BY record.deleted_at DESC, record.id DESC)")
_THEN_BY_PLACE = sql.SQL("stw_by, entity")

_SHOWN = sql.SQL("""
SELECT {entity}::text AS entity, record.id::text AS id, {name} AS name, {platform} AS platform, record.deleted_at,
       record.deleted_by, record.purge_at, {cascaded} AS cascaded
FROM {source} JOIN {table} AS record
  ON record.id = CASE WHEN {source}.entity = {entity} THEN {source}.id::{key} END
""")

_CAME_ALONG = sql.SQL("""
{entity}, (SELECT count(*) FROM {table} AS child
           WHERE child.{column} = record.id AND child.deleted_with = record.id::text
             AND child.deleted_operation IS NOT DISTINCT FROM record.deleted_operation
             AND num_nulls(child.deleted_at) = 0)
""")


def list_trash(
    connection: psycopg.Connection, schema: str, shown: Sequence[Entity], limit: int, offset: int
) -> list[TrashRow]:
    """A page of what lies in the trash by itself, newest first, then by id; one statement, its order from indexes."""
    alike = len({declared.key.type for declared in shown}) == 1
    statement = _PAGE.format(
        then=_THEN_BY_ID if alike else _THEN_BY_PLACE,
        all=sql.SQL(" UNION ALL ").join(
            _ALL.format(
                entity=sql.Literal(declared.name),
                table=table_of(schema, declared),
                listed=sql.SQL(_LISTED),
                by=_BY_ID if alike else _BY_PLACE,
            )
            for declared in shown
        ),
        shown=sql.SQL(" UNION ALL ").join(shown_rows(schema, declared, "page") for declared in shown),
    )
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, {"limit": limit, "offset": offset}).fetchall()


def shown_rows(schema: str, declared: Entity, source: str) -> sql.Composed:
    """A `TrashRow` for each row of `source`, a relation of entities and ids (texts) in the surrounding statement."""
    came = [
        _CAME_ALONG.format(
            entity=sql.Literal(child.name),
            table=table_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
        )
        for child, reference in declared.children("cascade")
    ]
    return _SHOWN.format(
        entity=sql.Literal(declared.name),
        name=name_of(declared),
        platform=_platform(schema, declared),
        cascaded=sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(came)),
        source=sql.Identifier(source),
        key=key_type(declared),
        table=table_of(schema, declared),
    )


# A label may be as long as the product likes, and a page shows a hundred.
_NAME = sql.SQL("""
CASE WHEN length(record.{label}::text) > {longest} THEN left(record.{label}::text, {longest}) || '…'
     ELSE record.{label}::text END
""")


def name_of(declared: Entity) -> sql.Composed:
    """What names a `record` to a person: its label, shortened."""
    return _NAME.format(label=sql.Identifier(declared.column(declared.label)), longest=sql.Literal(LONGEST_NAME))


_PARENTS_PLATFORM = sql.SQL("(SELECT parent.{platform}::text FROM {table} AS parent WHERE parent.id = record.{column})")


def _platform(schema: str, declared: Entity) -> sql.Composable:
    """A record's platform, or that of what it belongs to (a post's is its account's)."""
    if declared.field("platform"):
        return sql.SQL("record.{}::text").format(sql.Identifier(declared.column("platform")))
    for parent, reference in parents(declared):
        if parent.field("platform"):
            return _PARENTS_PLATFORM.format(
                platform=sql.Identifier(parent.column("platform")),
                table=table_of(schema, parent),
                column=sql.Identifier(declared.column(reference.field)),
            )
    return sql.SQL("NULL::text")


_COUNT = sql.SQL("""
SELECT {entity}::text,
       (SELECT count(*) FROM (SELECT FROM {table} WHERE {listed} LIMIT %(most)s + 1) AS few),
       (SELECT listed FROM stowage.trash_counts WHERE tenant = %(tenant)s AND entity = {entity})
""")


def count_trash(connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity]) -> int | None:
    """How many entries the trash shows of these entities, at a cost that does not grow with them.

    None: nobody has counted them yet (`recount_trash`).
    """
    statement = sql.SQL(" UNION ALL ").join(
        _COUNT.format(
            entity=sql.Literal(declared.name),
            table=table_of(tenant.schema, declared),
            listed=sql.SQL(_LISTED),
        )
        for declared in shown
    )
    total = 0
    for _, counted, kept in connection.execute(statement, {"tenant": tenant.id, "most": COUNTED_UP_TO}):
        if counted > COUNTED_UP_TO and kept is None:
            return None
        # What is kept can be wrong only for as long as a product's own SQL goes unnoticed; below this bound never.
        total += counted if counted <= COUNTED_UP_TO else max(kept, counted)
    return total


_HOLD: LiteralString = "SELECT stowage.take_seqs(%s, 0)"

_RECOUNT = sql.SQL("""
INSERT INTO stowage.trash_counts (tenant, entity, listed)
SELECT %(tenant)s, {entity}, count(*) FROM {table} WHERE {listed}
ON CONFLICT (tenant, entity) DO UPDATE SET listed = excluded.listed
""")


def recount_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity]) -> None:
    """Count a tenant's trash from its rows, in a transaction. Nobody of ours changes the trash meanwhile."""
    # Every change takes numbers last and commits; so who holds the numbers sees all of them.
    connection.execute(_HOLD, (tenant.id,))
    for declared in entities:
        statement = _RECOUNT.format(
            entity=sql.Literal(declared.name),
            table=table_of(tenant.schema, declared),
            listed=sql.SQL(_LISTED),
        )
        connection.execute(statement, {"tenant": tenant.id})


_REUNITE = sql.SQL("""
UPDATE {child} AS child SET deleted_with = NULL
WHERE deleted_operation IS NOT NULL AND deleted_with IS NOT NULL AND deleted_with <> '' AND NOT EXISTS (
    SELECT FROM {parent} AS parent
    WHERE parent.id = child.{column} AND parent.deleted_at IS NOT NULL
      AND parent.deleted_operation = child.deleted_operation
)
""")


def list_orphans(connection: psycopg.Connection, schema: str) -> int:
    """Show by themselves what came to the trash with a parent that a product's own SQL has taken out; how many."""
    count = 0
    for parent in (declared for declared in ENTITIES.values() if declared.soft_delete):
        for child, reference in parent.children("cascade"):
            statement = _REUNITE.format(
                child=table_of(schema, child),
                parent=table_of(schema, parent),
                column=sql.Identifier(child.column(reference.field)),
            )
            count += connection.execute(statement).rowcount
    return count
