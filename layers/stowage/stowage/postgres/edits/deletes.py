"""Deletes: many records to the trash by a few statements, however many, with what goes along."""

import json
from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.entities.declaration import Entity
from stowage.postgres.edits.locks import (
    Outcome,
    count_of,
    families_of,
    lock_children,
    lock_records,
    refers_to_itself,
    unasked,
)
from stowage.postgres.edits.settling import settle_marks
from stowage.postgres.journal.changes import Lines, Summary, journalled
from stowage.postgres.journal.images import whole_image
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept
from stowage.postgres.tables.relations import (
    any_of,
    grandchildren,
    has_children,
    has_grandchildren,
    id_of,
    key_type,
    mine,
    rows_of,
    table_of,
    text_array,
)
from stowage.postgres.tables.trashed import enter, live_value, mark, outside_trash, outside_trash_unindexed, put_in

_JUDGE = sql.SQL("""
WITH found AS (
    SELECT asked.n, {restricted} AS has_children, {children} AS children
    FROM unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)
    JOIN {table} AS record ON record.{id} = asked.id
),
summed AS (
    SELECT *, sum(children) FILTER (WHERE NOT has_children AND children <= %(most)s) OVER (ORDER BY n) AS running
    FROM found
)
SELECT n, CASE WHEN has_children THEN 'has_children' ELSE 'too_large' END
FROM summed
WHERE has_children OR children > %(most)s OR (children > 0 AND running > %(most)s)
""")

_CHILDREN = sql.SQL("""
(SELECT count(*) FROM (
    SELECT FROM {table} AS child WHERE child.{column} = record.{id} AND {outside} LIMIT %(most)s + 1
) AS few)
""")


_GO_ALONG = sql.SQL("""
(SELECT count(*) FROM (
    SELECT FROM {table} AS child WHERE child.{column} = ANY(%(ids)s::{key}[]) AND {outside} LIMIT %(most)s + 1
) AS few)
""")


_ASKED_IDS = sql.SQL("SELECT unnest(%(ids)s::{key}[])")


def _judge(
    connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str | None], most: int
) -> dict[int, str]:
    """Which of these locked records may not be deleted, by their place: because of what refers to them.

    What would go along is counted for each record only where all of it together is too much.
    """
    cascades = [
        {
            "id": id_of(declared),
            "key": key_type(declared),
            "table": rows_of(schema, child),
            "column": sql.Identifier(child.column(reference.field)),
            "outside": outside_trash(child, "child"),
        }
        for child, reference in declared.children("cascade")
    ]
    given = {"ids": text_array(ids), "most": most}
    counted = False
    if cascades:
        total = sql.SQL("SELECT ") + sql.SQL(" + ").join(_GO_ALONG.format(**cascade) for cascade in cascades)
        row = connection.execute(total, given).fetchone()
        counted = row is not None and row[0] > most
    if not (counted or declared.children("restrict") or grandchildren(declared)):
        return {}
    asked = _ASKED_IDS.format(key=key_type(declared))
    counts = [_CHILDREN.format(**cascade) for cascade in cascades] if counted else [sql.SQL("0")]
    statement = _JUDGE.format(
        id=id_of(declared),
        key=key_type(declared),
        table=rows_of(schema, declared),
        restricted=any_of(
            [
                has_children(schema, declared, "record", besides=asked),
                has_grandchildren(schema, declared, "record", trashed=False, besides=asked),
            ]
        ),
        children=sql.SQL(" + ").join(counts),
    )
    return {n - 1: code for n, code in connection.execute(statement, given)}


_DELETE = sql.SQL("""
WITH changed AS (
    UPDATE {table} AS record SET {put_in}
    WHERE {mine} AND record.{id} = ANY(%(ids)s::{key}[]) AND {outside}
    RETURNING record.{id} AS id, {mark} AS stw_mark, {image} AS after
),
{enter}{cascades}{journal},
counted AS (
    UPDATE stowage.trash_counts SET listed = listed + (SELECT count(*) FROM changed)
    FROM stw_base WHERE tenant = %(tenant)s AND entity = %(entity)s AND stw_base.base >= 0
)
SELECT (SELECT count(DISTINCT id) FROM unnest(%(ids)s::{key}[]) AS asked (id))
       - (SELECT count(*) FROM changed WHERE changed.id = ANY(%(ids)s::{key}[])),
       {counts}
""")

_CASCADE = sql.SQL("""
{name} AS (
    UPDATE {table} AS record SET {put_in}
    WHERE {mine} AND record.{column} = ANY(%(ids)s::{key}[]) AND {outside}{unasked}
    RETURNING record.{id} AS id, {mark} AS stw_mark, record.{column}::text AS stw_parent, {image} AS after
),
{enter}""")

_ASKED = sql.SQL("changed JOIN unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n) USING (id)")

