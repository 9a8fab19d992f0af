"""Deleting for good: records past their time, in batches, and single ones that an admin asked for; old entries of the
journal.

As stowage_purge, which may delete records and blank the journal's images of them. What is gone leaves its id and the
hashes of its images: that something was there can still be shown, what it was cannot. Which records are next is in
`stowage.postgres.trash.purge_due`, what becomes of those that name them in `stowage.postgres.trash.purge_references`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import errors, sql

from stowage.entities.declaration import Entity
from stowage.postgres.edits.locks import count_of, families_of, lock_children, refers_to_itself
from stowage.postgres.journal.changes import Change, Lines, Summary, append_changes, journalled
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept, skipped
from stowage.postgres.tables.relations import id_of, key_type, mine, rows_of, table_of, text_array
from stowage.postgres.tables.texts import first_characters
from stowage.postgres.tables.trashed import deleted_order, in_trash_unindexed, leave, of_trash
from stowage.postgres.trash.purge_due import is_due, is_kept
from stowage.postgres.trash.purge_references import empty_references, referrers
from stowage.postgres.trash.spans import uncount

FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True)
class Purged:
    """How many records went for good: those asked for, and by entity those that went with them."""

    count: int
    cascaded: dict[str, int]


# The tenant is joined, not given, where its entries are blanked: of a tenant that has grown since the last ANALYZE the
# planner expects so few that it would read them all instead of finding each record's.
_PURGE = sql.SQL("""
WITH gone AS (
    DELETE FROM {table} AS record
    USING unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)
    WHERE {mine} AND record.{id} = asked.id AND {in_trash} AND {due} AND NOT {kept}
    RETURNING asked.n, record.{id} AS id, {with} IS NULL AS was_listed, {moment} AS moment, {hash} AS before
),
{leave}{cascades}
lines AS (
    SELECT %(tenant)s::text AS tenant, %(entity)s::text AS entity, id::text AS id, was_listed, moment FROM gone
    {cascaded_lines}
),
blanked AS (
    UPDATE stowage.changes AS change
    SET before = {before_hash}, after = {after_hash}
    FROM lines
    WHERE change.tenant = lines.tenant AND change.entity = lines.entity AND change.id = lines.id
      AND (change.before IS NOT NULL OR change.after IS NOT NULL)
      AND NOT coalesce(coalesce(change.before, change.after) ? '$sha256', false)
),
{journal},
{uncount}
SELECT (SELECT count(*) FROM gone), {stayed}, {counts}
""")

_PURGED_CHILDREN = sql.SQL("""
{name} AS (
    DELETE FROM {table} AS record USING gone
    WHERE {mine} AND record.{column} = gone.id AND {in_trash}{apart}
    RETURNING record.{id} AS id, {with} IS NULL AS was_listed, {moment} AS moment, {hash} AS before
),
{leave}""")

_STAYED = sql.SQL("(SELECT count(*) FROM ({theirs}) AS stw_theirs) - ({count})")
_THEIRS = sql.SQL(
    "SELECT record.{id} FROM {table} AS record JOIN gone ON record.{column} = gone.id WHERE {in_trash}{apart}"
)
_APART = sql.SQL(" AND record.{id} NOT IN (SELECT id FROM gone)")

_PURGED_LINES = sql.SQL(" UNION ALL SELECT %(tenant)s, {entity}, id::text, was_listed, moment FROM {name} ")

_SUMMARY = sql.SQL("""
jsonb_build_object('kind', 'purge', 'total', {total}, 'succeeded', {total}, 'failed', 0{cascaded})
""")
_CASCADED = sql.SQL(", 'cascaded', jsonb_build_object({})")
_GONE_COUNT = sql.SQL("(SELECT count(*) FROM gone)")
_ANY_GONE: LiteralString = "EXISTS (SELECT FROM gone)"

_NO_IMAGE = sql.SQL("NULL::jsonb")
# Of an image of more than 32 MB the lengths and the beginnings of its values count: its text would take seconds, and
# may be more than Postgres can hold.
_HASH = sql.SQL("""
(SELECT jsonb_build_object('$sha256', encode(sha256(convert_to((
     CASE WHEN pg_column_size(image || '{{}}') <= 32000000 THEN image
          ELSE (SELECT jsonb_object_agg(key, jsonb_build_array(octet_length(value), {beginning}))
                FROM jsonb_each_text(image)) END
 )::text, 'UTF8')), 'hex')) FROM (SELECT {image} AS image OFFSET 0) AS stw_one)
