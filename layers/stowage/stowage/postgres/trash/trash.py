"""The trash: what it shows, in which order, how much there is, and how a record comes back with what went with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.basics.errors import ConflictError
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.bulk import Stamp
from stowage.postgres.edits.relations import (
    any_of,
    is_taken,
    lacks_parent,
    lock_children,
    lock_parents,
    outside_trash,
    parents,
    table_of,
    text_array,
)
from stowage.tenants import Tenant

LONGEST_NAME = 2_000
COUNTED_UP_TO = 1_000
"""So many entries are counted; how many more there are is kept (`stowage.trash_counts`)."""


@dataclass(frozen=True)
class TrashRow:
    """A record in the trash; `cascaded` counts by entity what came with it."""

    entity: str
    id: str
    name: str
    platform: str | None
    deleted_at: datetime
    deleted_by: str | None
    purge_at: datetime
    cascaded: dict[str, int] = field(default_factory=dict)


_LISTED: LiteralString = "deleted_at IS NOT NULL AND deleted_with IS NULL"

_PAGE = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT entity, id FROM ({all}) AS listed ORDER BY deleted_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
)
{shown}
ORDER BY deleted_at DESC, id DESC
""")

# Ordered and bounded by itself, so that each table gives its part from its index, and the whole is a merge.
_ALL = sql.SQL("""
(SELECT {entity}::text AS entity, deleted_at, id FROM {table} WHERE {listed}
 ORDER BY deleted_at DESC, id DESC LIMIT %(limit)s + %(offset)s)
""")

_SHOWN = sql.SQL("""
SELECT {entity}::text AS entity, record.id, {name} AS name, {platform} AS platform, record.deleted_at,
       record.deleted_by, record.purge_at, {cascaded} AS cascaded
FROM {source} JOIN {table} AS record ON record.id = {source}.id
""")

_CAME_ALONG = sql.SQL("""
{entity}, (SELECT count(*) FROM {table} AS child
           WHERE child.{column} = record.id AND child.deleted_with = record.id
             AND child.deleted_operation IS NOT DISTINCT FROM record.deleted_operation
             AND num_nulls(child.deleted_at) = 0)
""")


def list_trash(
    connection: psycopg.Connection, schema: str, shown: Sequence[Entity], limit: int, offset: int
) -> list[TrashRow]:
    """A page of what lies in the trash by itself, newest first, then by id; one statement, its order from indexes."""
    statement = _PAGE.format(
        all=sql.SQL(" UNION ALL ").join(
            _ALL.format(entity=sql.Literal(declared.name), table=table_of(schema, declared), listed=sql.SQL(_LISTED))
            for declared in shown
        ),
        shown=sql.SQL(" UNION ALL ").join(
            _shown(schema, declared, "page") + sql.SQL("WHERE page.entity = {}").format(sql.Literal(declared.name))
            for declared in shown
        ),
    )
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, {"limit": limit, "offset": offset}).fetchall()


def _shown(schema: str, declared: Entity, source: str) -> sql.Composed:
    came = [
        _CAME_ALONG.format(
            entity=sql.Literal(child.name),
            table=table_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
        )
        for child, reference in declared.children("cascade")
    ]
    return _SHOWN.format(
        entity=sql.Literal(declared.name),
        name=_name(declared),
        platform=_platform(schema, declared),
        cascaded=sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(came)),
        source=sql.Identifier(source),
        table=table_of(schema, declared),
    )


# A label may be as long as the product likes, and a page shows a hundred.
_NAME = sql.SQL("""
CASE WHEN length(record.{label}::text) > {longest} THEN left(record.{label}::text, {longest}) || '…'
     ELSE record.{label}::text END
""")


def _name(declared: Entity) -> sql.Composed:
    return _NAME.format(label=sql.Identifier(declared.column(declared.label)), longest=sql.Literal(LONGEST_NAME))


_PARENTS_PLATFORM = sql.SQL("(SELECT parent.{platform}::text FROM {table} AS parent WHERE parent.id = record.{column})")


def _platform(schema: str, declared: Entity) -> sql.Composable:
    """A record's platform, or that of what it belongs to (a post's is its account's)."""
    if declared.field("platform"):
        return sql.SQL("record.{}::text").format(sql.Identifier(declared.column("platform")))
    for parent, reference in parents(declared):
        if parent.field("platform"):
            return _PARENTS_PLATFORM.format(
                platform=sql.Identifier(parent.column("platform")),
                table=table_of(schema, parent),
                column=sql.Identifier(declared.column(reference.field)),
            )
    return sql.SQL("NULL::text")


