"""Records out of the trash, with what went with them, under another name where theirs is taken."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.edits.locks import count_of, families_of, lock_children, lock_parents
from stowage.postgres.journal.changes import Lines, journalled
from stowage.postgres.journal.images import changed_image, whole_image
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept
from stowage.postgres.tables.expressions import Expression
from stowage.postgres.tables.relations import (
    any_of,
    id_of,
    is_taken,
    key_type,
    mine,
    rows_of,
    table_of,
    text_array,
)
from stowage.postgres.tables.trashed import (
    deleted_order,
    in_trash,
    in_trash_unindexed,
    leave,
    live_value,
    of_trash,
    outside_trash,
    take_out,
)
from stowage.postgres.tables.unique_rules import UniqueRule, is_in_the_way, out_of_trash, undeclared_rules
from stowage.postgres.trash.spans import uncount

_LOCK = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {id} FROM {table} AS record WHERE {mine} AND {id} = ANY(%(ids)s::{key}[]) ORDER BY {id} FOR UPDATE
)
SELECT count(*) FROM locked
""")


def lock_for_restoring(connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str]) -> None:
    """Lock what these records belong to, them, and what went with them, in this order."""
    lock_parents(connection, schema, declared, ids)
    statement = _LOCK.format(
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        id=id_of(declared),
        key=key_type(declared),
    )
    connection.execute(statement, {"ids": text_array(ids)})
    lock_children(connection, schema, declared, ids, trashed=True)


_RESTORE = sql.SQL("""
WITH asked AS MATERIALIZED (
    SELECT id, n FROM unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)
),
old AS MATERIALIZED (
    SELECT asked.n AS stw_n, {columns}, {with} AS stw_with, {operation} AS stw_operation, {renamed} AS stw_renamed,
           {moment} AS stw_moment
    FROM asked JOIN {table} AS record ON record.{id} = asked.id
    WHERE {mine} AND {in_trash}
),
changed AS (
    UPDATE {table} AS record SET {take_out} {rename}
    FROM old WHERE {mine} AND record.{id} = old.stw_id
    RETURNING old.stw_n AS n, record.{id} AS id, {before} AS before, {after} AS after,
              %(entity)s::text AS entity, old.stw_moment AS moment, old.stw_with IS NULL AS was_listed
),
{leave}{cascades}{journal},
{uncount}
SELECT (SELECT count(*) FROM old) - (SELECT count(*) FROM changed), {kept}, {counts}
""")

_RESTORED_CHILDREN = sql.SQL("""
{old} AS MATERIALIZED (
    SELECT {columns}, {renamed} AS stw_renamed
    FROM old AS parent JOIN {table} AS record
      ON record.{column} = parent.stw_id AND {with} IS NOT DISTINCT FROM parent.stw_id::text
     AND {operation} IS NOT DISTINCT FROM parent.stw_operation
    WHERE {mine} AND {in_trash}
),
{name} AS (
    UPDATE {table} AS record SET {take_out} {rename}
    FROM {old} AS old WHERE {mine} AND record.{id} = old.stw_id
    RETURNING record.{id} AS id, {before} AS before, {after} AS after
),
{leave}""")

_KEPT = sql.SQL("(SELECT count(*) FROM ({old}) AS stw_olds) - ({count})")
_OLD = sql.SQL("SELECT stw_id FROM {}")

_RENAME = sql.SQL("""
, {label} = coalesce(old.stw_renamed, record.{label})
""")
_RENAMED_AT = sql.SQL(", {0} = CASE WHEN old.stw_renamed IS NULL THEN record.{0} ELSE %(at)s END ")

# The first name that neither a record outside the trash has nor one that comes along: those are looked up in an index,
# these in one hash for the whole statement.
_FREE_NAME = sql.SQL("""
CASE WHEN {clashes} THEN (
    WITH RECURSIVE tried AS (
        SELECT 1 AS stw_k, {first} AS stw_name, {first_is_taken} AS stw_taken
        UNION ALL
        SELECT stw_k + 1, {next}, {next_is_taken} FROM tried WHERE stw_taken AND stw_k < 1000
    )
    SELECT stw_name FROM tried WHERE NOT stw_taken
) END
""")

