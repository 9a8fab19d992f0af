"""What a record must satisfy beside its types, as SQL: its references inside the tenant, its unique fields, the checks.

A reference names a live record. Where its declaration says that the two agree in a field (an account and its group in
their brand), they have the same value there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.misfits import find_misfits, find_unheld
from stowage.postgres.session.violations import is_misfit
from stowage.postgres.tables.expressions import Expression
from stowage.postgres.tables.relations import id_of, mine, references_of, rows_of, shared_lock, table_of
from stowage.postgres.tables.trashed import outside_trash
from stowage.postgres.tables.unique_rules import UniqueRule, is_in_the_way, undeclared_rules


@dataclass(frozen=True)
class Parent:
    """A reference as SQL needs it: `shared` are columns that must be equal here and there, as (ours, theirs)."""

    field: str
    column: str
    entity: Entity
    shared: tuple[tuple[str, str], ...]

    @property
    def cte(self) -> sql.Identifier:
        """The name under which the live parents stand in a statement."""
        return sql.Identifier(f"parent_{self.column}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of this record that say which parent it has and whose."""
        return (self.column, *(ours for ours, _ in self.shared))

    @property
    def their_columns(self) -> tuple[str, ...]:
        """The columns of the parent that must be equal to `columns`."""
        return (self.entity.column("id"), *(theirs for _, theirs in self.shared))


def parents_of(entity: Entity) -> list[Parent]:
    """An entity's references, in the order of their declaration."""
    return [
        Parent(reference.field, entity.column(reference.field), ENTITIES[reference.entity], _shared(entity, reference))
        for reference in references_of(entity)
    ]


def _shared(entity: Entity, reference: Reference) -> tuple[tuple[str, str], ...]:
    parent = ENTITIES[reference.entity]
    return tuple((entity.column(name), parent.column(name)) for name in reference.agrees)


def followers_of(entity: Entity) -> list[tuple[Entity, Parent]]:
    """The entities whose records must agree with records of this one, each with its reference here. What is only read
    follows by itself.
    """
    return [
        (child, parent)
        for child in ENTITIES.values()
        for parent in parents_of(child)
        if parent.entity is entity and parent.shared and not child.why_only_read
    ]


# Against FOR UPDATE, which whoever moves or deletes the parent takes first; not against each other.
_PARENT = sql.SQL("""
{cte} AS MATERIALIZED (
    SELECT {columns} FROM {table} AS parent WHERE {mine} AND {live} AND {id} IN ({wanted}) ORDER BY {id} {lock}
)""")


def parent_cte(schema: str, parent: Parent, wanted: sql.Composable) -> sql.Composed:
    """The live parents among the ids that `wanted` selects, kept alive until the transaction ends."""
    return _PARENT.format(
        cte=parent.cte,
        columns=sql.SQL(", ").join(map(sql.Identifier, parent.their_columns)),
        id=id_of(parent.entity),
        lock=shared_lock(parent.entity, "KEY SHARE"),
        table=table_of(schema, parent.entity),
        mine=mine(schema, parent.entity, "parent"),
        live=outside_trash(parent.entity, "parent"),
        wanted=wanted,
    )


_HAS_PARENT = sql.SQL("({column} IS NULL OR ({columns}) IN (SELECT {parent_columns} FROM {cte}))")


def has_parent(parent: Parent, row: sql.Composable) -> sql.Composed:
    """The condition that a row (`row` is what stands before the dot) has that parent among the live ones, or none."""
    return _HAS_PARENT.format(
        column=column_of(row, parent.column),
        columns=sql.SQL(", ").join(column_of(row, column) for column in parent.columns),
        parent_columns=sql.SQL(", ").join(map(sql.Identifier, parent.their_columns)),
        cte=parent.cte,
    )


def column_of(row: sql.Composable, column: str) -> sql.Composed:
    """`row.column`, where `row` may be a composite in parentheses."""
    return sql.SQL("{}.{}").format(row, sql.Identifier(column))


type Kind = Literal["id", "unique", "rule", "reference", "shared", "followed", "check", "misfit", "character"]


