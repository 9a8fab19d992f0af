"""What the trash shows, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.locks import families_of
from stowage.postgres.tables.relations import id_of, key_type, parents, rows_of
from stowage.postgres.tables.texts import first_characters
from stowage.postgres.tables.trashed import (
    counts,
    deleted_order,
    in_trash,
    in_trash_unindexed,
    is_listed,
    of_trash,
)
from stowage.postgres.trash.spans import entered, skip
from stowage.tenants import Tenant

LONGEST_NAME = 2_000


@dataclass(frozen=True)
class TrashRow:
    """A record in the trash, its `name` as `name_of` reads it; `cascaded` counts by entity what came with it.

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
# A flag's moments are those of the entries. What the product deleted itself has none and comes last, and so does what a
# version before wrote (`recount_trash` mends it); both are looked for only where the entries do not fill the page.
_ALL_OF_FLAG = sql.SQL("""
(WITH entered AS MATERIALIZED (
    SELECT kept.deleted_at AS deleted_at, record.{id}::text AS id,
           row_number() OVER (ORDER BY kept.deleted_at DESC, kept.id DESC) AS stw_by
    FROM {entered} WHERE {within}
    ORDER BY kept.deleted_at DESC, kept.id DESC LIMIT %(limit)s + %(offset)s
 )
 SELECT {entity}::text AS entity, deleted_at, id, stw_by FROM entered
 UNION ALL
 (SELECT {entity}, '-infinity', record.{id}::text, row_number() OVER (ORDER BY record.{id} DESC)
  FROM {table} AS record
  WHERE {in_trash} AND NOT EXISTS (
      SELECT FROM stowage.trash_entries AS stw_entry
      WHERE stw_entry.tenant = %(tenant)s AND stw_entry.entity = {entity} AND stw_entry.id = record.{id}::text
        AND {counts} AND (stw_entry.of_flag OR stw_entry.deleted_with IS NOT NULL)
  )
  ORDER BY record.{id} DESC LIMIT greatest(0, %(limit)s + %(offset)s - (SELECT count(*) FROM entered))))
""")
# Ids of several types have no order together, and those of entries are texts: each entity's have their own, whatever
# the page.
_BY_ID, _THEN_BY_ID = sql.SQL("record.{id}"), sql.SQL("stw_by DESC")
_BY_PLACE = sql.SQL("row_number() OVER (ORDER BY {deleted_at} DESC, record.{id} DESC)")
_THEN_BY_PLACE = sql.SQL("stw_by, entity")
_BEFORE = sql.SQL("{} < %(before)s::timestamptz")

_SHOWN = sql.SQL("""
SELECT {entity}::text AS entity, record.{id}::text AS id, {name} AS name, {platform} AS platform,
       {deleted_at} AS deleted_at, {deleted_by} AS deleted_by, {purge_at} AS purge_at, {cascaded} AS cascaded
FROM {source} JOIN {table} AS record
  ON record.{id} = CASE WHEN {source}.entity = {entity} THEN {source}.id::{key} END
""")

_CAME_ALONG = sql.SQL("""
{entity}, (SELECT count(*) FROM {table} AS child
           WHERE ({theirs}) AND {in_trash} AND {with} = record.{id}::text
             AND {operation} IS NOT DISTINCT FROM {parents_operation})
""")


_THEIRS = sql.SQL("child.{} = record.{}")


def list_trash(
    connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity], limit: int, offset: int
) -> list[TrashRow]:
    """A page of what lies in the trash by itself, newest first, then by id; its order is that of indexes.

    What lies far before the page is not read (`stowage.postgres.trash.spans`).
    """
    schema = tenant.schema
    by_id = len({declared.key.type for declared in shown}) == 1 and not any(each.trash.is_flag for each in shown)
    before, skipped = skip(connection, tenant, shown, offset)
    statement = _PAGE.format(
        then=_THEN_BY_ID if by_id else _THEN_BY_PLACE,
        all=sql.SQL(" UNION ALL ").join(
            _part(schema, declared, by_id=by_id, within=_BEFORE if before else None) for declared in shown
        ),
        shown=sql.SQL(" UNION ALL ").join(shown_rows(schema, declared, "page") for declared in shown),
    )
    given = {"limit": limit, "offset": offset - skipped, "before": before, "tenant": tenant.id}
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, given).fetchall()


