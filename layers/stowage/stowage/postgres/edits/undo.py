"""Undo, read from the journal: what an operation did to each record, and whether the record still is as it left it.

The operation's rows have been locked by `stowage.postgres.journal.operations.lock_operation`; the records are locked
here, and only then looked at. What somebody has edited meanwhile, through us or by SQL of their own, is left alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity, Field
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.locks import lock_records
from stowage.postgres.edits.rules import followers_of, parents_of
from stowage.postgres.journal.changes import Lines, Type, journalled
from stowage.postgres.journal.images import changed_image, whole_image
from stowage.postgres.journal.operations import Operation
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import refuse_kept
from stowage.postgres.tables.expressions import Expression
from stowage.postgres.tables.relations import (
    any_of,
    breaks_a_rule,
    has_children,
    id_of,
    key_type,
    lacks_parent,
    mine,
    parents,
    references_of,
    rows_of,
    shared_lock,
    table_of,
)
from stowage.postgres.tables.sameness import is_same
from stowage.postgres.tables.trashed import live_value, of_trash, outside_trash, put_in, take_out
from stowage.postgres.tables.unique_rules import UniqueRule, is_in_the_way, out_of_trash, undeclared_rules
from stowage.tenants import Tenant

_PART: LiteralString = """
WITH changed AS (
    SELECT seq, id FROM stowage.changes
    WHERE tenant = %(tenant)s AND operation = %(undone)s AND entity = %(entity)s
      AND type IN ('created', 'updated', 'deleted', 'restored') AND seq < %(end)s
    ORDER BY seq DESC
),
part AS MATERIALIZED (SELECT seq, id FROM changed LIMIT %(most)s)
SELECT min(seq), (SELECT count(*) FROM changed WHERE seq < (SELECT min(seq) FROM part)),
       coalesce(array_agg(DISTINCT id), '{}')