@dataclass(frozen=True)
class Problem:
    """Why the `n`th record (from 1) cannot be as it is to be.

    `kind`: `id` is taken; another record has the same `unique` fields (`about` is the rule's number); another record is
    in the way by a unique `rule` of the table that nobody declared (`about` is its name); the `reference`
    `about` names no live record, or one of another parent (`shared`); records that `followed` it would not any more;
    a `check` of the columns `about`, with commas between; the value in the column `about` is a
    `misfit`, or holds a `character` that the database does not have in its encoding. `other` is the id of the record in
    the way, if there is one, and of a check its name.
    """

    n: int
    kind: Kind
    about: str
    other: str | None


_CHECKS = """
SELECT array_to_string(ARRAY(
           SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey) ORDER BY attnum
       ), ','),
       pg_get_expr(conbin, conrelid), conname
FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'c' AND conbin IS NOT NULL
ORDER BY conname
"""

_TAKEN = sql.SQL("""
SELECT stw_n, 'id' AS kind, 'id' AS about, found.{id}::text AS other
FROM candidates JOIN {table} AS found ON found.{id} = candidates.{id}
""")
_DUPLICATED = sql.SQL("""
SELECT stw_n, 'unique', {rule}, found.{id}::text
FROM candidates JOIN {table} AS found ON {equal}
WHERE {live} AND {distinct}
""")
_TWICE = sql.SQL("""
SELECT stw_n, 'unique', {rule}, NULL
FROM (
    SELECT stw_n, row_number() OVER (PARTITION BY {columns} ORDER BY stw_n) AS stw_place FROM candidates
    WHERE {given} AND num_nulls({columns}) = 0
) AS ranked
WHERE stw_place > 1
""")
_RULED_OUT = sql.SQL("SELECT stw_n, 'rule', {name}, NULL FROM candidates WHERE {given} AND {in_the_way}")
_CANDIDATE = sql.SQL("(SELECT candidates.*)")
_DANGLING = sql.SQL("""
SELECT stw_n, 'reference', {field}, NULL
FROM candidates
WHERE {given} AND candidates.{column} IS NOT NULL
  AND NOT EXISTS (SELECT FROM {table} AS parent WHERE parent.{id} = candidates.{column} AND {live})
""")
_ASTRAY = sql.SQL("""
SELECT stw_n, 'shared', {field}, parent.{theirs}::text
FROM candidates JOIN {table} AS parent ON parent.{id} = candidates.{column} AND {live}
WHERE {given} AND parent.{theirs} IS DISTINCT FROM candidates.{ours}
""")
_LEFT_BEHIND = sql.SQL("""
SELECT stw_n, 'followed', {name}, NULL
FROM candidates
WHERE {given} AND EXISTS (SELECT FROM {table} AS child WHERE child.{column} = candidates.{id})
""")
_UNCHECKED = sql.SQL("SELECT stw_n, 'check', {columns}, {name} FROM candidates WHERE NOT coalesce(({condition}), true)")
_UNION = sql.SQL(" UNION ALL ")
_JUDGED = sql.SQL("WITH {candidates} SELECT * FROM ({problems}) AS found (n, kind, about, other) ORDER BY n")
_ALWAYS, _OTHERS = sql.SQL("true"), sql.SQL("found.{id} <> candidates.{id}")