def _part(schema: str, declared: Entity, *, by_id: bool, within: sql.SQL | None) -> sql.Composed:
    """What a page may need of an entity, in its order."""
    table, key = rows_of(schema, declared), id_of(declared)
    if declared.trash.is_flag:
        return _ALL_OF_FLAG.format(
            entity=sql.Literal(declared.name),
            table=table,
            id=key,
            entered=entered(schema, declared),
            within=within.format(sql.Identifier("kept", "deleted_at")) if within else sql.SQL("true"),
            in_trash=in_trash(declared, "record"),
            counts=counts(declared, "record", "stw_entry"),
        )
    deleted_at = deleted_order(declared, "record")
    return _ALL.format(
        entity=sql.Literal(declared.name),
        table=table,
        deleted_at=deleted_at,
        listed=is_listed(declared, "record", newest_first=True, within=within),
        id=key,
        by=(_BY_ID if by_id else _BY_PLACE).format(id=key, deleted_at=deleted_at),
    )


def shown_rows(schema: str, declared: Entity, source: str) -> sql.Composed:
    """A `TrashRow` for each row of `source`, a relation of entities and ids (texts) in the surrounding statement."""
    came = [
        _CAME_ALONG.format(
            entity=sql.Literal(child.name),
            table=rows_of(schema, child),
            theirs=sql.SQL(" OR ").join(
                _THEIRS.format(sql.Identifier(child.column(reference.field)), id_of(declared))
                for _, _, reference in family
            ),
            in_trash=in_trash_unindexed(child, "child"),
            operation=of_trash(child, "child", "deleted_operation"),
            parents_operation=of_trash(declared, "record", "deleted_operation"),
            **{"with": of_trash(child, "child", "deleted_with")},
            id=id_of(declared),
        )
        for family in families_of(declared)
        for child in [family[0][1]]
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
_NAME = sql.SQL("{}::text")
_MOST_BYTES = 4 * (LONGEST_NAME + 2)
"""Of UTF-8, in which a database in SQL_ASCII counts: as many characters as are shown, and two more."""


def name_of(declared: Entity) -> sql.Composable:
    """The label of a `record`, or so much of it that `shown_name` sees whether it is too long."""
    label = _NAME.format(sql.Identifier("record", declared.column(declared.label)))
    return first_characters(label, _MOST_BYTES)


def shown_name(name: str) -> str:
    """What names a record to a person: its label, shortened."""
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…"


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


_ORPHANS = sql.SQL("""
UPDATE stowage.trash_entries AS kept SET deleted_with = NULL
FROM {child} AS child
WHERE kept.tenant = %(tenant)s AND kept.entity = {entity} AND kept.deleted_with <> ''
  AND child.{child_id} = kept.id::{key} AND {counts}{alone}
""")
_WITHOUT_PARENT = sql.SQL("""
  AND NOT EXISTS (
      SELECT FROM {parent} AS parent
      WHERE parent.{id} = child.{column} AND {in_trash} AND {theirs} = kept.deleted_operation
  )
""")


def list_orphans(connection: psycopg.Connection, tenant: Tenant) -> int:
    """Show by themselves what came to the trash with a parent that a product's own SQL has taken out; how many."""
    without: dict[str, list[sql.Composed]] = {}
    for parent in (declared for declared in ENTITIES.values() if declared.soft_delete):
        for child, reference in parent.children("cascade"):
            condition = _WITHOUT_PARENT.format(
                parent=rows_of(tenant.schema, parent),
                id=id_of(parent),
                column=sql.Identifier(child.column(reference.field)),
                in_trash=in_trash(parent, "parent"),
                theirs=of_trash(parent, "parent", "deleted_operation"),
            )
            without.setdefault(child.name, []).append(condition)
    count = 0
    for name, conditions in without.items():
        child = ENTITIES[name]
        statement = _ORPHANS.format(
            child=rows_of(tenant.schema, child),
            entity=sql.Literal(name),
            child_id=id_of(child),
            key=key_type(child),
            counts=counts(child, "child", "kept"),
            alone=sql.SQL("").join(conditions),
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