_FIRST_NAME = sql.SQL("(record.{label} || ' (restored)')")
_NEXT_NAME = sql.SQL("(record.{label} || ' (restored ' || stw_k + 1 || ')')")

_SAME = sql.SQL("AND other.{column} = record.{column}")

_NAME_IS_TAKEN = sql.SQL("""
(EXISTS (SELECT FROM {table} AS other WHERE {outside} AND other.{label} = {candidate} {same})
 OR (({wanted}) IN (SELECT {had} FROM {table} AS other WHERE {along})) IS TRUE)
""")


_ASKED = sql.SQL("other.{id} = ANY(%(ids)s::{key}[])")
_THEIRS = sql.SQL("other.{column} = ANY(%(ids)s::{key}[]) AND {in_trash}")

# What comes along is a hash only where the planner thinks that it fits; else it is read anew for each record.
_ROOM_FOR_NAMES: LiteralString = "SET LOCAL work_mem = '64MB'"


def restore_records(
    connection: psycopg.Connection, edit: Edit, declared: Entity, ids: Sequence[str], *, rename: bool = False
) -> dict[str, int]:
    """Take locked records out of the trash with what went with them; how many of each entity came along.

    `rename` puts ` (restored)`, ` (restored 2)` … behind the labels that somebody else has taken meanwhile. Its
    journal is part of the statement, without a summary.
    """
    schema = edit.schema
    entities = [declared, *(child for child, _ in declared.children("cascade"))]
    rules = undeclared_rules(connection, schema, entities) if rename else {entity.name: [] for entity in entities}
    families = families_of(declared)
    cascades = [cascade for family in families for cascade in family]
    counts = [count_of(family) for family in families]
    kept_along = [
        _KEPT.format(
            count=count,
            old=sql.SQL(" UNION ").join(_OLD.format(sql.Identifier(f"old_{name}")) for name, _, _ in family),
        )
        for count, family in zip(counts, families, strict=True)
    ]
    statement = _RESTORE.format(
        id=id_of(declared),
        key=key_type(declared),
        table=table_of(schema, declared),
        **_taking(schema, declared),
        moment=deleted_order(declared, "record"),
        uncount=uncount("changed", "stw_base"),
        leave=leave(declared, "changed"),
        **_renaming(
            schema,
            declared,
            _ASKED.format(id=id_of(declared), key=key_type(declared)),
            rules[declared.name],
            rename=rename,
        ),
        cascades=sql.SQL("").join(
            _RESTORED_CHILDREN.format(
                old=sql.Identifier(f"old_{name}"),
                name=sql.Identifier(name),
                id=id_of(child),
                table=table_of(schema, child),
                column=sql.Identifier(child.column(reference.field)),
                **_taking(schema, child),
                leave=leave(child, name),
                **_renaming(
                    schema,
                    child,
                    _THEIRS.format(
                        column=sql.Identifier(child.column(reference.field)),
                        key=key_type(declared),
                        in_trash=in_trash(child, "other"),
                    ),
                    rules[child.name],
                    rename=rename,
                ),
            )
            for name, child, reference in cascades
        ),
        journal=journalled(
            Lines("changed", declared.name, "restored"),
            *(Lines(name, child.name, "restored", n=None) for name, child, _ in cascades),
        ),
        kept=sql.SQL("ARRAY[{}]::bigint[]").format(sql.SQL(", ").join(kept_along)),
        counts=sql.SQL(", ").join(counts) if counts else sql.SQL("NULL"),
    )
    if rename:
        connection.execute(_ROOM_FOR_NAMES)
    row = connection.execute(statement, {**edit.given, "ids": text_array(ids), "entity": declared.name}).fetchone()
    assert row is not None
    kept, along, *came = row
    refuse_kept(connection, schema, declared, kept)
    for ((_, child, _), *_), count in zip(families, along, strict=True):
        refuse_kept(connection, schema, child, count)
    return {child.name: int(n) for ((_, child, _), *_), n in zip(families, came, strict=False) if n}


