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
from stowage.postgres.tables.relations import any_of, has_children, key_type, table_of, text_array
from stowage.postgres.trash.purge_references import referrers
from stowage.tenants import Tenant

BATCH = 1_000
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


_HAS_ANY = sql.SQL("EXISTS (SELECT FROM {table} AS child WHERE child.{column} = record.id)")


def is_kept(schema: str, declared: Entity) -> sql.Composable:
    """Whether something still needs a record: even in the trash, or outside it though it should go along."""
    needed = [
        _HAS_ANY.format(table=table_of(schema, child), column=sql.Identifier(child.column(reference.field)))
        for child, reference in declared.children("restrict")
    ]
    return any_of([*needed, has_children(schema, declared, "record", ("cascade",))])


def is_due(*, only_due: bool) -> sql.Composable:
    """Whether a record is past its time; true where that does not matter."""
    return sql.SQL("record.purge_at <= %(at)s") if only_due else sql.SQL("true")


@dataclass(frozen=True)
class Batch:
    """Ids to purge in one transaction. Unless it `fits`, it is of one record, which takes too much with it for that."""

    ids: list[str]
    fits: bool = True


_NEXT = sql.SQL("""
SELECT id::text, running <= %(batch)s FROM (
    SELECT id, row_number() OVER due AS place, sum(1 + more) OVER due AS running
    FROM (
        SELECT record.id, record.purge_at, {more} AS more
        FROM {table} AS record
        WHERE {which} AND num_nulls(record.deleted_at) < 1 AND record.id <> ALL(%(left)s::{key}[]) AND NOT {kept}
        {order}
        LIMIT %(batch)s
    ) AS first
    WINDOW due AS (ORDER BY purge_at, id)
) AS summed
WHERE running <= %(batch)s OR place = 1
ORDER BY place
""")

_MORE = sql.SQL("""
(SELECT count(*) FROM (SELECT FROM {table} AS child WHERE child.{column} = record.id LIMIT %(batch)s) AS few)
""")

_PAST_ITS_TIME = sql.SQL("record.purge_at <= %(at)s AND (record.deleted_with IS NULL OR record.deleted_with = '')")
_OF_PARENT = sql.SQL("""
record.{column} = %(parent)s::{key}
AND EXISTS (SELECT FROM {table} AS begun WHERE begun.id = %(parent)s::{key} AND begun.deleted_with = ''
            AND begun.deleted_at IS NOT NULL)
""")
_ONE = sql.SQL("record.id = %(id)s::{key}")


def due_for_purge(
    connection: psycopg.Connection, schema: str, declared: Entity, at: datetime, left: Sequence[str] = ()
) -> Batch:
    """The next records past their time but for those `left`, oldest first: a thousand with what goes along."""
    oldest_first = sql.SQL("ORDER BY record.purge_at, record.id")
    return _next(connection, schema, declared, _PAST_ITS_TIME, {"at": at, "left": text_array(left)}, oldest_first)


def next_children(
    connection: psycopg.Connection,
    schema: str,
    declared: Entity,
    child: tuple[Entity, Reference],
    parent: str,
    left: Sequence[str] = (),
) -> Batch:
    """Of the trash, a thousand records that belong to that one, whose purge has begun, but for those `left`."""
    entity, reference = child
    which = _OF_PARENT.format(
        column=sql.Identifier(entity.column(reference.field)), table=table_of(schema, declared), key=key_type(declared)
    )
    return _next(connection, schema, entity, which, {"parent": parent, "left": text_array(left)})


def fits_one_batch(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> bool:
    """Whether a record of the trash goes with all that belongs to it in one transaction."""
    return _next(
        connection, schema, declared, _ONE.format(key=key_type(declared)), {"id": id, "left": text_array([])}
    ).fits


def _next(
    connection: psycopg.Connection,
    schema: str,
    declared: Entity,
    which: sql.Composable,
    given: Mapping[str, object],
    order: sql.Composable = _NOTHING,
) -> Batch:
    outlive = [(entity, reference) for entity, reference, with_them in referrers(declared) if with_them is None]
    more = [
        _MORE.format(table=table_of(schema, child), column=sql.Identifier(child.column(reference.field)))
        for child, reference in declared.children("cascade") + outlive
    ]
    statement = _NEXT.format(
        table=table_of(schema, declared),
        key=key_type(declared),
        more=sql.SQL(" + ").join(more) if more else sql.SQL("0"),
        which=which,
        kept=is_kept(schema, declared),
        order=order,
    )
    rows = connection.execute(statement, {"batch": BATCH, **given}).fetchall()
    return Batch([row[0] for row in rows], all(row[1] for row in rows))


_BEGIN = sql.SQL("""
WITH old AS MATERIALIZED (
    SELECT record.id, record.deleted_with IS NULL AS was_listed FROM {table} AS record
    WHERE record.id = %(id)s::{key} AND num_nulls(record.deleted_at) < 1 AND {due} AND NOT {kept}
    FOR UPDATE
),
marked AS (
    UPDATE {table} AS record SET deleted_with = '', purge_at = least(record.purge_at, %(at)s)
    FROM old WHERE record.id = old.id
    RETURNING old.was_listed
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM marked) * 0) AS base
),
counted AS (
    UPDATE stowage.trash_counts
    SET listed = greatest(0, listed - (SELECT count(*) FROM marked WHERE was_listed))
    FROM taken WHERE tenant = %(tenant)s AND entity = %(entity)s AND taken.base >= 0
)
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
        key=key_type(declared),
        due=is_due(only_due=only_due),
        kept=is_kept(tenant.schema, declared),
    )
    given = {"id": id, "at": at, "tenant": tenant.id, "entity": declared.name}
    row = connection.execute(statement, given).fetchone()
    assert row is not None
    return bool(row[0])
