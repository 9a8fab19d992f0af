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
from stowage.postgres.tables.relations import id_of, key_type, parents, rows_of
from stowage.postgres.tables.trashed import (
    counts,
    deleted_order,
    in_trash,
    in_trash_unindexed,
    is_listed,
    of_trash,
)
from stowage.tenants import Tenant

LONGEST_NAME = 2_000
COUNTED_UP_TO = 1_000
"""So many entries are counted; how many more there are is kept (`stowage.trash_counts`)."""


@dataclass(frozen=True)
class TrashRow:
    """A record in the trash; `cascaded` counts by entity what came with it.

    A product that deletes by itself says of a flag not when, of no record by whom, and of none that it is to go for
    good.
    """

    entity: str
    id: str
    name: str
    platform: str | None
    deleted_at: datetime | None
    deleted_by: str | None
    purge_at: datetime | None
    cascaded: dict[str, int] = field(default_factory=dict)


_PAGE = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT entity, id, row_number() OVER () AS place
    FROM (SELECT * FROM ({all}) AS listed ORDER BY deleted_at DESC, {then} LIMIT %(limit)s OFFSET %(offset)s) AS listed
)
SELECT shown.* FROM ({shown}) AS shown JOIN page USING (entity, id) ORDER BY place
""")

# Ordered and bounded by itself, so that each table gives its part from its index, and the whole is a merge.
_ALL = sql.SQL("""
(SELECT {entity}::text AS entity, {deleted_at} AS deleted_at, {id}::text AS id, {by} AS stw_by
 FROM {table} AS record WHERE {listed}
 ORDER BY {deleted_at} DESC, record.{id} DESC LIMIT %(limit)s + %(offset)s)
""")
# Ids of several types have no order together: each entity's have their own, whatever the page.
_BY_ID, _THEN_BY_ID = sql.SQL("record.{id}"), sql.SQL("stw_by DESC")
_BY_PLACE = sql.SQL("row_number() OVER (ORDER BY {deleted_at} DESC, record.{id} DESC)")
_THEN_BY_PLACE = sql.SQL("stw_by, entity")

_SHOWN = sql.SQL("""
SELECT {entity}::text AS entity, record.{id}::text AS id, {name} AS name, {platform} AS platform,
       {deleted_at} AS deleted_at, {deleted_by} AS deleted_by, {purge_at} AS purge_at, {cascaded} AS cascaded
FROM {source} JOIN {table} AS record
  ON record.{id} = CASE WHEN {source}.entity = {entity} THEN {source}.id::{key} END
""")

_CAME_ALONG = sql.SQL("""
{entity}, (SELECT count(*) FROM {table} AS child
           WHERE child.{column} = record.{id} AND {in_trash} AND {with} = record.{id}::text
             AND {operation} IS NOT DISTINCT FROM {theirs})
""")


def list_trash(
    connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity], limit: int, offset: int
) -> list[TrashRow]:
    """A page of what lies in the trash by itself, newest first, then by id; one statement, its order from indexes."""
    schema, alike = tenant.schema, len({declared.key.type for declared in shown}) == 1
    statement = _PAGE.format(
        then=_THEN_BY_ID if alike else _THEN_BY_PLACE,
        all=sql.SQL(" UNION ALL ").join(
            _ALL.format(
                entity=sql.Literal(declared.name),
                table=rows_of(schema, declared),
                deleted_at=deleted_order(declared, "record"),
                listed=is_listed(declared, "record", newest_first=True),
                id=id_of(declared),
                by=(_BY_ID if alike else _BY_PLACE).format(
                    id=id_of(declared), deleted_at=deleted_order(declared, "record")
                ),
            )
            for declared in shown
        ),
        shown=sql.SQL(" UNION ALL ").join(shown_rows(schema, declared, "page") for declared in shown),
    )
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, {"limit": limit, "offset": offset, "tenant": tenant.id}).fetchall()


def shown_rows(schema: str, declared: Entity, source: str) -> sql.Composed:
    """A `TrashRow` for each row of `source`, a relation of entities and ids (texts) in the surrounding statement."""
    came = [
        _CAME_ALONG.format(
            entity=sql.Literal(child.name),
            table=rows_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
            in_trash=in_trash_unindexed(child, "child"),
            operation=of_trash(child, "child", "deleted_operation"),
            theirs=of_trash(declared, "record", "deleted_operation"),
            **{"with": of_trash(child, "child", "deleted_with")},
            id=id_of(declared),
        )
        for child, reference in declared.children("cascade")
    ]
    return _SHOWN.format(
        entity=sql.Literal(declared.name),
        name=name_of(declared),
        platform=_platform(schema, declared),
        deleted_at=of_trash(declared, "record", "deleted_at"),
        deleted_by=of_trash(declared, "record", "deleted_by"),
        purge_at=of_trash(declared, "record", "purge_at"),
        cascaded=sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(came)),
        source=sql.Identifier(source),
        id=id_of(declared),
        key=key_type(declared),
        table=rows_of(schema, declared),
    )


# A label may be as long as the product likes, and a page shows a hundred.
_NAME = sql.SQL("""
CASE WHEN length(record.{label}::text) > {longest} THEN left(record.{label}::text, {longest}) || '…'
     ELSE record.{label}::text END