_COUNT = sql.SQL("""
SELECT {entity}::text,
       (SELECT count(*) FROM (SELECT FROM {table} WHERE {listed} LIMIT %(most)s + 1) AS few),
       (SELECT listed FROM stowage.trash_counts WHERE tenant = %(tenant)s AND entity = {entity})
""")


def count_trash(connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity]) -> int | None:
    """How many entries the trash shows of these entities, at a cost that does not grow with them.

    None: nobody has counted them yet (`recount_trash`).
    """
    statement = sql.SQL(" UNION ALL ").join(
        _COUNT.format(
            entity=sql.Literal(declared.name),
            table=table_of(tenant.schema, declared),
            listed=sql.SQL(_LISTED),
        )
        for declared in shown
    )
    total = 0
    for _, counted, kept in connection.execute(statement, {"tenant": tenant.id, "most": COUNTED_UP_TO}):
        if counted > COUNTED_UP_TO and kept is None:
            return None
        # What is kept can be wrong only for as long as a product's own SQL goes unnoticed; below this bound never.
        total += counted if counted <= COUNTED_UP_TO else max(kept, counted)
    return total


_HOLD: LiteralString = "SELECT stowage.take_seqs(%s, 0)"

_RECOUNT = sql.SQL("""
INSERT INTO stowage.trash_counts (tenant, entity, listed)
SELECT %(tenant)s, {entity}, count(*) FROM {table} WHERE {listed}
ON CONFLICT (tenant, entity) DO UPDATE SET listed = excluded.listed
""")


def recount_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity]) -> None:
    """Count a tenant's trash from its rows, in a transaction. Nobody of ours changes the trash meanwhile."""
    # Every change takes numbers last and commits; so who holds the numbers sees all of them.
    connection.execute(_HOLD, (tenant.id,))
    for declared in entities:
        statement = _RECOUNT.format(
            entity=sql.Literal(declared.name),
            table=table_of(tenant.schema, declared),
            listed=sql.SQL(_LISTED),
        )
        connection.execute(statement, {"tenant": tenant.id})


_REUNITE = sql.SQL("""
UPDATE {child} AS child SET deleted_with = NULL
WHERE deleted_operation IS NOT NULL AND deleted_with IS NOT NULL AND deleted_with <> '' AND NOT EXISTS (
    SELECT FROM {parent} AS parent
    WHERE parent.id = child.{column} AND parent.deleted_at IS NOT NULL
      AND parent.deleted_operation = child.deleted_operation
)
""")


def list_orphans(connection: psycopg.Connection, schema: str) -> int:
    """Show by themselves what came to the trash with a parent that a product's own SQL has taken out; how many."""
    count = 0
    for parent in (declared for declared in ENTITIES.values() if declared.soft_delete):
        for child, reference in parent.children("cascade"):
            statement = _REUNITE.format(
                child=table_of(schema, child),
                parent=table_of(schema, parent),
                column=sql.Identifier(child.column(reference.field)),
            )
            count += connection.execute(statement).rowcount
    return count


@dataclass(frozen=True)
class Found:
    """Where an id was found: in that entity's trash (`trash`, or `purging` once that has begun) or outside it, or
    (`purged`) only in the journal.
    """

    entity: str
    state: str


_FIND = sql.SQL("""
SELECT {entity}::text AS entity,
       coalesce(
           (SELECT CASE WHEN deleted_at IS NULL THEN 'outside' WHEN deleted_with = '' THEN 'purging' ELSE 'trash' END
            FROM {table} WHERE id = %(id)s),
           CASE WHEN EXISTS (
               SELECT FROM stowage.changes
               WHERE tenant = %(tenant)s AND entity = {entity} AND id = %(id)s AND type = 'purged'
           ) THEN 'purged' ELSE 'nowhere' END
       ) AS state
""")


def find_in_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity], id: str) -> list[Found]:
    """What each of these entities knows of that id, in one statement: a state of `Found`, or `nowhere`."""
    statement = sql.SQL(" UNION ALL ").join(
        _FIND.format(entity=sql.Literal(declared.name), table=table_of(tenant.schema, declared))
        for declared in entities
    )
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        return cursor.execute(statement, {"tenant": tenant.id, "id": id}).fetchall()


_ONE = sql.SQL("WITH asked AS (SELECT %(id)s::text AS id) ")


_CAN_COME_BACK = sql.SQL("WHERE record.deleted_at IS NOT NULL AND record.deleted_with IS DISTINCT FROM ''")


