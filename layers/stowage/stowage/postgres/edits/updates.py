"""Changes of records: one statement changes them all, each its own fields, journals what changed, and gives them back.

`jsonb_populate_record(row, item)` is what PATCH means: fields that are not in the item stay, null is a value.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.basics.json_numbers import write_json
from stowage.basics.sizes import MOST_ANSWER_BYTES
from stowage.entities.declaration import Entity
from stowage.postgres.edits.rules import (
    Parent,
    Problem,
    column_of,
    find_problems,
    followers_of,
    has_parent,
    misfits,
    parent_cte,
    parents_of,
)
from stowage.postgres.edits.settling import read_settled, settle_staged
from stowage.postgres.journal.changes import Lines, Summary, append_staged, journalled, prepare_staging, staged
from stowage.postgres.journal.images import changed_image, whole_image
from stowage.postgres.reads.records import is_large, record_json
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import has_after_triggers
from stowage.postgres.session.savepoints import Refused, tried
from stowage.postgres.tables.relations import id_of, key_type, mine, rows_of, stamped, table_of, text_array
from stowage.postgres.tables.sameness import field_at, is_same
from stowage.postgres.tables.trashed import outside_trash_unindexed

type Update = dict[str, Any]
"""The key and the columns that are to have other values, by column name."""


@dataclass(frozen=True)
class Updated:
    """The records as they are now, JSON joined by commas in the order of the updates, None where that is more than an
    answer may have; whose update was not made, counted from 1.
    """

    records: str | None
    missing: tuple[int, ...]


_LOCK = sql.SQL("""
SELECT FROM {table} AS found WHERE {mine} AND {id} = ANY(%(ids)s::{key}[]) AND {live} ORDER BY {id} FOR UPDATE
""")


def lock_followed(connection: psycopg.Connection, schema: str, entity: Entity, updates: Sequence[Update]) -> None:
    """Lock records that others must agree with, in a statement of its own, if the updates touch what they agree on.

    Only a statement that begins afterwards sees the followers that came while we waited.
    """
    touched = _touched(entity, updates)
    if any(column in touched for _, parent in followers_of(entity) for _, column in parent.shared):
        lock_records(connection, schema, entity, updates)


def lock_records(connection: psycopg.Connection, schema: str, entity: Entity, updates: Sequence[Update]) -> None:
    """Lock the live records of updates, in the order in which everybody does."""
    statement = _LOCK.format(
        table=table_of(schema, entity),
        mine=mine(schema, entity, "found"),
        id=id_of(entity),
        key=key_type(entity),
        live=outside_trash_unindexed(entity, "found"),
    )
    connection.execute(statement, {"ids": text_array(_ids(entity, updates))})


def _ids(entity: Entity, updates: Sequence[Update]) -> list[str]:
    column = entity.column("id")
    return [update[column] for update in updates]


# Sorted by id once more, because a join does not keep the order, and indexes are written fastest in theirs.
_UPDATE = sql.SQL("""
WITH given AS MATERIALIZED (
    SELECT item, (item ->> {id_column})::{key} AS id, n
    FROM jsonb_array_elements(%(items)s::jsonb) WITH ORDINALITY AS given (item, n)
),
{parents}locked AS MATERIALIZED (
    SELECT stw_old.{id} AS id, stw_old FROM {table} AS stw_old
    WHERE {mine} AND {parents_first} AND stw_old.{id} IN (SELECT given.id FROM given) AND {live}
    ORDER BY stw_old.{id} FOR UPDATE
),
candidates AS MATERIALIZED (
    SELECT given.n AS stw_n, given.id, stw_old, {old_new}, {unchanged} AS stw_unchanged
    FROM given JOIN locked USING (id), jsonb_populate_record(stw_old, given.item) AS stw_new
    WHERE {sound}
    ORDER BY {by_id}
),
changed AS (
    UPDATE {table} AS made SET {assignments}
    FROM candidates WHERE {made_mine} AND made.{id} = candidates.id AND NOT stw_unchanged
    RETURNING stw_n AS n, made.{id} AS id, {record} AS record, {before} AS before, {after} AS after
),
found AS MATERIALIZED (
    SELECT n, record FROM changed
    UNION ALL
    SELECT stw_n, {record} FROM candidates, LATERAL (SELECT (stw_old).*) AS made
    WHERE stw_unchanged
),
counted AS MATERIALIZED (SELECT count(*) AS succeeded FROM found),
{journal}
SELECT CASE WHEN (SELECT bool_and(record IS NOT NULL) AND sum(octet_length(record)) <= {most} FROM found)
            THEN (SELECT string_agg(record, ',' ORDER BY n) FROM found) ELSE CASE WHEN count(*) = 0 THEN '' END END,
       CASE WHEN count(*) = %(given)s THEN '{{}}' ELSE
           ARRAY(SELECT n FROM given WHERE NOT EXISTS (SELECT FROM found WHERE found.n = given.n) ORDER BY n)
       END
