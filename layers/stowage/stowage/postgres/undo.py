"""Undo, read from the journal: what an operation did to each record, and whether the record still is as it left it.

The operation's rows have been locked by `stowage.postgres.operations.lock_operation`; the records are locked here, and
only then looked at. What somebody has edited meanwhile, through us or by SQL of their own, is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities import ENTITIES, Entity
from stowage.postgres.bulk import Stamp, lock_records
from stowage.postgres.operations import Operation
from stowage.postgres.record_rules import followers_of, parents_of
from stowage.postgres.relations import (
    any_of,
    breaks_a_rule,
    has_children,
    is_taken,
    lacks_parent,
    outside_trash,
    parents,
    table_of,
)
from stowage.tenants import Tenant

_CHANGED: LiteralString = """
SELECT type, id FROM stowage.changes
WHERE tenant = %(tenant)s AND operation = %(operation)s AND entity = %(entity)s
  AND type IN ('created', 'updated', 'deleted')
ORDER BY seq
LIMIT %(most)s
"""


def changed_records(
    connection: psycopg.Connection, tenant: str, operation: Operation, most: int
) -> list[tuple[str, str]]:
    """What an operation did to the records asked for, in its order, as (type, raw id); `most` of them at most."""
    given = {"tenant": tenant, "operation": operation.id, "entity": operation.entity, "most": most}
    return connection.execute(_CHANGED, given).fetchall()


@dataclass(frozen=True)
class Undoing:
    """One operation of a tenant, being undone by the operation that `stamp` names."""

    connection: psycopg.Connection
    tenant: Tenant
    operation: Operation
    stamp: Stamp

    @property
    def declared(self) -> Entity:
        """The entity that the operation was about."""
        return ENTITIES[self.operation.entity]

    def given(self, places: Sequence[int] = ()) -> dict[str, object]:
        """The parameters of every statement here; `places` are those of records to leave alone, from 1."""
        return {
            "left_alone": list(places),
            "tenant": self.tenant.id,
            "undone": self.operation.id,
            "entity": self.operation.entity,
            "operation": self.stamp.operation,
            "actor": self.stamp.actor,
            "at": self.stamp.at,
        }

    def judged(self, statement: sql.Composed, count: int) -> list[str | None]:
        """The codes that a statement of (place from 1, code) gives so many records."""
        codes: list[str | None] = [None] * count
        for n, code in self.connection.execute(statement, self.given()):
            codes[n - 1] = code
        return codes


# What the operation did, in its order: `n` counts the records of that type. Read from the journal anew, not joined to
# ids that we send: whatever the planner expects of the journal, the records are then found by their keys. An image that
# the purge has blanked holds nothing but its hash.
_WANTED = sql.SQL("""
wanted AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY seq) AS n, id, before, after, coalesce(after ? '$sha256', false) AS blanked
    FROM stowage.changes
    WHERE tenant = %(tenant)s AND operation = %(undone)s AND entity = %(entity)s AND type = {type}
)
""")

_JUDGE_DELETED = sql.SQL("""
WITH {wanted}, judged AS (
    SELECT wanted.n, CASE
        WHEN record.id IS NULL OR wanted.blanked THEN 'purged'
        WHEN record.deleted_at IS NULL
          OR (SELECT (image.deleted_at, image.deleted_by, image.purge_at, image.deleted_operation)
                     IS DISTINCT FROM (record.deleted_at, record.deleted_by, record.purge_at, record.deleted_operation)
              FROM jsonb_populate_record(record, wanted.after) AS image) THEN 'changed_since'
        WHEN {lacks_parent} THEN 'parent_in_trash'
        WHEN {clashes} THEN 'conflict'
    END AS code
    FROM wanted LEFT JOIN {table} AS record ON record.id = wanted.id
)
SELECT n, code FROM judged WHERE code IS NOT NULL
""")

_CHILD_CLASHES = sql.SQL("""
EXISTS (
    SELECT FROM {table} AS child
    WHERE child.{column} = record.id AND child.deleted_with = record.id
      AND child.deleted_operation IS NOT DISTINCT FROM record.deleted_operation AND {clashes}
)
""")


def judge_deleted(undoing: Undoing, count: int) -> list[str | None]:
    """Which of the locked records that the operation deleted cannot come back from the trash, by code.

    `purged`, `changed_since` (restored, or deleted anew), `parent_in_trash`, `conflict` (a unique rule, for it or for
    what would come with it).
    """
    declared, schema = undoing.declared, undoing.tenant.schema
    clashes = [breaks_a_rule(schema, declared, "record")] + [
        _CHILD_CLASHES.format(
            table=table_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
            clashes=breaks_a_rule(schema, child, "child"),
        )
        for child, reference in declared.children("cascade")
    ]
    statement = _JUDGE_DELETED.format(
        wanted=_WANTED.format(type=sql.Literal("deleted")),
        table=table_of(schema, declared),
        lacks_parent=any_of(
            lacks_parent(schema, parent, declared, reference, "record") for parent, reference in parents(declared)
        ),
        clashes=any_of(clashes),
    )
    return undoing.judged(statement, count)


_LOCK_FORMER_PARENTS = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT id FROM {parent} WHERE id IN (
        SELECT before ->> {column} FROM stowage.changes
        WHERE tenant = %(tenant)s AND operation = %(undone)s AND entity = %(entity)s AND type = 'updated'
    )
    ORDER BY id FOR SHARE
)
SELECT count(*) FROM locked
""")