FROM part
"""
_NO_END = 2**63 - 1


@dataclass(frozen=True)
class Part:
    """Changes of an operation by their numbers, from `first` to before `end`, of the records `ids`; `remaining` lie
    before them.
    """

    first: int
    end: int
    remaining: int
    ids: list[str]


def next_part(connection: psycopg.Connection, tenant: str, operation: Operation, most: int) -> Part:
    """The last changes of an operation that have not been undone yet, `most` of them at most.

    What a record held is free again once those that took it later have gone back.
    """
    end = _NO_END if operation.undone_down_to is None else operation.undone_down_to
    given = {"tenant": tenant, "undone": operation.id, "entity": operation.entity, "end": end, "most": most}
    row = connection.execute(_PART, given).fetchone()
    assert row is not None, "an aggregate gives one row"
    first, remaining, ids = row
    return Part(first or 0, end, remaining, ids)


# A file may change a record in several rows. They are one change here, from before the first to after the last, which
# is undone where the last is; and what the operation made itself (or took out of the trash) and then changed, it made.
# A record's rows are found by its id. The ids are given, not joined: of a tenant that is new to it the planner expects
# a handful of rows, and would read all of them for each id. An image that the purge has blanked holds but its hash.
_GATHER = sql.SQL("""
CREATE TEMPORARY TABLE undoing ON COMMIT DROP AS
WITH folded AS (
    SELECT id, min(seq) AS first, min(type) AS type,
           array_agg(before ORDER BY seq DESC) AS befores, array_agg(after ORDER BY seq) AS afters
    FROM stowage.changes
    WHERE tenant = %(tenant)s AND entity = %(entity)s AND id = ANY(%(ids)s)
      AND operation IS NOT DISTINCT FROM %(undone)s AND type IN ('created', 'updated', 'deleted', 'restored')
    GROUP BY id HAVING max(seq) < %(end)s
),
merged AS (
    SELECT id, first, type, {before} AS before, {after} AS after FROM folded
)
SELECT row_number() OVER (PARTITION BY type ORDER BY first) AS n, *, coalesce(after ? '$sha256', false) AS blanked
FROM merged
""")
# Of a column that is in several images, the last one counts.
_MERGED = sql.SQL("""
CASE WHEN cardinality({images}) = 1 THEN {images}[1] ELSE (
    SELECT jsonb_object_agg(key, value ORDER BY place)
    FROM unnest({images}) WITH ORDINALITY AS given (image, place), jsonb_each(image)
) END
""")
_GATHERED: LiteralString = "SELECT type, id FROM pg_temp.undoing ORDER BY first"


def gather(connection: psycopg.Connection, tenant: str, operation: Operation, part: Part) -> list[tuple[str, str]]:
    """What an operation did to each record of that part, in its order, as (type, raw id).

    Kept in a temporary table for what follows; there `n` counts the records of a type.
    """
    statement = _GATHER.format(
        before=_MERGED.format(images=sql.Identifier("befores")), after=_MERGED.format(images=sql.Identifier("afters"))
    )
    given = {"tenant": tenant, "undone": operation.id, "entity": operation.entity}
    connection.execute(statement, given | {"end": part.end, "ids": part.ids})
    return connection.execute(_GATHERED).fetchall()


def _codes(
    connection: psycopg.Connection, statement: sql.Composed, count: int, given: Mapping[str, object] | None = None
) -> list[str | None]:
    """The codes that a statement of (place from 1, code) gives so many records."""
    codes: list[str | None] = [None] * count
    for n, code in connection.execute(statement, given):
        codes[n - 1] = code
    return codes


_WANTED = sql.SQL("""
wanted AS (
    SELECT n, id::{key} AS id, before, after, blanked FROM pg_temp.undoing WHERE type = {type}
)
""")


def _wanted(declared: Entity, type: Type) -> sql.Composed:
    """The CTE of what an operation did to records in that way; the journal keeps every id as a text."""
    return _WANTED.format(key=key_type(declared), type=sql.Literal(type))


_ALL_WANTED = sql.SQL("SELECT id FROM wanted")
_RELATED = sql.SQL("""
WITH {wanted}
SELECT child.n, parent.n FROM wanted AS child
JOIN {table} AS record ON {mine} AND record.{id} = child.id
JOIN wanted AS parent ON parent.id = record.{column}
""")


def _together(
    connection: psycopg.Connection,
    schema: str,
    declared: Entity,
    type: Type,
    codes: list[str | None],
) -> list[str | None]:
    """The codes where records of a tree were judged as if all of them went: a child comes back with its parent only,
    a parent goes with its children only.
    """
    related = [
        _RELATED.format(
            wanted=_wanted(declared, type),
            table=table_of(schema, declared),
            mine=mine(schema, declared, "record"),
            id=id_of(declared),
            column=sql.Identifier(declared.column(reference.field)),
        )
        for parent, reference in parents(declared)
        if parent is declared and any(codes)
    ]
    pairs = [pair for statement in related for pair in connection.execute(statement)]
    needs = pairs if type == "deleted" else [(parent, child) for child, parent in pairs]
    code = "parent_in_trash" if type == "deleted" else "has_children"
    while waiting := [one for one, other in needs if codes[one - 1] is None and codes[other - 1]]:
        for one in waiting:
            codes[one - 1] = code
    return codes


_JUDGE_DELETED = sql.SQL("""
WITH {wanted}, judged AS (
    SELECT wanted.n, CASE
        WHEN record.{id} IS NULL OR wanted.blanked OR {with} = '' THEN 'purged'
        WHEN {outside} OR {by} IS DISTINCT FROM %(undone)s THEN 'changed_since'
        WHEN {lacks_parent} THEN 'parent_in_trash'
        WHEN {clashes} THEN 'conflict'
    END AS code
    FROM wanted LEFT JOIN {table} AS record ON {mine} AND record.{id} = wanted.id
)
SELECT n, code FROM judged WHERE code IS NOT NULL
""")

_CHILD_CLASHES = sql.SQL("""
EXISTS (
    SELECT FROM {table} AS child
    WHERE {mine} AND child.{column} = record.{id} AND {with} = record.{id}::text
      AND {operation} IS NOT DISTINCT FROM {theirs} AND {clashes}
)
""")


def judge_deleted(
    connection: psycopg.Connection, tenant: Tenant, operation: Operation, declared: Entity, count: int
) -> list[str | None]:
    """Which of the locked records that the operation deleted cannot come back from the trash, by code.

    `purged` (or its purge has begun), `changed_since` (restored, or deleted anew), `parent_in_trash`, `conflict` (a
    unique rule, for it or for what would come with it).
    """
    schema = tenant.schema
    statement = _JUDGE_DELETED.format(
        wanted=_wanted(declared, "deleted"),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        id=id_of(declared),
        lacks_parent=any_of(
            lacks_parent(schema, parent, declared, reference, "record", _ALL_WANTED)
            for parent, reference in parents(declared)
        ),
        clashes=clashes_outside(connection, schema, declared),
        outside=outside_trash(declared, "record"),
        by=of_trash(declared, "record", "deleted_operation"),
        **{"with": of_trash(declared, "record", "deleted_with")},
    )
    codes = _codes(connection, statement, count, {"tenant": tenant.id, "undone": operation.id})
    return _together(connection, schema, declared, "deleted", codes)


def clashes_outside(connection: psycopg.Connection, schema: str, declared: Entity) -> sql.Composable:
    """Whether a unique rule keeps `record` in the trash, or something that would come along with it."""
    children = declared.children("cascade")
    rules = undeclared_rules(connection, schema, [declared, *(child for child, _ in children)])
    clashes = [_breaks_a_rule(schema, declared, rules[declared.name], "record")] + [
        _CHILD_CLASHES.format(
            table=table_of(schema, child),
            mine=mine(schema, child, "child"),
            column=sql.Identifier(child.column(reference.field)),
            id=id_of(declared),
            clashes=_breaks_a_rule(schema, child, rules[child.name], "child"),
            operation=of_trash(child, "child", "deleted_operation"),
            theirs=of_trash(declared, "record", "deleted_operation"),
            **{"with": of_trash(child, "child", "deleted_with")},
        )
        for child, reference in children
    ]
    return any_of(clashes)


def _breaks_a_rule(schema: str, declared: Entity, rules: Sequence[UniqueRule], row: str) -> sql.Composable:
    """Whether any unique rule, declared or the table's own (`rules`), keeps a record in the trash."""
    return any_of(
        [breaks_a_rule(schema, declared, row)]
        + [is_in_the_way(rows_of(schema, declared), declared, rule, out_of_trash(declared, row), row) for rule in rules]
    )


