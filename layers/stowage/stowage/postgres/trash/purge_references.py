"""Emptying the references to what goes for good, where the record that has them outlives it (`keep`)."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity, Reference
from stowage.postgres.journal.changes import Lines, journalled
from stowage.postgres.journal.images import changed_image, whole_image
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept
from stowage.postgres.tables.relations import id_of, key_type, mine, rows_of, stamped, table_of, text_array
from stowage.postgres.tables.trashed import follow, mark

_NOTHING = sql.SQL("")


def referrers(declared: Entity) -> list[tuple[Entity, Reference, tuple[Entity, Reference] | None]]:
    """What may name no record instead of one of these; or (with that entity and its reference) of what goes along."""
    return [(entity, reference, None) for entity, reference in _emptied(declared)] + [
        (entity, reference, (child, of_parent))
        for child, of_parent in declared.children("cascade")
        for entity, reference in _emptied(child)
    ]


def _emptied(declared: Entity) -> list[tuple[Entity, Reference]]:
    return [
        (entity, reference)
        for entity, reference in declared.children("keep")
        if entity.is_optional(reference.field) and not entity.why_only_read
    ]


_WITH_THEM = sql.SQL("(SELECT child.{id} FROM {table} AS child WHERE child.{column} = ANY(%(ids)s::{key}[]))")

_NAMED = sql.SQL("record.{column} = ANY(%(ids)s::{key}[])")
_OTHERS = sql.SQL("AND record.{id} <> ALL(%(ids)s::{key}[])")

_EMPTY = sql.SQL("""
WITH old AS MATERIALIZED (
    SELECT record.{id} AS stw_id, {old} FROM {table} AS record
    WHERE {mine} AND {named} {others}
    ORDER BY record.{id} LIMIT %(most)s FOR UPDATE
),
changed AS (
    UPDATE {table} AS record SET {assignments}
    FROM old WHERE {mine} AND record.{id} = old.stw_id
    RETURNING record.{id} AS id, {before} AS before, {after} AS after, {mark} AS stw_mark, {was} AS stw_former_mark
),
{follow}{journal}
SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM old)
""")


def empty_references(
    connection: psycopg.Connection,
    edit: Edit,
    declared: Entity,
    ids: Sequence[str],
    most: int | None = None,
) -> int:
    """Let what names these records (`keep`) name none, `most` at once; how many. One statement for each reference.

    Each is journalled as `updated`, so that its history tells what a foreign key with SET NULL would do silently.
    """
    count = 0
    for entity, reference, with_them in referrers(declared):
        column = entity.column(reference.field)
        if with_them is None:
            named = _NAMED.format(column=sql.Identifier(column), key=key_type(declared))
        else:
            child, of_parent = with_them
            named = sql.SQL("record.{} IN {}").format(
                sql.Identifier(column),
                _WITH_THEM.format(
                    key=key_type(declared),
                    table=rows_of(edit.schema, child),
                    id=id_of(child),
                    column=sql.Identifier(child.column(of_parent.field)),
                ),
            )
        statement = _EMPTY.format(
            table=table_of(edit.schema, entity),
            mine=mine(edit.schema, entity, "record"),
            id=id_of(entity),
            old=sql.SQL(", ").join(sql.Identifier("record", name) for name in (column, *entity.stamps)),
            assignments=sql.SQL(", ").join(
                [sql.SQL("{} = NULL").format(sql.Identifier(column)), *stamped(entity, "record")]
            ),
            named=named,
            others=_OTHERS.format(id=id_of(declared), key=key_type(declared)) if entity is declared else _NOTHING,
            before=changed_image(entity, [column, *entity.stamps], "old", "record"),
            after=whole_image(entity, "record"),
            mark=mark(entity, "record") if entity.soft_delete else sql.NULL,
            was=mark(entity, "old") if entity.soft_delete and entity.trash.is_flag else sql.NULL,
            follow=follow(entity, "changed"),
            journal=journalled(Lines("changed", entity.name, "updated", n="id")),
        )
        row = connection.execute(
            statement,
            {**edit.given, "ids": text_array(ids), "most": None if most is None else most - count},
        ).fetchone()
        assert row is not None
        refuse_kept(connection, edit.schema, entity, row[1] - row[0])
        count += row[0]
    return count