def lock_updated(undoing: Undoing, ids: Sequence[str]) -> None:
    """Lock what these records referred to before, then them."""
    declared, schema = undoing.declared, undoing.tenant.schema
    for reference in declared.references:
        statement = _LOCK_FORMER_PARENTS.format(
            parent=table_of(schema, ENTITIES[reference.entity]),
            column=sql.Literal(declared.column(reference.field)),
        )
        undoing.connection.execute(statement, undoing.given())
    lock_records(undoing.connection, schema, declared, ids)


_JUDGE_UPDATED = sql.SQL("""
WITH {wanted}, judged AS (
    SELECT wanted.n, CASE
        WHEN record.id IS NULL OR wanted.blanked THEN 'purged'
        WHEN NOT ({outside}) OR ({now}) IS DISTINCT FROM ({left}) THEN 'changed_since'
        WHEN {clashes} THEN 'conflict'
        WHEN {followed} THEN 'has_children'
    END AS code
    FROM wanted
    LEFT JOIN {table} AS record ON record.id = wanted.id
    LEFT JOIN LATERAL jsonb_populate_record(record, wanted.before) AS former ON true
    LEFT JOIN LATERAL jsonb_populate_record(record, wanted.after) AS latter ON true
)
SELECT n, code FROM judged WHERE code IS NOT NULL
""")

_GONE = sql.SQL("""
(former.{column} IS DISTINCT FROM record.{column} AND former.{column} IS NOT NULL
 AND NOT EXISTS (SELECT FROM {table} AS parent WHERE parent.id = former.{column} {outside}))
""")

_ASTRAY = sql.SQL("""
(({former}) IS DISTINCT FROM ({now}) AND EXISTS (
    SELECT FROM {table} AS parent WHERE parent.id = former.{column} AND ({theirs}) IS DISTINCT FROM ({shared})
))
""")

_FOLLOWED = sql.SQL("""
(({former}) IS DISTINCT FROM ({now}) AND EXISTS (SELECT FROM {table} AS child WHERE child.{column} = record.id))
""")


def judge_updated(undoing: Undoing, count: int) -> list[str | None]:
    """Which of the locked records that the operation changed cannot be put back, by code.

    `purged`, `changed_since` (a column that the operation changed has another value now, or the record lies in the
    trash), `conflict` (what it was is taken by another record, or what it referred to is gone or belongs to another by
    now), `has_children` (others have followed it to where it is).
    """
    declared, schema = undoing.declared, undoing.tenant.schema
    moved = [
        sql.SQL("(({former}) IS DISTINCT FROM ({now}) AND {taken})").format(
            former=_row("former", [declared.column(name) for name in rule]),
            now=_row("record", [declared.column(name) for name in rule]),
            taken=is_taken(schema, declared, rule, "former"),
        )
        for rule in declared.unique
    ]
    gone = [
        _GONE.format(
            column=sql.Identifier(declared.column(reference.field)),
            table=table_of(schema, ENTITIES[reference.entity]),
            outside=sql.SQL("")
            if reference.on_delete == "keep"
            else sql.SQL("AND {}").format(outside_trash(ENTITIES[reference.entity], "parent")),
        )
        for reference in declared.references
    ]
    astray = [
        _ASTRAY.format(
            former=_row("former", parent.columns),
            now=_row("record", parent.columns),
            table=table_of(schema, parent.entity),
            column=sql.Identifier(parent.column),
            theirs=_row("parent", parent.shared),
            shared=_row("former", parent.shared),
        )
        for parent in parents_of(declared)
        if parent.shared
    ]
    followed = [
        _FOLLOWED.format(
            former=_row("former", parent.shared),
            now=_row("record", parent.shared),
            table=table_of(schema, child),
            column=sql.Identifier(parent.column),
        )
        for child, parent in followers_of(declared)
    ]
    statement = _JUDGE_UPDATED.format(
        wanted=_WANTED.format(type=sql.Literal("updated")),
        table=table_of(schema, declared),
        outside=outside_trash(declared, "record"),
        now=_row("record", _content(declared)),
        left=_row("latter", _content(declared)),
        clashes=any_of(moved + gone + astray),
        followed=any_of(followed),
    )
    return undoing.judged(statement, count)