FROM found
""")
_SUMMARY = sql.SQL("""
%(told)s::jsonb || (SELECT jsonb_build_object('succeeded', succeeded, 'failed', %(total)s - succeeded) FROM counted)
""")
_NAMES = sql.SQL("array_remove(ARRAY[{}]::text[], NULL)")
_OLD, _NEW = sql.SQL("(stw_old)"), sql.SQL("stw_new")
_OLD_NEW = sql.SQL("(stw_old).{0} AS {1}, stw_new.{0} AS {2}")
_TRUE: LiteralString = "true"


def update_records(
    connection: psycopg.Connection,
    edit: Edit,
    entity: Entity,
    updates: Sequence[Update],
    told: Mapping[str, Any] | None = None,
    *,
    places: Sequence[int] | None = None,
    largest: int | None = None,
    stamps_given: bool = False,
) -> Updated | Refused:
    """Change live records and journal what changed of each; one statement.

    An update is left out where its record is not there or has more bytes than the `largest`, where the record would
    not agree with its parents or its followers, and where a trigger leaves it out. Refused, and nothing is changed,
    where a rule of the database does not allow one of them. `told` is what the operation's summary says, but for how
    many succeeded; its `total` is there. With `places`, those of the updates in the whole operation, their entries wait
    for `append_staged` instead, and no summary is written. `stamps_given`: the updates also say when the records were
    last changed.
    """
    if waits := places is None and has_after_triggers(connection, edit.schema, entity):
        prepare_staging(connection)
    touched = _touched(entity, updates)
    parents = _touched_parents(entity, touched)
    # As they were made, by id: what one gave up and another took goes back in the opposite order, and an index is
    # written fastest in its own.
    n: LiteralString | None = "row_number() OVER ()" if waits else None
    lines = Lines("changed", entity.name, "updated", n=n if places is None else "(%(places)s::bigint[])[n]")
    statement = _UPDATE.format(
        table=table_of(edit.schema, entity),
        mine=mine(edit.schema, entity, "stw_old"),
        made_mine=mine(edit.schema, entity, "made"),
        id=id_of(entity),
        id_column=sql.Literal(entity.column("id")),
        key=key_type(entity),
        by_id=sql.SQL('given.id COLLATE "C"' if entity.key.type == "text" else "given.id"),
        parents=sql.SQL("").join(
            sql.SQL("{},\n").format(parent_cte(edit.schema, parent, _wanted(edit.schema, entity, parent, touched)))
            for parent in parents
        ),
        parents_first=_all([sql.SQL("(SELECT count(*) FROM {}) >= 0").format(parent.cte) for parent in parents]),
        live=_all([outside_trash_unindexed(entity, "stw_old"), *_not_larger(entity, largest)]),
        most=sql.Literal(MOST_ANSWER_BYTES),
        unchanged=_all([_unchanged(entity, column) for column in touched]),
        sound=_all([*(_agrees(parent) for parent in parents), *_keeps_followers(edit.schema, entity, touched)]),
        old_new=sql.SQL(", ").join(_OLD_NEW.format(*_as_old_and_new(column)) for column in (*touched, *entity.stamps)),
        assignments=sql.SQL(", ").join(
            [
                *(
                    sql.SQL("{} = {}").format(sql.Identifier(column), sql.Identifier("candidates", f"new_{column}"))
                    for column in (*touched, *(entity.stamps if stamps_given else ()))
                ),
                *([] if stamps_given else stamped(entity, "made")),
            ]
        ),
        before=changed_image(entity, [*touched, *entity.stamps], "candidates", "made", "old_"),
        after=whole_image(entity, "made"),
        record=record_json(entity, "made"),
        journal=journalled(lines, summary=Summary(entity.name, _SUMMARY) if told is not None else None)
        if places is None and not waits
        else staged(lines),
    )
    row = tried(
        connection,
        statement,
        {
            **edit.given,
            "items": write_json(updates),
            "given": len(updates),
            "told": Jsonb(told),
            "total": told["total"] if told else len(updates),
            "places": places,
        },
    )
    if isinstance(row, Refused):
        return row
    records, missing = row
    settle_staged(connection, edit.schema, entity)
    there = [each for n, each in enumerate(_ids(entity, updates), 1) if n not in {*missing}]
    records = read_settled(connection, edit.schema, entity, there, records)
    if waits:
        counts = {"succeeded": len(there), "failed": told["total"] - len(there)} if told else {}
        append_staged(connection, edit, entity.name, None if told is None else {**told, **counts})
    return Updated(records, tuple(missing))


_CANDIDATES = sql.SQL("""
given AS MATERIALIZED (
    SELECT item, (item ->> {id_column})::{key} AS id, n
    FROM jsonb_array_elements(%(items)s::jsonb) WITH ORDINALITY AS given (item, n)
),
candidates AS MATERIALIZED (
    SELECT stw_new.*, given.n AS stw_n, {changes} AS stw_changes
    FROM given JOIN {table} AS stw_old ON stw_old.{id} = given.id,
         jsonb_populate_record(stw_old.*, given.item) AS stw_new
    WHERE {mine} AND {live}
)""")
_CHANGED = sql.SQL("CASE WHEN {same} THEN NULL ELSE {column} END")


def update_problems(
    connection: psycopg.Connection, schema: str, entity: Entity, updates: Sequence[Update]
) -> tuple[list[Problem] | None, set[int]]:
    """Why updates cannot be made, each by itself (None as from `find_problems`); which of them, counted from 1, have no
    record.
    """
    changes = [
        _CHANGED.format(
            same=is_same(
                field_at(entity, column), sql.Identifier("stw_old", column), sql.Identifier("stw_new", column)
            ),
            column=sql.Literal(column),
        )
        for column in _touched(entity, updates)
    ]
    candidates = _CANDIDATES.format(
        table=table_of(schema, entity),
        mine=mine(schema, entity, "stw_old"),
        id=id_of(entity),
        id_column=sql.Literal(entity.column("id")),
        key=key_type(entity),
        changes=_NAMES.format(sql.SQL(", ").join(changes)),
        live=outside_trash_unindexed(entity, "stw_old"),
    )
    parameters: dict[str, object] = {"items": write_json(updates)}
    problems = find_problems(connection, schema, entity, candidates, parameters, existing=True)
    if problems is None:
        problems = misfits(connection, schema, entity, updates)
    there = {
        row[0]
        for row in connection.execute(
            _THERE.format(
                table=rows_of(schema, entity),
                id=id_of(entity),
                key=key_type(entity),
                live=outside_trash_unindexed(entity, "stw_old"),
            ),
            {"ids": text_array(_ids(entity, updates))},
        )
    }
    return problems, {n for n, each in enumerate(_ids(entity, updates), 1) if each not in there}


def _not_larger(entity: Entity, largest: int | None) -> list[sql.Composable]:
    return [] if largest is None else [sql.SQL("NOT {}").format(is_large(entity, "stw_old", largest))]


def larger(
    connection: psycopg.Connection, schema: str, entity: Entity, updates: Sequence[Update], largest: int
) -> set[int]:
    """Of which updates, counted from 1, the record has more bytes than the `largest`."""
    statement = _THERE.format(
        table=rows_of(schema, entity),
        id=id_of(entity),
        key=key_type(entity),
        live=is_large(entity, "stw_old", largest),
    )
    ids = _ids(entity, updates)
    found = {row[0] for row in connection.execute(statement, {"ids": text_array(ids)})}
    return {n for n, each in enumerate(ids, 1) if each in found}


_THERE = sql.SQL("SELECT {id}::text FROM {table} AS stw_old WHERE {id} = ANY(%(ids)s::{key}[]) AND {live}")


def _touched(entity: Entity, updates: Collection[Update]) -> list[str]:
    """The columns that any of the updates names, in the entity's order; one at least that the statement may set."""
    named = set().union(*updates)
    own = [field.column for field in entity.own if not field.is_read_only]
    anything = own[:1] or ([] if entity.stamps else [entity.fields[-1].column])
    return [column for column in own if column in named] or anything