_LOCK_FORMER_PARENTS = sql.SQL("""
WITH locked AS MATERIALIZED (
    SELECT {id} FROM {parent} AS parent
    WHERE {mine} AND {id} IN (SELECT (before ->> {column})::{key} FROM pg_temp.undoing WHERE type = 'updated')
    ORDER BY {id} {lock}
)
SELECT count(*) FROM locked
""")


def lock_updated(connection: psycopg.Connection, schema: str, declared: Entity, ids: Sequence[str]) -> None:
    """Lock what these records referred to before, then them."""
    for reference in references_of(declared):
        parent = ENTITIES[reference.entity]
        statement = _LOCK_FORMER_PARENTS.format(
            parent=table_of(schema, parent),
            mine=mine(schema, parent, "parent"),
            id=id_of(parent),
            lock=shared_lock(parent, "SHARE"),
            key=key_type(parent),
            column=sql.Literal(declared.column(reference.field)),
        )
        connection.execute(statement)
    lock_records(connection, schema, declared, ids)


# Only what the operation changed is looked at; the rest of an image tells what else the record was.
_JUDGE_UPDATED = sql.SQL("""
WITH {wanted}, judged AS MATERIALIZED (
    SELECT wanted.n, wanted.id, stw_record AS stw_now, stw_former, CASE
        WHEN stw_record.{id} IS NULL OR wanted.blanked THEN 'purged'
        WHEN NOT ({outside}) OR {edited} THEN 'changed_since'
        WHEN {unfit} THEN 'conflict'
    END AS code
    FROM wanted
    LEFT JOIN {table} AS stw_record ON {mine} AND stw_record.{id} = wanted.id
    LEFT JOIN LATERAL jsonb_populate_record(stw_record, wanted.before) AS stw_former ON true
    LEFT JOIN LATERAL jsonb_populate_record(stw_record, wanted.after) AS stw_latter ON true
)
SELECT n, code, NULL::bigint AS holder FROM judged WHERE code IS NOT NULL
{held}
""")
_EDITED = sql.SQL("(wanted.before ? {name} AND NOT ({same}))")