_CASCADED = sql.SQL(" || jsonb_build_object('cascaded', jsonb_build_object({}))")


def delete_records(
    connection: psycopg.Connection,
    edit: Edit,
    declared: Entity,
    ids: Sequence[str | None],
    purge_at: datetime,
    *,
    most_children: int,
    kind: str | None = "delete",
    **told: object,
) -> Outcome:
    """Move records to the trash with what goes with them, journalled under one operation; at `purge_at` they go for
    good.

    Codes: `not_found`, `already_deleted`, `has_children` (records outside the trash that refer to it and stay),
    `too_large` (with the children of those before it in the request, more than `most_children`). The summary is of
    that kind and with what else is told; kind None: none is written. Four statements, five where children come along.
    """
    outcome = lock_records(connection, edit.schema, declared, ids)
    places = [place for place, code in enumerate(outcome.codes) if code is None]
    while places:
        refused = _judge(connection, edit.schema, declared, [ids[place] for place in places], most_children)
        for n, code in refused.items():
            outcome.codes[places[n]] = code
        if not (refused and refers_to_itself(declared)):
            break
        # One that stays may be what another one needs: the others are judged without it.
        places = [place for n, place in enumerate(places) if n not in refused]
    return delete_locked(connection, edit, declared, ids, outcome, purge_at, kind=kind, **told)


def delete_locked(
    connection: psycopg.Connection,
    edit: Edit,
    declared: Entity,
    ids: Sequence[str | None],
    outcome: Outcome,
    purge_at: datetime,
    *,
    kind: str | None,
    **told: object,
) -> Outcome:
    """Move those of the locked records to the trash that have no code yet; `outcome` with what came along."""
    good = [each for each, code in zip(ids, outcome.codes, strict=True) if code is None and each is not None]
    locked = lock_children(connection, edit.schema, declared, good, trashed=False)
    families = families_of(declared)
    cascades = [cascade for family in families for cascade in family]
    counts = [count_of(family) for family in families]
    cascaded = _CASCADED.format(
        sql.SQL(", ").join(
            sql.SQL("{}, {}").format(sql.Literal(child.name), count)
            for ((_, child, _), *_), count in zip(families, counts, strict=True)
        )
    )
    summary = Summary(declared.name, sql.SQL("%(told)s") + (cascaded if cascades else sql.SQL("")))
    statement = _DELETE.format(
        id=id_of(declared),
        key=key_type(declared),
        table=table_of(edit.schema, declared),
        **_putting(edit.schema, declared),
        enter=enter(declared, "changed"),
        cascades=sql.SQL("").join(
            _CASCADE.format(
                name=sql.Identifier(name),
                id=id_of(child),
                key=key_type(declared),
                table=table_of(edit.schema, child),
                column=sql.Identifier(child.column(reference.field)),
                unasked=unasked(declared, child),
                **_putting(edit.schema, child),
                enter=enter(child, name, sql.Identifier("stw_parent")),
            )
            for name, child, reference in cascades
        ),
        journal=journalled(
            Lines(
                "changed",
                declared.name,
                "deleted",
                source=_ASKED.format(key=key_type(declared)),
                before=_before(declared),
            ),
            *(Lines(name, child.name, "deleted", n=None, before=_before(child)) for name, child, _ in cascades),
            summary=summary if kind else None,
        ),
        counts=sql.SQL(", ").join(counts) if counts else sql.SQL("NULL"),
    )
    row = connection.execute(
        statement,
        {
            **edit.given,
            "ids": text_array(good),
            "entity": declared.name,
            "purge_at": purge_at,
            "told": Jsonb({"kind": kind} | outcome.counts | told),
        },
    ).fetchone()
    assert row is not None
    kept, *came_along = row
    refuse_kept(connection, edit.schema, declared, kept)
    for ((_, child, _), *_), wanted, count in zip(families, locked, came_along, strict=False):
        refuse_kept(connection, edit.schema, child, wanted - count)
    settle_marks(connection, edit, declared, good)
    for child in {child.name: child for _, child, _ in cascades}.values():
        settle_marks(connection, edit, child, good, came_along=True)
    came = {child.name: int(n) for ((_, child, _), *_), n in zip(families, came_along, strict=False) if n}
    return Outcome(outcome.codes, came)


def _putting(schema: str, declared: Entity) -> dict[str, sql.Composable]:
    """The parts of the statement that put a `record` into the trash."""
    return {
        "mine": mine(schema, declared, "record"),
        "put_in": put_in(declared),
        "outside": outside_trash_unindexed(declared, "record"),
        "mark": mark(declared, "record"),
        "image": whole_image(declared, "record", [*live_value(declared)]),
    }


_BEFORE = sql.SQL("{}::jsonb")


def _before(declared: Entity) -> sql.Composed:
    """What a deletion changes of a record."""
    return _BEFORE.format(sql.Literal(json.dumps(live_value(declared))))