def find_problems(
    connection: psycopg.Connection,
    schema: str,
    entity: Entity,
    candidates: sql.Composable,
    parameters: dict[str, object],
    *,
    existing: bool,
) -> list[Problem] | None:
    """Why records cannot be as they are to be, in their order; or None where a value does not even fit its column, so
    that the database cannot say more. The number of statements does not depend on theirs.

    `candidates` defines the CTE of that name: the columns of the entity's table as they would be,
    `stw_n`, and for `existing` records `stw_changes`, the names of the columns that would change.
    Those are compared with each other too; new ones are not, for of those that are alike the first
    may come in.
    """
    table = rows_of(schema, entity)
    checks = connection.execute(_CHECKS, (table_of(schema, entity).as_string(connection),)).fetchall()
    problems: list[sql.Composable] = [] if existing else [_TAKEN.format(table=table, id=id_of(entity))]
    for n, rule in enumerate(entity.unique):
        problems.append(
            _DUPLICATED.format(
                rule=sql.Literal(str(n)),
                table=table,
                id=id_of(entity),
                equal=sql.SQL(" AND ").join(_equal(entity.column(field)) for field in rule),
                live=outside_trash(entity, "found"),
                distinct=_OTHERS.format(id=id_of(entity)) if existing else _ALWAYS,
            )
        )
        if existing:
            own = [entity.column(field) for field in rule]
            columns = sql.SQL(", ").join(map(sql.Identifier, own))
            problems.append(_TWICE.format(rule=sql.Literal(str(n)), columns=columns, given=_changes(own)))
    own_rules = undeclared_rules(connection, schema, [entity])[entity.name]
    problems += [
        _RULED_OUT.format(
            name=sql.Literal(undeclared.name),
            given=_changes(undeclared.columns) if existing and undeclared.columns else _ALWAYS,
            in_the_way=is_in_the_way(table, entity, undeclared, _CANDIDATE, "candidates"),
        )
        for undeclared in own_rules
    ]
    for parent in parents_of(entity):
        problems += _parent_problems(schema, parent, existing=existing)
    if existing:
        for child, parent in followers_of(entity):
            problems.append(
                _LEFT_BEHIND.format(
                    name=sql.Literal(child.name),
                    id=id_of(entity),
                    given=_changes(theirs for _, theirs in parent.shared),
                    table=rows_of(schema, child),
                    column=sql.Identifier(parent.column),
                )
            )
    # The conditions are the database's own, written by whoever owns the table.
    problems += [
        _UNCHECKED.format(columns=sql.Literal(columns), condition=Expression(condition), name=sql.Literal(check))
        for columns, condition, check in checks
    ]
    if not problems:
        return []
    statement = _JUDGED.format(candidates=candidates, problems=_UNION.join(problems))
    try:
        with connection.transaction(), connection.cursor(row_factory=class_row(Problem)) as cursor:
            return _told_once(entity, own_rules, cursor.execute(statement, parameters).fetchall())
    except psycopg.Error as error:
        if isinstance(error, psycopg.IntegrityError) or is_misfit(error):  # the former where its type is a domain
            return None
        raise


def _told_once(entity: Entity, own_rules: Iterable[UniqueRule], problems: Sequence[Problem]) -> list[Problem]:
    """The problems without those of a rule of the table's own whose fields a declared rule has told of already.

    An index that counts the trash says more than the declared rule, and the same of records outside it.
    """
    columns = {rule.name: rule.columns - {*entity.owner} for rule in own_rules}
    told = {
        (problem.n, frozenset(entity.column(field) for field in entity.unique[int(problem.about)]))
        for problem in problems
        if problem.kind == "unique"
    }
    return [each for each in problems if each.kind != "rule" or (each.n, columns[each.about]) not in told]


def misfits(
    connection: psycopg.Connection, schema: str, entity: Entity, items: Sequence[Mapping[str, Any]]
) -> list[Problem] | None:
    """The problems of items whose values do not fit their columns; None where there are none."""
    unheld = [Problem(n, "character", column, None) for n, column in find_unheld(connection, items)]
    if unheld:
        left_out = {problem.n for problem in unheld}
        items = [{} if n in left_out else item for n, item in enumerate(items, 1)]
    found = [Problem(n, "misfit", column, None) for n, column in find_misfits(connection, schema, entity, items)]
    return sorted(unheld + found, key=lambda problem: problem.n) or None


def _parent_problems(schema: str, parent: Parent, *, existing: bool) -> Iterable[sql.Composable]:
    common = {
        "field": sql.Literal(parent.field),
        "column": sql.Identifier(parent.column),
        "table": rows_of(schema, parent.entity),
        "id": id_of(parent.entity),
        "live": outside_trash(parent.entity, "parent"),
    }
    yield _DANGLING.format(given=_changes((parent.column,)) if existing else _ALWAYS, **common)
    for ours, theirs in parent.shared:
        given = _changes((parent.column, ours)) if existing else _ALWAYS
        yield _ASTRAY.format(given=given, ours=sql.Identifier(ours), theirs=sql.Identifier(theirs), **common)


_EQUAL = sql.SQL("found.{0} = candidates.{0}")
_CHANGES = sql.SQL("candidates.stw_changes && ARRAY[{}]")


def _equal(column: str) -> sql.Composed:
    return _EQUAL.format(sql.Identifier(column))


def _changes(columns: Iterable[str]) -> sql.Composed:
    return _CHANGES.format(sql.SQL(", ").join(map(sql.Literal, columns)))