# Finds the records that now hold a unique value which an undone record needs back, by the rule's own index. `holder` is
# the place of one that goes back too, to another value. If two undone records need the same, only the first waits.
_HELD = sql.SQL("""
UNION ALL
SELECT judged.n, NULL, holder.n
FROM judged
CROSS JOIN LATERAL (
    SELECT stw_other.{id} AS id, stw_other FROM {table} AS stw_other
    WHERE {mine} AND {same} AND stw_other.{id} <> judged.id AND {outside} OFFSET 0
) AS other
LEFT JOIN LATERAL (
    SELECT wanted.n FROM pg_temp.undoing AS wanted,
           jsonb_populate_record(other.stw_other, wanted.before) AS stw_earlier
    WHERE wanted.id = other.id::text AND wanted.type = 'updated' AND {can_step_aside}
      AND ROW({earlier}) IS DISTINCT FROM ROW({now})
    OFFSET 0
) AS holder ON true
WHERE judged.code IS NULL AND {moves}
UNION ALL
SELECT n, NULL, NULL FROM (
    SELECT n, row_number() OVER (PARTITION BY {wanted} ORDER BY n) AS place FROM judged
    WHERE code IS NULL AND {moves} AND num_nulls({wanted}) = 0
) AS alike WHERE place > 1
""")

_GONE = sql.SQL("""
(stw_former.{column} IS DISTINCT FROM stw_record.{column} AND stw_former.{column} IS NOT NULL
 AND NOT EXISTS (SELECT FROM {table} AS parent WHERE parent.{id} = stw_former.{column} {outside}))
""")
_ASTRAY = sql.SQL("""
(({former}) IS DISTINCT FROM ({now})
 AND EXISTS (SELECT FROM {table} AS parent WHERE parent.{id} = stw_former.{column}
             AND parent.{theirs} IS DISTINCT FROM stw_former.{ours}))
""")
_LEFT_BEHIND = sql.SQL("""
(stw_former.{theirs} IS DISTINCT FROM stw_record.{theirs}
 AND EXISTS (SELECT FROM {table} AS child WHERE child.{column} = stw_record.{id}
             AND child.{ours} IS DISTINCT FROM stw_former.{theirs}))
""")


@dataclass(frozen=True)
class Judged:
    """What may become of records: `codes` in their order, and the places (from 1) of those that others wait for."""

    codes: list[str | None]
    awaited: set[int]


_BY_ID: LiteralString = "CREATE INDEX ON pg_temp.undoing (id)"


def judge_updated(connection: psycopg.Connection, schema: str, declared: Entity, count: int) -> Judged:
    """Which of the locked records that the operation changed cannot be put back, by code.

    `purged`, `changed_since` (a column that the operation changed has another value now, or the record lies in the
    trash), `conflict` (what it was is taken by another record that stays so, what it referred to is gone, or it would
    not agree with its parents or its followers).
    """
    statement = _JUDGE_UPDATED.format(
        wanted=_wanted(declared, "updated"),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "stw_record"),
        id=id_of(declared),
        outside=outside_trash(declared, "stw_record"),
        edited=any_of(
            _EDITED.format(name=sql.Literal(field.column), same=_same(field, "stw_record", "stw_latter"))
            for field in _content(declared)
        ),
        unfit=any_of(
            [
                *_gone(schema, declared),
                *_disagreeing(schema, declared),
                *(
                    is_in_the_way(
                        rows_of(schema, declared), declared, rule, _FORMER, "stw_record", _stays(declared, rule)
                    )
                    for rule in undeclared_rules(connection, schema, [declared])[declared.name]
                ),
            ]
        ),
        held=sql.SQL("").join(_held(schema, declared, rule) for rule in declared.unique),
    )
    connection.execute(_BY_ID)
    judged = Judged([None] * count, set())
    waiting: dict[int, list[int]] = defaultdict(list)
    for n, code, holder in connection.execute(statement):
        if holder is None:
            judged.codes[n - 1] = code or "conflict"
        else:
            waiting[holder].append(n)
    refused = [holder for holder in waiting if judged.codes[holder - 1]]
    while refused:
        for n in waiting.pop(refused.pop(), []):
            judged.codes[n - 1] = "conflict"
            refused.append(n)
    judged.awaited.update(waiting)
    return judged


_FORMER = sql.SQL("(SELECT stw_former.*)")
_STAYS = sql.SQL("""
{condition}
AND NOT EXISTS (SELECT FROM pg_temp.undoing AS going WHERE going.id = stw_other.{id}::text AND going.type = 'updated')
""")


def _stays(declared: Entity, rule: UniqueRule) -> sql.Composed:
    """Whether a rule counts `stw_other`, and it does not go back too."""
    return _STAYS.format(condition=Expression(rule.condition), id=id_of(declared))