def read_trashed(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> TrashRow | None:
    """One record of the trash; None where it is not there, or its purge has begun."""
    statement = _ONE + _shown(schema, declared, "asked") + _CAN_COME_BACK
    with connection.cursor(row_factory=class_row(TrashRow)) as cursor:
        return cursor.execute(statement, {"id": id}).fetchone()


_NAME_OF = sql.SQL("SELECT {name} FROM {table} AS record WHERE id = %s")


def read_name(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> str:
    """What names a record to a person, as the trash shows it."""
    statement = _NAME_OF.format(name=_name(declared), table=table_of(schema, declared))
    row = connection.execute(statement, (id,)).fetchone()
    assert row is not None, "the record is locked"
    return str(row[0])


_LOCK = sql.SQL("""
WITH locked AS MATERIALIZED (SELECT id FROM {table} WHERE id = ANY(%(ids)s::text[]) ORDER BY id FOR UPDATE)
SELECT count(*) FROM locked
""")


def lock_for_restoring(connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str]) -> None:
    """Lock what these records belong to, them, and what went with them, in this order."""
    lock_parents(connection, schema, declared, ids)
    connection.execute(_LOCK.format(table=table_of(schema, declared)), {"ids": text_array(ids)})
    lock_children(connection, schema, declared, ids, sql.SQL("deleted_with IS NOT NULL"))


_PARENTS_OF = sql.SQL("SELECT {conditions} FROM {table} AS record WHERE id = %(id)s")


def parents_in_trash(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> list[str]:
    """The entities of which this record's own parent is in the trash, by their plural names."""
    needed = parents(declared)
    if not needed:
        return []
    conditions = [lacks_parent(schema, parent, declared, reference, "record") for parent, reference in needed]
    statement = _PARENTS_OF.format(conditions=sql.SQL(", ").join(conditions), table=table_of(schema, declared))
    row = connection.execute(statement, {"id": id}).fetchone()
    assert row is not None, "the record is locked"
    return [parent.name for (parent, _), lacks in zip(needed, row, strict=True) if lacks]


@dataclass(frozen=True)
class Clash:
    """A unique rule that keeps a record in the trash: the fields that a record outside it has taken."""

    entity: str
    id: str
    fields: tuple[str, ...]
    values: Mapping[str, Any]


_CLASHES = sql.SQL("""
SELECT {entity}::text, record.id, {rule}::int, jsonb_build_object({values})
FROM {table} AS record
WHERE {which} AND {taken}
""")

_MOST_CLASHES = 100


def find_clashes(connection: psycopg.Connection, schema: str, declared: Entity, id: str) -> list[Clash]:
    """What stands in the way of a record of the trash and of what would come with it; the first hundred."""
    asked = sql.SQL("record.id = %(id)s")
    parts = [_clashes(schema, declared, rule, asked) for rule in range(len(declared.unique))]
    for child, reference in declared.children("cascade"):
        with_it = sql.SQL(
            "record.{column} = %(id)s AND record.deleted_with = %(id)s AND record.deleted_operation "
            "IS NOT DISTINCT FROM (SELECT deleted_operation FROM {table} WHERE id = %(id)s)"
        ).format(column=sql.Identifier(child.column(reference.field)), table=table_of(schema, declared))
        parts += [_clashes(schema, child, rule, with_it) for rule in range(len(child.unique))]
    if not parts:
        return []
    statement = sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" LIMIT {}").format(sql.Literal(_MOST_CLASHES))
    return [
        Clash(entity, record_id, ENTITIES[entity].unique[rule], values)
        for entity, record_id, rule, values in connection.execute(statement, {"id": id})
    ]


def _clashes(schema: str, declared: Entity, rule: int, which: sql.Composable) -> sql.Composed:
    values = [
        sql.SQL("{}, record.{}").format(sql.Literal(name), sql.Identifier(declared.column(name)))
        for name in declared.unique[rule]
    ]
    return _CLASHES.format(
        entity=sql.Literal(declared.name),
        rule=sql.Literal(rule),
        values=sql.SQL(", ").join(values),
        table=table_of(schema, declared),
        which=which,
        taken=is_taken(schema, declared, declared.unique[rule], "record"),
    )


_RESTORE = sql.SQL("""
WITH asked AS MATERIALIZED (
    SELECT id, n FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS asked (id, n)
),
old AS MATERIALIZED (
    SELECT asked.n, {columns}, {renamed} AS renamed
    FROM asked JOIN {table} AS record ON record.id = asked.id
    WHERE num_nulls(record.deleted_at) < 1
),
changed AS (
    UPDATE {table} AS record
    SET deleted_at = NULL, deleted_by = NULL, purge_at = NULL, deleted_operation = NULL, deleted_with = NULL {rename}
    FROM old WHERE record.id = old.id
    RETURNING old.n, record.id, {before} AS before, {after} AS after, old.deleted_with IS NULL AS was_listed
),
{cascades}
lines AS (
    SELECT 0 AS part, n, %(entity)s::text AS entity, id, before, after FROM changed
    {cascaded_lines}
),
taken AS MATERIALIZED (
    SELECT stowage.take_seqs(%(tenant)s, (SELECT count(*) FROM lines)) AS base
),
counted AS (
    UPDATE stowage.trash_counts
    SET listed = greatest(0, listed - (SELECT count(*) FROM changed WHERE was_listed))
    FROM taken WHERE tenant = %(tenant)s AND entity = %(entity)s AND taken.base >= 0
),
written AS (
    INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
    SELECT %(tenant)s, taken.base + row_number() OVER (ORDER BY part, n, id), %(operation)s, entity, id,
           'restored', before, after, %(actor)s, %(at)s
    FROM taken, lines
)
SELECT {counts}
""")

_RESTORED_CHILDREN = sql.SQL("""
{old} AS MATERIALIZED (
    SELECT {columns}, {renamed} AS renamed
    FROM old AS parent JOIN {table} AS record
      ON record.{column} = parent.id AND record.deleted_with IS NOT DISTINCT FROM parent.id
     AND record.deleted_operation IS NOT DISTINCT FROM parent.deleted_operation
    WHERE num_nulls(record.deleted_at) < 1
),
{name} AS (
    UPDATE {table} AS record
    SET deleted_at = NULL, deleted_by = NULL, purge_at = NULL, deleted_operation = NULL, deleted_with = NULL {rename}
    FROM {old} AS old WHERE record.id = old.id
    RETURNING record.id, {before} AS before, {after} AS after
),
""")

_CHILD_LINES = sql.SQL(" UNION ALL SELECT {part}, 0, {entity}, id, before, after FROM {name} ")

_COLUMNS = sql.SQL("""
record.id, record.{label}, record.updated_at, record.deleted_at, record.deleted_by, record.purge_at,
record.deleted_operation, record.deleted_with""")

_BEFORE = sql.SQL("""
jsonb_build_object(
    'deleted_at', old.deleted_at, 'deleted_by', old.deleted_by, 'purge_at', old.purge_at,
    'deleted_operation', old.deleted_operation, 'deleted_with', old.deleted_with
)""")

_AFTER = sql.SQL("""
jsonb_build_object(
    'deleted_at', NULL, 'deleted_by', NULL, 'purge_at', NULL, 'deleted_operation', NULL, 'deleted_with', NULL
)""")

_WITH_LABEL = sql.SQL("""
 || CASE WHEN old.renamed IS NULL THEN '{{}}'
         ELSE jsonb_build_object({column}, {row}.{label}, 'updated_at', {row}.updated_at) END
""")

_RENAME = sql.SQL("""
, {label} = coalesce(old.renamed, record.{label})
, updated_at = CASE WHEN old.renamed IS NULL THEN record.updated_at ELSE %(at)s END
""")

# The first name that neither a record outside the trash has nor one that comes along: those are looked up in an index,
# these in one hash for the whole statement.
_FREE_NAME = sql.SQL("""
CASE WHEN {clashes} THEN (
    WITH RECURSIVE tried AS (
        SELECT 1 AS k, {first} AS candidate, {first_is_taken} AS taken
        UNION ALL
        SELECT k + 1, {next}, {next_is_taken} FROM tried WHERE taken AND k < 1000
    )
    SELECT candidate FROM tried WHERE NOT taken
) END
""")

_FIRST_NAME = sql.SQL("(record.{label} || ' (restored)')")
_NEXT_NAME = sql.SQL("(record.{label} || ' (restored ' || k + 1 || ')')")

_SAME = sql.SQL("AND other.{column} = record.{column}")

_NAME_IS_TAKEN = sql.SQL("""
(EXISTS (SELECT FROM {table} AS other WHERE {outside} AND other.{label} = {candidate} {same})
 OR (({wanted}) IN (SELECT {had} FROM {table} AS other WHERE {along})) IS TRUE)
""")


_ASKED = sql.SQL("other.id = ANY(%(ids)s::text[])")
_THEIRS = sql.SQL("other.{column} = ANY(%(ids)s::text[]) AND other.deleted_at IS NOT NULL")

# What comes along is a hash only where the planner thinks that it fits; else it is read anew for each record.
_ROOM_FOR_NAMES: LiteralString = "SET LOCAL work_mem = '64MB'"


def restore_records(
    connection: psycopg.Connection,
    tenant: Tenant,
    declared: Entity,
    ids: Sequence[str],
    stamp: Stamp,
    *,
    rename: bool = False,
) -> dict[str, int]:
    """Take locked records out of the trash with what went with them; how many of each entity came along.

    `rename` puts ` (restored)`, ` (restored 2)` … behind the labels that somebody else has taken meanwhile. Its
    journal is part of the statement, without a summary. ConflictError where the database refuses a row after all.
    """
    cascades = list(enumerate(declared.children("cascade"), 1))
    counts = [sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(f"cascaded_{n}")) for n, _ in cascades]
    statement = _RESTORE.format(
        table=table_of(tenant.schema, declared),
        **_renaming(tenant.schema, declared, _ASKED, rename=rename),
        cascades=sql.SQL("").join(
            _RESTORED_CHILDREN.format(
                old=sql.Identifier(f"old_{n}"),
                name=sql.Identifier(f"cascaded_{n}"),
                table=table_of(tenant.schema, child),
                column=sql.Identifier(child.column(reference.field)),
                **_renaming(
                    tenant.schema,
                    child,
                    _THEIRS.format(column=sql.Identifier(child.column(reference.field))),
                    rename=rename,
                ),
            )
            for n, (child, reference) in cascades
        ),
        cascaded_lines=sql.SQL("").join(
            _CHILD_LINES.format(
                part=sql.Literal(n), entity=sql.Literal(child.name), name=sql.Identifier(f"cascaded_{n}")
            )
            for n, (child, _) in cascades
        ),
        counts=sql.SQL(", ").join(counts) if counts else sql.SQL("NULL"),
    )
    if rename:
        connection.execute(_ROOM_FOR_NAMES)
    try:
        row = connection.execute(
            statement,
            {
                "ids": text_array(ids),
                "tenant": tenant.id,
                "entity": declared.name,
                "operation": stamp.operation,
                "actor": stamp.actor,
                "at": stamp.at,
            },
        ).fetchone()
    except psycopg.errors.CheckViolation as error:
        raise ConflictError("The database refuses the name that it would get; it may be too long.") from error
    assert row is not None
    return {child.name: int(n) for (_, (child, _)), n in zip(cascades, row, strict=False) if n}