def _content(declared: Entity) -> list[str]:
    """The columns that a record's owner sets: what "edited" means. Times that we keep ourselves are none of them."""
    return [field.column for field in declared.fields if field.name not in ("id", "createdAt", "updatedAt")]


def _row(row: str, columns: Sequence[str]) -> sql.Composed:
    names = [sql.SQL("{}.{}").format(sql.Identifier(row), sql.Identifier(column)) for column in columns]
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(names))


_PUT_BACK = sql.SQL("""
WITH {wanted}, old AS MATERIALIZED (
    SELECT wanted.n, record.id, record.updated_at, wanted.before, wanted.after
    FROM wanted JOIN {table} AS record ON record.id = wanted.id
    WHERE wanted.n <> ALL (%(left_alone)s::bigint[])
),
changed AS (
    UPDATE {table} AS record
    SET ({columns}, updated_at) = (
        SELECT {former}, CASE
            WHEN old.before ? 'updated_at' AND record.updated_at = latter.updated_at THEN former.updated_at
            ELSE %(at)s
        END
        FROM jsonb_populate_record(record, old.before) AS former,
             jsonb_populate_record(record, old.after) AS latter
    )
    FROM old WHERE record.id = old.id
    RETURNING old.n, record.id,
              old.after || jsonb_build_object('updated_at', old.updated_at) AS before,
              old.before || jsonb_build_object('updated_at', record.updated_at) AS after
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM changed)) AS base
)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, taken.base + row_number() OVER (ORDER BY n), %(operation)s, %(entity)s, id, 'updated', before, after,
       %(actor)s, %(at)s
FROM taken, changed
""")


def put_back(undoing: Undoing, codes: Sequence[str | None]) -> None:
    """Give the records without a code the columns that they had; `updated_at` too, where nothing else was edited since.

    One statement with its journal, without a summary.
    """
    declared = undoing.declared
    columns = _content(declared)
    statement = _PUT_BACK.format(
        wanted=_WANTED.format(type=sql.Literal("updated")),
        table=table_of(undoing.tenant.schema, declared),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        former=sql.SQL(", ").join(sql.SQL("former.{}").format(sql.Identifier(column)) for column in columns),
    )
    refused = [place for place, code in enumerate(codes, 1) if code is not None]
    undoing.connection.execute(statement, undoing.given(refused))


_JUDGE_CREATED = sql.SQL("""
WITH {wanted}, judged AS (
    SELECT wanted.n, CASE
        WHEN record.id IS NULL OR wanted.blanked THEN 'purged'
        WHEN NOT ({outside}) OR ({now}) IS DISTINCT FROM ({left}) THEN 'changed_since'
        WHEN {has_children} THEN 'has_children'
    END AS code
    FROM wanted
    LEFT JOIN {table} AS record ON record.id = wanted.id
    LEFT JOIN LATERAL jsonb_populate_record(record, wanted.after) AS latter ON true
)
SELECT n, code FROM judged WHERE code IS NOT NULL
""")


def judge_created(undoing: Undoing, count: int) -> list[str | None]:
    """Which of the locked records that the operation made cannot be taken away: `purged`, `changed_since`, or
    `has_children` by now.
    """
    declared, schema = undoing.declared, undoing.tenant.schema
    statement = _JUDGE_CREATED.format(
        wanted=_WANTED.format(type=sql.Literal("created")),
        table=table_of(schema, declared),
        outside=outside_trash(declared, "record"),
        now=_row("record", _content(declared)),
        left=_row("latter", _content(declared)),
        has_children=has_children(schema, declared, "record", ("restrict", "cascade")),
    )
    return undoing.judged(statement, count)