def _gone(schema: str, declared: Entity) -> Iterator[sql.Composable]:
    """Where what a record referred to is not there any more; what is kept without it may refer to the trash."""
    for reference in references_of(declared):
        parent = ENTITIES[reference.entity]
        outside = sql.SQL("AND {}").format(outside_trash(parent, "parent"))
        yield _GONE.format(
            column=sql.Identifier(declared.column(reference.field)),
            table=rows_of(schema, parent),
            id=id_of(parent),
            outside=sql.SQL("") if reference.on_delete == "keep" else outside,
        )


def _disagreeing(schema: str, declared: Entity) -> Iterator[sql.Composable]:
    """Where a record and its parent, or its children, would not have the same third one."""
    for parent in parents_of(declared):
        for ours, theirs in parent.shared:
            yield _ASTRAY.format(
                former=_row("stw_former", parent.columns),
                now=_row("stw_record", parent.columns),
                table=rows_of(schema, parent.entity),
                id=id_of(parent.entity),
                column=sql.Identifier(parent.column),
                ours=sql.Identifier(ours),
                theirs=sql.Identifier(theirs),
            )
    for child, parent in followers_of(declared):
        for ours, theirs in parent.shared:
            yield _LEFT_BEHIND.format(
                table=rows_of(schema, child),
                column=sql.Identifier(parent.column),
                id=id_of(declared),
                ours=sql.Identifier(ours),
                theirs=sql.Identifier(theirs),
            )


def _held(schema: str, declared: Entity, rule: Sequence[str]) -> sql.Composed:
    columns = [sql.Identifier(declared.column(name)) for name in rule]

    def of(*row: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.SQL("({}).{}").format(sql.Identifier(*row), column) for column in columns)

    wanted, now = of("judged", "stw_former"), of("judged", "stw_now")
    return _HELD.format(
        table=table_of(schema, declared),
        mine=mine(schema, declared, "stw_other"),
        id=id_of(declared),
        same=sql.SQL(" AND ").join(
            sql.SQL("stw_other.{0} = (judged.stw_former).{0}").format(column) for column in columns
        ),
        outside=outside_trash(declared, "stw_other"),
        can_step_aside=sql.Literal(declared.soft_delete),
        earlier=of("stw_earlier"),
        now=of("other", "stw_other"),
        moves=sql.SQL("ROW({}) IS DISTINCT FROM ROW({})").format(wanted, now),
        wanted=wanted,
    )


def _content(declared: Entity) -> list[Field]:
    """The fields that a record's owner sets: what "edited" means. Times that we keep ourselves are none of them."""
    return [field for field in declared.own if not field.is_read_only]


def _same(field: Field, one: str, other: str) -> sql.Composed:
    return is_same(field, sql.Identifier(one, field.column), sql.Identifier(other, field.column))


def _row(row: str, columns: Sequence[str]) -> sql.Composed:
    names = [sql.SQL("{}.{}").format(sql.Identifier(row), sql.Identifier(column)) for column in columns]
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(names))


# Unique rules are of records outside the trash, and looked at row by row.
_STEP_ASIDE = sql.SQL("""
UPDATE {table} AS record SET {aside}
FROM pg_temp.undoing AS wanted
WHERE {mine} AND record.{id} = wanted.id::{key} AND wanted.type = 'updated' AND wanted.n = ANY(%(awaited)s)
""")
_PUT_BACK = sql.SQL("""
WITH {wanted}, old AS MATERIALIZED (
    SELECT wanted.n AS stw_n, wanted.before AS stw_before, wanted.after AS stw_after,
           record.{id} AS stw_id, {old_columns}
    FROM wanted JOIN {rows} AS record ON record.{id} = wanted.id
    WHERE wanted.n <> ALL (%(left_alone)s::bigint[])
),
changed AS (
    UPDATE {table} AS stw_record
    SET {outside} ({columns}) = (
        SELECT {former}
        FROM jsonb_populate_record(stw_record, old.stw_before) AS stw_former,
             jsonb_populate_record(stw_record, old.stw_after) AS stw_latter
    )
    FROM old WHERE {mine} AND stw_record.{id} = old.stw_id
    RETURNING old.stw_n AS n, stw_record.{id} AS id, {before} AS before, {after} AS after
),
{journal}
SELECT (SELECT count(*) FROM old) - (SELECT count(*) FROM changed) FROM stw_base
""")