""")


def name_of(declared: Entity) -> sql.Composed:
    """What names a `record` to a person: its label, shortened."""
    return _NAME.format(label=sql.Identifier(declared.column(declared.label)), longest=sql.Literal(LONGEST_NAME))


_PARENTS_PLATFORM = sql.SQL(
    "(SELECT parent.{platform}::text FROM {table} AS parent WHERE parent.{id} = record.{column})"
)


def _platform(schema: str, declared: Entity) -> sql.Composable:
    """A record's platform, or that of what it belongs to (a post's is its account's)."""
    if declared.field("platform"):
        return sql.SQL("record.{}::text").format(sql.Identifier(declared.column("platform")))
    for parent, reference in parents(declared):
        if parent.field("platform"):
            return _PARENTS_PLATFORM.format(
                platform=sql.Identifier(parent.column("platform")),
                table=rows_of(schema, parent),
                id=id_of(parent),
                column=sql.Identifier(declared.column(reference.field)),
            )
    return sql.SQL("NULL::text")


_COUNT = sql.SQL("""
SELECT {entity}::text,
       (SELECT count(*) FROM (SELECT FROM {table} AS record WHERE {listed} LIMIT %(most)s + 1) AS few),
       (SELECT listed FROM stowage.trash_counts WHERE tenant = %(tenant)s AND entity = {entity})
""")


def count_trash(connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity]) -> int | None:
    """How many entries the trash shows of these entities, at a cost that does not grow with them.

    None: nobody has counted them yet (`recount_trash`).
    """
    statement = sql.SQL(" UNION ALL ").join(
        _COUNT.format(
            entity=sql.Literal(declared.name),
            table=rows_of(tenant.schema, declared),
            listed=is_listed(declared, "record"),
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
SELECT %(tenant)s, {entity}, count(*) FROM {table} AS record WHERE {listed}
ON CONFLICT (tenant, entity) DO UPDATE SET listed = excluded.listed
""")


def recount_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity]) -> None:
    """Count a tenant's trash from its rows, in a transaction. Nobody of ours changes the trash meanwhile."""
    # Every change takes numbers last and commits; so who holds the numbers sees all of them.
    connection.execute(_HOLD, (tenant.id,))
    for declared in entities:
        statement = _RECOUNT.format(
            entity=sql.Literal(declared.name),
            table=rows_of(tenant.schema, declared),
            listed=is_listed(declared, "record"),
        )
        connection.execute(statement, {"tenant": tenant.id})


_ORPHANS = sql.SQL("""
UPDATE stowage.trash_entries AS kept SET deleted_with = NULL
FROM {child} AS child
WHERE kept.tenant = %(tenant)s AND kept.entity = {entity} AND kept.deleted_with <> ''
  AND child.{child_id} = kept.id::{key} AND {counts}
  AND NOT EXISTS (
      SELECT FROM {parent} AS parent
      WHERE parent.{id} = child.{column} AND {in_trash} AND {theirs} = kept.deleted_operation
  )
""")


def list_orphans(connection: psycopg.Connection, tenant: Tenant) -> int:
    """Show by themselves what came to the trash with a parent that a product's own SQL has taken out; how many."""
    count = 0
    for parent in (declared for declared in ENTITIES.values() if declared.soft_delete):
        for child, reference in parent.children("cascade"):
            statement = _ORPHANS.format(
                child=rows_of(tenant.schema, child),
                entity=sql.Literal(child.name),
                child_id=id_of(child),
                key=key_type(child),
                counts=counts(child, "child", "kept"),
                parent=rows_of(tenant.schema, parent),
                id=id_of(parent),
                column=sql.Identifier(child.column(reference.field)),
                in_trash=in_trash(parent, "parent"),
                theirs=of_trash(parent, "parent", "deleted_operation"),
            )
            count += connection.execute(statement, {"tenant": tenant.id}).rowcount
    return count


_SWEEP = sql.SQL("""
DELETE FROM stowage.trash_entries AS kept
WHERE kept.tenant = %(tenant)s AND kept.entity = {entity}
  AND NOT EXISTS (SELECT FROM {table} AS record WHERE record.{id} = kept.id::{key} AND {counts})
""")


def sweep_entries(connection: psycopg.Connection, tenant: Tenant) -> int:
    """Forget what the trash keeps of records that a product's own SQL has restored, deleted anew or removed."""
    count = 0
    for declared in ENTITIES.values():
        if declared.soft_delete:
            statement = _SWEEP.format(
                entity=sql.Literal(declared.name),
                table=rows_of(tenant.schema, declared),
                id=id_of(declared),
                key=key_type(declared),
                counts=counts(declared, "record", "kept"),
            )
            count += connection.execute(statement, {"tenant": tenant.id}).rowcount
    return count
