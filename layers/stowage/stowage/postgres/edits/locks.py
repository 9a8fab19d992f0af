"""Records locked before they are looked at and changed.

Rows are locked first, parents before children and ids in order, so that overlapping requests wait
for each other instead of deadlocking. A statement of its own looks at them afterwards, because only
that one sees what was committed while the lock was awaited.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity, Reference
from stowage.postgres.tables.relations import id_of, key_type, mine, parents, rows_of, shared_lock, table_of, text_array
from stowage.postgres.tables.trashed import in_trash, outside_trash


@dataclass(frozen=True)
class Outcome:
    """What became of the ids asked for: `codes` in their order, None for success.

    `cascaded` counts, by entity, what came along.
    """

    codes: list[str | None]
    cascaded: dict[str, int] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        """How many of the ids asked for."""
        return self.codes.count(None)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers that an operation's summary in the journal holds."""
        total, succeeded = len(self.codes), self.succeeded
        return {"total": total, "succeeded": succeeded, "failed": total - succeeded}


_LOCK = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {id} AS id, {trashed} AS trashed FROM {table} AS record
    WHERE {mine} AND {id} = ANY(%(ids)s::{key}[]) ORDER BY {id} FOR UPDATE
)
SELECT asked.n, CASE WHEN locked.id IS NULL THEN 'not_found' ELSE 'already_deleted' END
FROM unnest(%(ids)s::{key}[]) WITH ORDINALITY AS asked (id, n)
LEFT JOIN locked ON locked.id = asked.id
WHERE locked.id IS NULL OR locked.trashed
""")


def lock_records(connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str | None]) -> Outcome:
    """Lock these records until the transaction ends: `not_found`, `already_deleted`, or None where it may be edited.

    None among the ids is one that no record can have.
    """
    trashed = in_trash(declared, "record") if declared.soft_delete else sql.SQL("false")
    statement = _LOCK.format(
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        id=id_of(declared),
        key=key_type(declared),
        trashed=trashed,
    )
    codes: list[str | None] = [None] * len(ids)
    for n, code in connection.execute(statement, {"ids": text_array(ids)}):
        codes[n - 1] = code
    return Outcome(codes)


_ID = sql.SQL("{}::text")


def _lockable(declared: Entity, name: str) -> sql.Composable:
    column = sql.Identifier(declared.column(name))
    return _ID.format(column) if declared.holds_id(name) else column


_LOCK_TARGET = sql.SQL("""
SELECT {columns} FROM {table} AS record WHERE {mine} AND {id} = %s::{key} AND {outside} {lock}
""")


def lock_target(
    connection: psycopg.Connection, schema: str, declared: Entity, record_id: str, *fields: str
) -> tuple[Any, ...] | None:
    """These fields of a record outside the trash, which nobody may delete until the transaction ends; None: no such."""
    statement = _LOCK_TARGET.format(
        columns=sql.SQL(", ").join(_lockable(declared, name) for name in ("id", *fields)),
        id=id_of(declared),
        key=key_type(declared),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        outside=outside_trash(declared, "record"),
        lock=shared_lock(declared, "SHARE"),
    )
    row = connection.execute(statement, (record_id,)).fetchone()
    return None if row is None else row[1:]


_LOCK_PARENTS = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {parent_id} FROM {parent} AS parent
    WHERE {mine} AND {parent_id} IN (
        SELECT record.{column} FROM {table} AS record WHERE record.{id} = ANY(%(ids)s::{key}[])
    )
    ORDER BY {parent_id} {lock}
)
SELECT count(*) FROM locked
""")


def lock_parents(connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str]) -> None:
    """Let nobody delete what these records refer to; one statement for each reference, ids in order."""
    for parent, reference in parents(declared):
        statement = _LOCK_PARENTS.format(
            parent=table_of(schema, parent),
            mine=mine(schema, parent, "parent"),
            parent_id=id_of(parent),
            lock=shared_lock(parent, "SHARE"),
            table=rows_of(schema, declared),
            id=id_of(declared),
            column=sql.Identifier(declared.column(reference.field)),
            key=key_type(declared),
        )
        connection.execute(statement, {"ids": text_array(ids)})


type Cascade = tuple[str, Entity, Reference]
"""The name of a CTE with the records that go along by a reference, their entity, the reference."""


def families_of(declared: Entity) -> list[list[Cascade]]:
    """What goes along with a record: a list for each entity, of its references.

    A record that refers to another twice goes along by one of them, so that only all of them together count it once.
    """
    families = dict[str, list[Cascade]]()
    for n, (child, reference) in enumerate(declared.children("cascade")):
        families.setdefault(child.name, []).append((f"cascaded_{n}", child, reference))
    return list(families.values())


def count_of(family: Sequence[Cascade]) -> sql.Composed:
    """How many records of an entity go along."""
    one = sql.SQL("(SELECT count(*) FROM {})")
    return sql.SQL(" + ").join(one.format(sql.Identifier(name)) for name, _, _ in family)


def refers_to_itself(declared: Entity) -> bool:
    """Whether records belong to records of their own entity, as those of a tree do."""
    return any(parent is declared for parent, _ in parents(declared))


_THEIRS = sql.SQL("{column} = ANY(%(ids)s::{key}[])")
_LOCK_CHILDREN = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {id} FROM {child} AS record WHERE {mine} AND ({theirs}) AND {which}{unasked}
    ORDER BY {id} FOR UPDATE
)
SELECT count(*) FROM locked
""")


_UNASKED = sql.SQL(" AND record.{id} <> ALL(%(ids)s::{key}[])")


def unasked(declared: Entity, child: Entity) -> sql.Composable:
    """What keeps a `record` from going along that is asked for itself, where an entity refers to itself."""
    return _UNASKED.format(id=id_of(child), key=key_type(declared)) if child == declared else sql.SQL("")


def lock_children(
    connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str], *, trashed: bool
) -> list[int]:
    """Lock the records that go with these, in the trash or outside it; after their parents, which are locked, ids in
    order.

    How many of each entity, in the order of `families_of`.
    """
    counts: list[int] = []
    for family in families_of(declared):
        child = family[0][1]
        theirs = [
            _THEIRS.format(column=sql.Identifier(child.column(reference.field)), key=key_type(declared))
            for _, _, reference in family
        ]
        statement = _LOCK_CHILDREN.format(
            child=table_of(schema, child),
            mine=mine(schema, child, "record"),
            id=id_of(child),
            theirs=sql.SQL(" OR ").join(theirs),
            which=(in_trash if trashed else outside_trash)(child, "record"),
            unasked=unasked(declared, child),
        )
        counts += connection.execute(statement, {"ids": text_array(ids)}).fetchone() or ()
    return counts