_FORMER_STAMP = sql.SQL("""
CASE WHEN old.stw_before ? {name} AND stw_record.{stamp} = stw_latter.{stamp} THEN stw_former.{stamp} ELSE %(at)s END
""")


def put_back(
    connection: psycopg.Connection, edit: Edit, declared: Entity, judged: Judged, kind: Type = "updated"
) -> None:
    """Give the records without a code the columns that they had; `updated_at` too, where nothing else was edited since.

    One statement with its journal, without a summary; before it, another takes those that others wait for out of the
    way. `kind` is what the operation did to them.
    """
    table = table_of(edit.schema, declared)
    if judged.awaited:
        connection.execute(
            _STEP_ASIDE.format(
                table=table,
                mine=mine(edit.schema, declared, "record"),
                id=id_of(declared),
                key=key_type(declared),
                aside=put_in(declared),
            ),
            {"at": edit.at, "awaited": list(judged.awaited)},
        )
    columns = [field.column for field in _content(declared)]
    all_columns = [*columns, *declared.stamps]
    statement = _PUT_BACK.format(
        wanted=_wanted(declared, kind),
        table=table,
        rows=rows_of(edit.schema, declared),
        mine=mine(edit.schema, declared, "stw_record"),
        id=id_of(declared),
        old_columns=sql.SQL(", ").join(sql.Identifier("record", column) for column in all_columns),
        outside=take_out(declared) + sql.SQL(",") if declared.soft_delete else sql.SQL(""),
        columns=sql.SQL(", ").join(map(sql.Identifier, all_columns)),
        former=sql.SQL(", ").join(
            [
                *(sql.Identifier("stw_former", column) for column in columns),
                *(
                    _FORMER_STAMP.format(name=sql.Literal(stamp), stamp=sql.Identifier(stamp))
                    for stamp in declared.stamps
                ),
            ]
        ),
        before=changed_image(declared, all_columns, "old", "stw_record"),
        after=whole_image(declared, "stw_record"),
        journal=journalled(Lines("changed", declared.name, "updated")),
    )
    refused = [place for place, code in enumerate(judged.codes, 1) if code is not None]
    row = connection.execute(statement, {**edit.given, "left_alone": refused}).fetchone()
    assert row is not None
    refuse_kept(connection, edit.schema, declared, row[0])


_JUDGE_CREATED = sql.SQL("""
WITH {wanted}, judged AS (
    SELECT wanted.n, CASE
        WHEN record.{id} IS NULL OR wanted.blanked THEN 'purged'
        WHEN NOT ({outside}) OR NOT ({same}) THEN 'changed_since'
        WHEN {has_children} THEN 'has_children'
    END AS code
    FROM wanted
    LEFT JOIN {table} AS record ON {mine} AND record.{id} = wanted.id
    LEFT JOIN LATERAL jsonb_populate_record(record.*, wanted.after) AS latter ON true
)
SELECT n, code FROM judged WHERE code IS NOT NULL
""")


def judge_created(
    connection: psycopg.Connection, schema: str, declared: Entity, count: int, kind: Type = "created"
) -> list[str | None]:
    """Which of the locked records that the operation made, or (`restored`) took out of the trash, cannot be taken away:
    `purged`, `changed_since`, or `has_children` by now; of the latter children go along that came along.
    """
    statement = _JUDGE_CREATED.format(
        wanted=_wanted(declared, kind),
        table=table_of(schema, declared),
        mine=mine(schema, declared, "record"),
        id=id_of(declared),
        outside=outside_trash(declared, "record"),
        same=sql.SQL(" AND ").join(
            [sql.SQL("true"), *(_same(field, "record", "latter") for field in _content(declared))]
        ),
        has_children=has_children(
            schema, declared, "record", ("restrict",) if kind == "restored" else ("restrict", "cascade"), _ALL_WANTED
        ),
    )
    return _together(connection, schema, declared, kind, _codes(connection, statement, count))


_UNTOUCHED = sql.SQL("SELECT n FROM pg_temp.undoing WHERE type = 'restored' AND before - {columns}::text[] = '{{}}'")


def only_restored(connection: psycopg.Connection, declared: Entity) -> list[int]:
    """The places of the records that the operation took out of the trash and did not change."""
    columns = sql.Literal([*live_value(declared)])
    return [n for (n,) in connection.execute(_UNTOUCHED.format(columns=columns))]