def _touched_parents(entity: Entity, touched: Collection[str]) -> list[Parent]:
    return [parent for parent in parents_of(entity) if not set(parent.columns).isdisjoint(touched)]


_GIVEN_PARENTS = sql.SQL("SELECT (item ->> {name})::{key} FROM given")
_PRESENT_PARENTS = sql.SQL(
    "SELECT present.{column} FROM {table} AS present WHERE present.{id} IN (SELECT id FROM given)"
)


def _wanted(schema: str, entity: Entity, parent: Parent, touched: Collection[str]) -> sql.Composable:
    """The parents that the records will have: those given, and where only a shared field changes, those they have."""
    wanted: list[sql.Composable] = []
    if parent.column in touched:
        wanted.append(_GIVEN_PARENTS.format(name=sql.Literal(parent.column), key=key_type(parent.entity)))
    if any(ours in touched for ours, _ in parent.shared):
        table = rows_of(schema, entity)
        wanted.append(_PRESENT_PARENTS.format(column=sql.Identifier(parent.column), table=table, id=id_of(entity)))
    return sql.SQL(" UNION ").join(wanted)


def _agrees(parent: Parent) -> sql.Composed:
    """The condition that a record has its parent, or has the one it had."""
    same = [
        sql.SQL("{} IS NOT DISTINCT FROM {}").format(column_of(_NEW, column), column_of(_OLD, column))
        for column in parent.columns
    ]
    return sql.SQL("(({}) OR {})").format(sql.SQL(" AND ").join(same), has_parent(parent, _NEW))


_FOLLOWED = sql.SQL("""
({old} IS NOT DISTINCT FROM {new} OR NOT EXISTS (SELECT FROM {table} AS child WHERE child.{column} = locked.id))
""")


def _keeps_followers(schema: str, entity: Entity, touched: Collection[str]) -> list[sql.Composable]:
    return [
        _FOLLOWED.format(
            old=column_of(_OLD, shared),
            new=column_of(_NEW, shared),
            table=rows_of(schema, child),
            column=sql.Identifier(parent.column),
        )
        for child, parent in followers_of(entity)
        for _, shared in parent.shared
        if shared in touched
    ]


def _as_old_and_new(column: str) -> tuple[sql.Identifier, sql.Identifier, sql.Identifier]:
    return sql.Identifier(column), sql.Identifier(f"old_{column}"), sql.Identifier(f"new_{column}")


def _unchanged(entity: Entity, column: str) -> sql.Composed:
    return is_same(field_at(entity, column), column_of(_OLD, column), column_of(_NEW, column))


def _all(conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join([sql.SQL(_TRUE), *conditions])