def _renaming(schema: str, declared: Entity, along: sql.Composable, *, rename: bool) -> dict[str, sql.Composable]:
    """The parts of the statement that a new label takes; without one they are empty. `along`: what else comes back."""
    column = declared.column(declared.label)
    columns = _COLUMNS.format(label=sql.Identifier(column))
    rules = [rule for rule in declared.unique if declared.label in rule]
    if not rename or not rules:
        return {
            "columns": columns,
            "renamed": sql.SQL("NULL::text"),
            "rename": sql.SQL(""),
            "before": _BEFORE,
            "after": _AFTER,
        }
    same = [declared.column(name) for name in rules[0] if name != declared.label]

    def is_name_taken(candidate: sql.Composable) -> sql.Composed:
        return _NAME_IS_TAKEN.format(
            table=table_of(schema, declared),
            outside=outside_trash(declared, "other"),
            label=sql.Identifier(column),
            candidate=candidate,
            same=sql.SQL(" ").join(_SAME.format(column=sql.Identifier(name)) for name in same),
            wanted=sql.SQL(", ").join([candidate, *(sql.Identifier("record", name) for name in same)]),
            had=sql.SQL(", ").join(sql.Identifier("other", name) for name in (column, *same)),
            along=along,
        )

    first, following = (name.format(label=sql.Identifier(column)) for name in (_FIRST_NAME, _NEXT_NAME))
    return {
        "columns": columns,
        "renamed": _FREE_NAME.format(
            clashes=any_of(is_taken(schema, declared, rule, "record") for rule in rules),
            first=first,
            first_is_taken=is_name_taken(first),
            next=following,
            next_is_taken=is_name_taken(following),
        ),
        "rename": _RENAME.format(label=sql.Identifier(column)),
        "before": _BEFORE + _with_label(column, "old"),
        "after": _AFTER + _with_label(column, "record"),
    }


def _with_label(column: str, row: str) -> sql.Composed:
    return _WITH_LABEL.format(column=sql.Literal(column), label=sql.Identifier(column), row=sql.Identifier(row))
