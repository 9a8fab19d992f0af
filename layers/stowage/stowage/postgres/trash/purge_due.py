"""What the purge takes next, a thousand records at a time, and what it has begun with because it takes longer.

What belongs to a record goes in its transaction where both fit one batch. Else the record is marked (`deleted_with` is
empty, which no id is) and what belongs to it goes first, in batches of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from stowage.postgres.tables.relations import (
    any_of,
    has_children,
    has_grandchildren,
    id_of,
    key_type,
    mine,
    rows_of,
    table_of,
    text_array,
)
from stowage.postgres.tables.trashed import counts, deleted_order, in_trash, in_trash_unindexed, mark, of_trash
from stowage.postgres.trash.purge_references import referrers
from stowage.postgres.trash.spans import uncount
from stowage.tenants import Tenant

BATCH = 1_000
ADOPTED_AT_ONCE = 10_000
_NOTHING = sql.SQL("")


def in_order() -> list[Entity]:
    """The entities whose trash is purged: each before what it refers to, and before what it takes along."""
    placed: list[Entity] = []
    waiting = [declared for declared in ENTITIES.values() if declared.soft_delete]
    while waiting:
        ready = [
            declared
            for declared in waiting
            if not any(child in waiting and child is not declared for child, _ in declared.children("restrict"))
            and not any(
                ENTITIES[reference.entity] in waiting
                for reference in declared.references
                if reference.on_delete == "cascade"
            )
        ]
        placed += ready or waiting
        waiting = [declared for declared in waiting if declared not in placed]
    return placed


_HAS_ANY = sql.SQL("EXISTS (SELECT FROM {table} AS child WHERE child.{column} = record.{id})")


def is_kept(schema: str, declared: Entity, besides: sql.Composable | None = None) -> sql.Composable:
    """Whether something still needs a record: even in the trash, or outside it though it should go along, or because it
    refers to what goes along; `besides` is a query of ids of the entity that go by themselves.
    """
    needed = [
        _HAS_ANY.format(
            table=rows_of(schema, child), column=sql.Identifier(child.column(reference.field)), id=id_of(declared)
        )
        for child, reference in declared.children("restrict")
    ]
    return any_of(
        [
            *needed,
            has_children(schema, declared, "record", ("cascade",)),
            has_grandchildren(schema, declared, "record", trashed=True, besides=besides),
        ]
    )


_IS_DUE = sql.SQL("{} <= %(at)s")


def is_due(declared: Entity, *, only_due: bool) -> sql.Composable:
    """Whether a record is past its time; true where that does not matter."""
    return _IS_DUE.format(of_trash(declared, "record", "purge_at")) if only_due else sql.SQL("true")


@dataclass(frozen=True)
class Batch:
    """Ids to purge in one transaction. Unless it `fits`, it is of one record, which takes too much with it for that."""

    ids: list[str]
    fits: bool = True


_AT = sql.SQL("%(at)s::timestamptz")
_ADOPT = sql.SQL("""
WITH found AS (
    SELECT record.{id}::text AS id, {mark} AS stw_mark, {deleted_at} AS deleted_at FROM {table} AS record
    WHERE {mine} AND {in_trash} AND NOT EXISTS (
        SELECT FROM stowage.trash_entries AS stw_known
        WHERE stw_known.tenant = %(tenant)s AND stw_known.entity = {entity} AND stw_known.id = record.{id}::text
          AND {counts}
    )
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
INSERT INTO stowage.trash_entries (tenant, entity, id, mark, deleted_at, purge_at, of_flag)
SELECT %(tenant)s, {entity}, id, stw_mark, deleted_at, coalesce(deleted_at, %(at)s) + %(days)s * interval '1 day',
       {of_flag}
FROM found
ON CONFLICT (tenant, entity, id) DO UPDATE
SET mark = excluded.mark, deleted_at = excluded.deleted_at, deleted_by = NULL, purge_at = excluded.purge_at,
    deleted_operation = NULL, deleted_with = NULL, of_flag = excluded.of_flag
""")


def adopt_deleted(connection: psycopg.Connection, tenant: Tenant, declared: Entity, at: datetime) -> int:
    """Give records that the product deleted itself a time to go, as the declaration says (`purgeDays`); how many, of
    at most `ADOPTED_AT_ONCE`.

    It counts from the row's own moment; a flag has none, and its record counts as deleted now. One that somebody
    changes at the moment waits for the next purge.
    """
    statement = _ADOPT.format(
        id=id_of(declared),
        mark=mark(declared, "record"),
        deleted_at=_AT if declared.trash.is_flag else of_trash(declared, "record", "deleted_at"),
        of_flag=sql.Literal(declared.trash.is_flag),
        table=table_of(tenant.schema, declared),
        mine=mine(tenant.schema, declared, "record"),
        in_trash=in_trash(declared, "record"),
        entity=sql.Literal(declared.name),
        counts=counts(declared, "record", "stw_known"),
    )
    given = {"tenant": tenant.id, "at": at, "days": declared.trash.purge_days, "most": ADOPTED_AT_ONCE}
    return connection.execute(statement, given).rowcount


_NEXT = sql.SQL("""
SELECT id::text, running <= %(batch)s FROM (
    SELECT id, row_number() OVER due AS place, sum(1 + more) OVER due AS running
    FROM (
        SELECT record.{id} AS id, {purge_at} AS purge_at, {more} AS more
        FROM {source}
        WHERE {which} AND {in_trash} AND record.{id} <> ALL(%(left)s::{key}[]) AND NOT {kept}
        {order}
        LIMIT %(batch)s
    ) AS first
    WINDOW due AS (ORDER BY purge_at, id)
) AS summed
WHERE running <= %(batch)s OR place = 1
ORDER BY place
""")

_MORE = sql.SQL("""
(SELECT count(*) FROM (SELECT FROM {table} AS child WHERE child.{column} = record.{id} LIMIT %(batch)s) AS few)
""")

_ALL = sql.SQL("{table} AS record")
_FROM_ENTRIES = sql.SQL("stowage.trash_entries AS kept JOIN {table} AS record ON record.{id} = kept.id::{key}")
_PAST_ITS_TIME = sql.SQL("""
kept.tenant || '/' || kept.entity = %(tenant)s || '/' || {entity} AND kept.purge_at <= %(at)s
AND kept.tenant = %(tenant)s AND kept.entity = {entity} AND {counts}
AND (kept.deleted_with IS NULL OR kept.deleted_with = '')
""")
_KEPT_UNTIL, _OLDEST_FIRST = sql.SQL("kept.purge_at"), sql.SQL("ORDER BY kept.purge_at, kept.id")
_OF_PARENT = sql.SQL("""
record.{column} = %(parent)s::{key}
AND EXISTS (SELECT FROM {table} AS begun WHERE begun.{id} = %(parent)s::{key} AND {with} = '' AND {in_trash})
""")
_ONE = sql.SQL("record.{id} = %(id)s::{key}")


def due_for_purge(
    connection: psycopg.Connection, tenant: Tenant, declared: Entity, at: datetime, left: Sequence[str] = ()
) -> Batch:
    """The next records past their time but for those `left`, oldest first: a thousand with what goes along."""
    which = _PAST_ITS_TIME.format(entity=sql.Literal(declared.name), counts=counts(declared, "record", "kept"))
    given = {"at": at, "left": text_array(left)}
    return _next(
        connection, tenant, declared, which, given, source=_FROM_ENTRIES, purge_at=_KEPT_UNTIL, order=_OLDEST_FIRST
    )


def next_children(
    connection: psycopg.Connection,
    tenant: Tenant,
    declared: Entity,
    child: tuple[Entity, Reference],
    parent: str,
    left: Sequence[str] = (),
) -> Batch:
    """Of the trash, a thousand records that belong to that one, whose purge has begun, but for those `left`."""
    entity, reference = child
    which = _OF_PARENT.format(
        column=sql.Identifier(entity.column(reference.field)),
        table=rows_of(tenant.schema, declared),
        id=id_of(declared),
        key=key_type(declared),
        in_trash=in_trash(declared, "begun"),
        **{"with": of_trash(declared, "begun", "deleted_with")},
    )
    return _next(connection, tenant, entity, which, {"parent": parent, "left": text_array(left)})


def fits_one_batch(connection: psycopg.Connection, tenant: Tenant, declared: Entity, id: str) -> bool:
    """Whether a record of the trash goes with all that belongs to it in one transaction."""
    which = _ONE.format(id=id_of(declared), key=key_type(declared))
    return _next(connection, tenant, declared, which, {"id": id, "left": text_array([])}).fits


def _next(
    connection: psycopg.Connection,
    tenant: Tenant,
    declared: Entity,
    which: sql.Composable,
    given: Mapping[str, object],
    *,
    source: sql.SQL = _ALL,
    purge_at: sql.Composable | None = None,
    order: sql.Composable = _NOTHING,
) -> Batch:
    schema = tenant.schema
    outlive = [(entity, reference) for entity, reference, with_them in referrers(declared) if with_them is None]
    more = [
        _MORE.format(
            table=rows_of(schema, child), column=sql.Identifier(child.column(reference.field)), id=id_of(declared)
        )
        for child, reference in declared.children("cascade") + outlive
    ]
    statement = _NEXT.format(
        source=source.format(table=rows_of(schema, declared), id=id_of(declared), key=key_type(declared)),
        id=id_of(declared),
        purge_at=purge_at or of_trash(declared, "record", "purge_at"),
        in_trash=in_trash_unindexed(declared, "record"),
        key=key_type(declared),
        more=sql.SQL(" + ").join(more) if more else sql.SQL("0"),
        which=which,
        kept=is_kept(schema, declared),
        order=order,
    )
    rows = connection.execute(statement, {"batch": BATCH, "tenant": tenant.id, **given}).fetchall()
    return Batch([row[0] for row in rows], all(row[1] for row in rows))


_BEGIN = sql.SQL("""
WITH old AS MATERIALIZED (
    SELECT record.{id} AS id, {with} IS NULL AS was_listed, {mark} AS stw_mark, {deleted_at} AS deleted_at,
           {deleted_by} AS deleted_by, {purge_at} AS purge_at, {operation} AS deleted_operation,
           {moment} AS moment
    FROM {table} AS record
    WHERE {mine} AND record.{id} = %(id)s::{key} AND {in_trash} AND {due} AND NOT {kept}
    FOR UPDATE
),
entered AS (
    INSERT INTO stowage.trash_entries AS kept
        (tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with)
    SELECT %(tenant)s, %(entity)s, id::text, stw_mark, deleted_at, deleted_by, least(purge_at, %(at)s),
           deleted_operation, ''
    FROM old
    ON CONFLICT (tenant, entity, id) DO UPDATE
    SET mark = excluded.mark, deleted_at = excluded.deleted_at, deleted_by = excluded.deleted_by,
        purge_at = excluded.purge_at, deleted_operation = excluded.deleted_operation,
        deleted_with = excluded.deleted_with
    RETURNING kept.id
),
marked AS (
    SELECT %(entity)s::text AS entity, old.moment, old.was_listed FROM old JOIN entered ON entered.id = old.id::text
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM marked) * 0) AS base
),
{uncount}
SELECT count(*) FROM marked
""")


def begin_purge(
    connection: psycopg.Connection, tenant: Tenant, declared: Entity, id: str, at: datetime, *, only_due: bool
) -> bool:
    """Say of a record that its purge has begun: it is not listed and cannot be restored any more, and the daily purge
    ends what nobody else does.

    False where it has left the trash, is still needed, or (`only_due`) is not past its time.
    """
    statement = _BEGIN.format(
        table=table_of(tenant.schema, declared),
        mine=mine(tenant.schema, declared, "record"),
        id=id_of(declared),
        key=key_type(declared),
        mark=mark(declared, "record"),
        moment=deleted_order(declared, "record"),
        uncount=uncount("marked", "taken"),
        deleted_at=of_trash(declared, "record", "deleted_at"),
        deleted_by=of_trash(declared, "record", "deleted_by"),
        purge_at=of_trash(declared, "record", "purge_at"),
        operation=of_trash(declared, "record", "deleted_operation"),
        **{"with": of_trash(declared, "record", "deleted_with")},
        in_trash=in_trash_unindexed(declared, "record"),
        due=is_due(declared, only_due=only_due),
        kept=is_kept(tenant.schema, declared),
    )
    given = {"id": id, "at": at, "tenant": tenant.id, "entity": declared.name}
    row = connection.execute(statement, given).fetchone()
    assert row is not None
    return bool(row[0])