""")
_BEGINNING = first_characters(sql.SQL("value"), 1_000_000)

_HASH_IF_ANY = sql.SQL("CASE WHEN {image} IS NOT NULL THEN {hash} END")


def _hash(image: LiteralString) -> sql.Composed:
    return _HASH.format(image=sql.SQL(image), beginning=_BEGINNING)


def _hash_if_any(image: LiteralString) -> sql.Composed:
    return _HASH_IF_ANY.format(image=sql.SQL(image), hash=_hash(image))


def purge_records(
    connection: psycopg.Connection, edit: Edit, declared: Entity, ids: Sequence[str], *, only_due: bool
) -> Purged:
    """Delete these records of the trash for good, with all that belongs to them there, and blank their images.

    What has left the trash meanwhile, or is still needed, stays. `only_due`: nor what is not past its time. What
    merely names them (`keep`) does so no more. Audited with a summary where anything went. ConflictError where a
    trigger keeps any of it.
    """
    schema = edit.schema
    if referrers(declared) or refers_to_itself(declared):
        ids = _lock_going(connection, edit, declared, ids, only_due=only_due)
        empty_references(connection, edit, declared, ids)
    families = families_of(declared)
    cascades = [cascade for family in families for cascade in family]
    counts = [count_of(family) for family in families]
    cascaded = _CASCADED.format(
        sql.SQL(", ").join(
            sql.SQL("{}, {}").format(sql.Literal(child.name), count)
            for ((_, child, _), *_), count in zip(families, counts, strict=True)
        )
    )
    stayed = [
        _STAYED.format(
            theirs=sql.SQL(" UNION ").join(
                _THEIRS.format(
                    id=id_of(child),
                    table=rows_of(schema, child),
                    column=sql.Identifier(child.column(reference.field)),
                    in_trash=in_trash_unindexed(child, "record"),
                    apart=_apart(declared, child),
                )
                for _, child, reference in family
            ),
            count=count,
        )
        for family, count in zip(families, counts, strict=True)
    ]
    told = _SUMMARY.format(total=_GONE_COUNT, cascaded=cascaded if cascades else sql.SQL(""))
    statement = _PURGE.format(
        id=id_of(declared),
        key=key_type(declared),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        due=is_due(declared, only_due=only_due),
        kept=is_kept(schema, declared, _asked(declared)),
        **_going(declared),
        leave=leave(declared, "gone"),
        before_hash=_hash_if_any("change.before"),
        after_hash=_hash_if_any("change.after"),
        cascades=sql.SQL("").join(
            _PURGED_CHILDREN.format(
                name=sql.Identifier(name),
                id=id_of(child),
                table=table_of(schema, child),
                mine=mine(schema, child, "record"),
                column=sql.Identifier(child.column(reference.field)),
                apart=_apart(declared, child),
                **_going(child),
                leave=leave(child, name),
            )
            for name, child, reference in cascades
        ),
        cascaded_lines=sql.SQL("").join(
            _PURGED_LINES.format(entity=sql.Literal(child.name), name=sql.Identifier(name))
            for name, child, _ in cascades
        ),
        journal=journalled(
            Lines("gone", declared.name, "purged", after=_NO_IMAGE),
            *(Lines(name, child.name, "purged", n="id", after=_NO_IMAGE) for name, child, _ in cascades),
            summary=Summary(declared.name, told, when=_ANY_GONE),
        ),
        uncount=uncount("lines", "stw_base"),
        stayed=sql.SQL("ARRAY[{}]::bigint[]").format(sql.SQL(", ").join(stayed)),
        counts=sql.SQL(", ").join(counts) if counts else sql.SQL("NULL"),
    )
    given = {**edit.given, "ids": text_array(ids), "entity": declared.name}
    try:
        with connection.transaction():
            row = connection.execute(statement, given).fetchone()
    except errors.ForeignKeyViolation as error:
        # A trigger may have kept what was to go along.
        for entity in (declared, *(child for _, child, _ in cascades)):
            if entity.table == error.diag.table_name and skipped(connection, schema, entity, "DELETE"):
                refuse_kept(connection, schema, entity, 1, "DELETE")
        raise
    assert row is not None
    count, along, *came = row
    left = _going_of(connection, edit, declared, ids, only_due=only_due)
    refuse_kept(connection, schema, declared, len(left), "DELETE")
    for ((_, child, _), *_), kept in zip(families, along, strict=True):
        refuse_kept(connection, schema, child, kept, "DELETE")
    went = {child.name: int(n) for ((_, child, _), *_), n in zip(families, came, strict=False) if n}
    return Purged(int(count), went)


def _apart(declared: Entity, child: Entity) -> sql.Composable:
    """The condition, with its AND, that a record which goes along does not go by itself: it may be of a tree."""
    return _APART.format(id=id_of(child)) if child is declared else sql.SQL("")


_MOMENT = sql.SQL("{}::timestamptz")


def _going(declared: Entity) -> dict[str, sql.Composable]:
    """The parts of the statement that delete a `record` of the trash for good."""
    return {
        "in_trash": in_trash_unindexed(declared, "record"),
        "with": of_trash(declared, "record", "deleted_with"),
        "moment": _MOMENT.format(deleted_order(declared, "record")),
        "hash": _hash("to_jsonb(record.*)"),
    }


_ASKED = sql.SQL("SELECT unnest(%(ids)s::{key}[])")


def _asked(declared: Entity) -> sql.Composed:
    return _ASKED.format(key=key_type(declared))


_LOCK_GOING = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {id} FROM {table} AS record WHERE {mine} AND {id} = ANY(%(ids)s::{key}[]) ORDER BY {id} FOR UPDATE
)
SELECT count(*) FROM locked
""")