def _taking(schema: str, declared: Entity) -> dict[str, sql.Composable]:
    """The parts of the statement that take a `record` out of the trash."""
    return {
        "mine": mine(schema, declared, "record"),
        "with": of_trash(declared, "record", "deleted_with"),
        "operation": of_trash(declared, "record", "deleted_operation"),
        "in_trash": in_trash_unindexed(declared, "record"),
        "take_out": take_out(declared),
        "after": whole_image(declared, "record", [*live_value(declared)]),
    }


def _renaming(
    schema: str, declared: Entity, along: sql.Composable, undeclared: Sequence[UniqueRule], *, rename: bool
) -> dict[str, sql.Composable]:
    """The parts of the statement that a new label takes; without one they are empty.

    `along` says of an `other` record that it comes back too. `undeclared` are the rules that only the table has.
    """
    column = declared.column(declared.label)
    rules = [rule for rule in declared.unique if declared.label in rule]
    own = [rule for rule in undeclared if column in rule.columns]
    table, trash = rows_of(schema, declared), [*live_value(declared)]
    if not rename or not (rules or own):
        return {
            "columns": _columns(declared, trash),
            "renamed": sql.SQL("NULL::text"),
            "rename": sql.SQL(""),
            "before": changed_image(declared, trash, "old", "record"),
        }

    def is_ruled_out(name: sql.Composable | None) -> list[sql.Composed]:
        return [
            is_in_the_way(
                table,
                declared,
                rule,
                out_of_trash(declared, "record", column, name),
                "record",
                _counts(rule, along),
            )
            for rule in own
        ]

    def is_name_taken(name: sql.Composable) -> sql.Composable:
        return any_of([*(_name_is_taken(schema, declared, rule, name, along) for rule in rules), *is_ruled_out(name)])

    first, following = (name.format(label=sql.Identifier(column)) for name in (_FIRST_NAME, _NEXT_NAME))
    return {
        "columns": _columns(declared, [column, *declared.stamps, *trash]),
        "renamed": _FREE_NAME.format(
            clashes=any_of([*(is_taken(schema, declared, rule, "record") for rule in rules), *is_ruled_out(None)]),
            first=first,
            first_is_taken=is_name_taken(first),
            next=following,
            next_is_taken=is_name_taken(following),
        ),
        "rename": _RENAME.format(label=sql.Identifier(column))
        + sql.SQL("").join(_RENAMED_AT.format(sql.Identifier(stamp)) for stamp in declared.stamps),
        "before": changed_image(declared, [column, *declared.stamps, *trash], "old", "record"),
    }


_COUNTS = sql.SQL("({condition} OR {along})")


def _counts(rule: UniqueRule, along: sql.Composable) -> sql.Composed:
    """Whether a rule counts `stw_other`, or will once it has come back with the others."""
    along = sql.SQL("EXISTS (SELECT FROM (SELECT stw_other.*) AS other WHERE {})").format(along)
    return _COUNTS.format(condition=Expression(rule.condition), along=along)


def _name_is_taken(
    schema: str, declared: Entity, rule: Sequence[str], name: sql.Composable, along: sql.Composable
) -> sql.Composed:
    """Whether a record outside the trash, or one that comes along, has that name by a declared rule."""
    label = sql.Identifier(declared.column(declared.label))
    same = [declared.column(field) for field in rule if field != declared.label]
    return _NAME_IS_TAKEN.format(
        table=rows_of(schema, declared),
        outside=outside_trash(declared, "other"),
        label=label,
        candidate=name,
        same=sql.SQL(" ").join(_SAME.format(column=sql.Identifier(column)) for column in same),
        wanted=sql.SQL(", ").join([name, *(sql.Identifier("record", column) for column in same)]),
        had=sql.SQL(", ").join(
            [sql.SQL("other.{}").format(label), *(sql.Identifier("other", column) for column in same)]
        ),
        along=along,
    )


def _columns(declared: Entity, columns: Sequence[str]) -> sql.Composed:
    given = sql.SQL("{} AS stw_id").format(id_of(declared, "record"))
    return sql.SQL(", ").join([given, *(sql.Identifier("record", column) for column in columns)])