_GOING = sql.SQL("""
SELECT record.{id}::text FROM {table} AS record
WHERE record.{id} = ANY(%(ids)s::{key}[]) AND {in_trash} AND {due} AND NOT {kept}
""")


def _lock_going(
    connection: psycopg.Connection, edit: Edit, declared: Entity, ids: Sequence[str], *, only_due: bool
) -> list[str]:
    """Lock records and what goes with them; the ids of those that will go."""
    statement = _LOCK_GOING.format(
        table=table_of(edit.schema, declared),
        mine=mine(edit.schema, declared, "record"),
        id=id_of(declared),
        key=key_type(declared),
    )
    connection.execute(statement, {"ids": text_array(ids)})
    going = _going_of(connection, edit, declared, ids, only_due=only_due)
    while refers_to_itself(declared) and len(going) < len(ids):
        # One that stays keeps those that it belongs to.
        ids, going = going, _going_of(connection, edit, declared, going, only_due=only_due)
    lock_children(connection, edit.schema, declared, going, trashed=True)
    return going


def _going_of(
    connection: psycopg.Connection, edit: Edit, declared: Entity, ids: Sequence[str], *, only_due: bool
) -> list[str]:
    """Those of the ids whose record is there, in the trash, and may go."""
    statement = _GOING.format(
        table=rows_of(edit.schema, declared),
        id=id_of(declared),
        key=key_type(declared),
        in_trash=in_trash_unindexed(declared, "record"),
        due=is_due(declared, only_due=only_due),
        kept=is_kept(edit.schema, declared, _asked(declared)),
    )
    given = {"ids": text_array(ids), "at": edit.at, "tenant": edit.tenant.id}
    return [record_id for (record_id,) in connection.execute(statement, given)]


_SWEEP: LiteralString = "DELETE FROM stowage.idempotency_answers WHERE expires_at <= now()"


def sweep_answers(connection: psycopg.Connection) -> int:
    """Delete kept answers that nobody will be given any more (as stowage_app); how many."""
    return connection.execute(_SWEEP).rowcount


_GONE: LiteralString = """
WITH told AS MATERIALIZED (
    SELECT coalesce(max(seq), 0) AS seq FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = 'trash' AND type = 'trash.purged'
),
purges AS MATERIALIZED (
    SELECT done.entity, done.after FROM told, stowage.changes AS done
    WHERE done.tenant = %(tenant)s AND done.type = 'operation' AND done.seq > told.seq
      AND done.after ->> 'kind' = 'purge' AND done.actor = %(actor)s
),
gone AS (
    SELECT entity, (after ->> 'succeeded')::bigint AS count FROM purges
    UNION ALL
    SELECT came.key, came.value::bigint FROM purges, jsonb_each_text(after -> 'cascaded') AS came
)
SELECT entity, sum(count)::bigint FROM gone WHERE count > 0 GROUP BY entity ORDER BY entity
"""


def append_event(connection: psycopg.Connection, edit: Edit) -> dict[str, int]:
    """Append the event `trash.purged` if anything went by that actor's purges since the last one; how much, by entity.

    Within a transaction that holds the tenant's numbers already, so that two that end at once do not both tell.
    """
    given = {"tenant": edit.tenant.id, "actor": edit.actor}
    gone: dict[str, int] = dict(connection.execute(_GONE, given).fetchall())
    if gone:
        after = {"total": sum(gone.values()), "entities": gone}
        event = Change(edit.operation, "trash", edit.operation, "trash.purged", None, after, edit.actor, edit.at)
        append_changes(connection, edit.tenant.id, [event])
    return gone


_FORGET: LiteralString = "SELECT stowage.forget_changes(%s, %s, %s)"


def forget_changes(
    connection: psycopg.Connection, tenant: str, older_than: datetime, most: int = FORGOTTEN_AT_ONCE
) -> int:
    """Delete the oldest entries of a tenant's journal that are older than that, `most` at once; how many, 0 where none
    is left (`product/0016_journal_retention.sql`).
    """
    row = connection.execute(_FORGET, (tenant, older_than, most)).fetchone()
    assert row is not None, "a function's answer is a row"
    return int(row[0])
