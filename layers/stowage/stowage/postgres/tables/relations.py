"""What the declared references and unique rules mean in SQL: the conditions that bulk edits, undo and the trash share.

Records are found by their ids, children by the index of their reference. So other conditions in statements over many
ids are written as no index serves them (`num_nulls(deleted_at) < 1`, `deleted_operation IS NOT DISTINCT FROM`): the
planner, whose figures are as old as the last ANALYZE, takes the trash for empty and would read all of it for each id
instead (10,000 accounts with 40,000 posts: minutes). And as it takes many rows to meet: of an equality (`num_nulls(…) =
0`, or two columns that a join makes equal) it expects one row in 200, and would then join 10,000 to 10,000 row by row.

The conditions of the trash themselves are in `stowage.postgres.tables.trashed`. `row` is the alias of a record in the
surrounding statement. Every condition is composed from declarations, never from a request.
"""

import json
from collections.abc import Iterable, Sequence
from typing import LiteralString

from psycopg import sql

from stowage.basics.errors import NotFoundError
from stowage.basics.schemas import Schema
from stowage.entities.absence import absent
from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from stowage.entities.keys import KeyType
from stowage.postgres.tables.trashed import in_trash, outside_trash

_FALSE, _TRUE = sql.SQL("false"), sql.SQL("true")


def text_array(texts: Sequence[str | None]) -> str:
    """A Postgres array of these, as a parameter to cast to `text[]` or to another type's array: psycopg, in pure
    Python, takes 10 ms for 10,000. None is null.

    (PostgreSQL documentation, "Array Input and Output Syntax": every element quoted, backslash and quote escaped.)
    """
    if None in texts:
        return f"{{{','.join(['NULL' if text is None else text_array([text])[1:-1] for text in texts])}}}"
    joined = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts if text is not None])
    return f'{{"{joined}"}}' if joined or texts else "{}"


def key_type(declared: Entity) -> sql.SQL:
    """The type of an entity's ids in SQL: ids come as texts, and are compared in the column's own type."""
    return sql.SQL(declared.key.type)


def key_types(declared: Entity, name: str) -> sql.SQL:
    """The type of the ids that a field holds, of these records or of others."""
    key = declared.key_of(name)
    assert key is not None, f"{name} of {declared.name} holds no id"
    return sql.SQL(key.type)


def id_of(declared: Entity, *row: str) -> sql.Identifier:
    """The column that holds an entity's ids, of `row` where an alias is given."""
    return sql.Identifier(*row, declared.column("id"))


def table_of(schema: str, declared: Entity) -> sql.Identifier:
    """An entity's table by its name; NotFoundError `table_absent` where the tenant is known not to have it.

    For what is about the table itself: its type, the catalogue, and the target of a statement that changes rows or
    needs them whole, which then says whose they are (`mine`). Any other reads `rows_of`.
    """
    if declared.name in absent():
        raise NotFoundError(f"This tenant has no table {declared.table}, so it has no {declared.name}.", "table_absent")
    return sql.Identifier(declared.schema_in(schema), declared.table)


_STAMP = sql.SQL("{column} = greatest(%(at)s, {row}.{column})")


def stamped(declared: Entity, row: str) -> list[sql.Composed]:
    """The assignment that says when a record was last changed; none where its table does not keep it."""
    return [_STAMP.format(column=sql.Identifier(column), row=sql.Identifier(row)) for column in declared.stamps]


_MINE = sql.SQL("{} = {}")


def mine(schema: str, declared: Entity, row: str) -> sql.Composable:
    """Whether a record is the tenant's own: so it is, but in a table that all tenants share. `schema` is a `Schema`."""
    if declared.shared is None:
        return sql.SQL("true")
    assert isinstance(schema, Schema), f"{schema} does not say whose records of {declared.name} are meant"
    # An untyped literal, which a column of any type takes.
    return _MINE.format(sql.Identifier(row, declared.shared.column), sql.Literal(schema.tenant))


_ROWS = sql.SQL("(SELECT stw_row.*{id} FROM {table} AS stw_row WHERE {mine})")
_ID = sql.SQL(", jsonb_build_array({})::text AS {}")
_AS_TEXT = sql.SQL("{}::text")


def rows_of(schema: str, declared: Entity) -> sql.Composable:
    """The tenant's records as a FROM clause reads them, to stand before an alias; each has the column of `id_of`.

    `schema` is a `Schema` where the table may be one that all tenants share.
    """
    table = table_of(schema, declared)
    composed: sql.Composable = sql.SQL("")
    if not (declared.key.is_composite or declared.shared):
        return table
    if declared.key.is_composite:
        parts = [_AS_TEXT.format(sql.Identifier("stw_row", column)) for column in declared.key.names]
        composed = _ID.format(sql.SQL(", ").join(parts), sql.Identifier(declared.key.column))
    return _ROWS.format(id=composed, table=table, mine=mine(schema, declared, "stw_row"))


_IS_PART = sql.SQL("{column} = ({value}::jsonb ->> {place}){cast}")


def is_record(declared: Entity, row: str, value: sql.Composable) -> sql.Composable:
    """Whether a record has an id, a text that `Key.read` gave; compared so that the key's index serves."""
    if not declared.key.is_composite:
        [(column, kind)] = declared.key.columns
        return sql.SQL("{} = {}{}").format(_comparable(row, column, kind), value, _cast(kind))
    return sql.SQL(" AND ").join(
        _IS_PART.format(column=_comparable(row, column, kind), value=value, place=sql.Literal(place), cast=_cast(kind))
        for place, (column, kind) in enumerate(declared.key.columns)
    )


def _comparable(row: str, column: str, kind: KeyType) -> sql.Composable:
    name = sql.Identifier(row, column)
    return _AS_TEXT.format(name) if kind == "other" else name


def _cast(kind: KeyType) -> sql.SQL:
    return sql.SQL("" if kind == "other" else f"::{kind}")


_ANY_OF = sql.SQL("({}) IN ({})")


def has_any_id(declared: Entity, ids: Iterable[str]) -> sql.Composable:
    """Whether a record has one of these ids, in a statement without parameters and aliases of the columns."""
    names = [
        _AS_TEXT.format(sql.Identifier(column)) if kind == "other" else sql.Identifier(column)
        for column, kind in declared.key.columns
    ]
    wanted = [json.loads(each) if declared.key.is_composite else [each] for each in ids]
    rows = [sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, parts))) for parts in wanted]
    return _ANY_OF.format(sql.SQL(", ").join(names), sql.SQL(", ").join(rows)) if rows else _FALSE


_SHARED = sql.SQL("FOR {}")


def shared_lock(declared: Entity, kind: LiteralString) -> sql.Composable:
    """The clause that keeps records for others who read them; nobody of ours changes those that are only read."""
    return sql.SQL("") if declared.why_only_read else _SHARED.format(sql.SQL(kind))


def any_of(conditions: Iterable[sql.Composable]) -> sql.Composable:
    """One condition that holds where any of these does; false for none."""
    found = list(conditions)
    return sql.SQL("({})").format(sql.SQL(" OR ").join(found)) if found else _FALSE


def references_of(declared: Entity) -> list[Reference]:
    """An entity's references to others whose table the tenant has, as far as that is known."""
    return [reference for reference in declared.references if reference.entity in ENTITIES]


def parents(declared: Entity) -> list[tuple[Entity, Reference]]:
    """The entities without which a record of this one may not be outside the trash."""
    return [
        (ENTITIES[reference.entity], reference)
        for reference in references_of(declared)
        if reference.on_delete != "keep"
    ]


_HAS_CHILDREN = sql.SQL("EXISTS (SELECT FROM {table} AS child WHERE child.{column} = {id} AND {outside}{others})")
_OTHERS = sql.SQL(" AND {row}.{column} NOT IN ({ids})")
_NOTHING = sql.SQL("")


def _others(
    of: Entity, declared: Entity, row: str, column: sql.Composable, besides: sql.Composable | None
) -> sql.Composable:
    """The condition, with its AND, that leaves out records of the entity that is asked about itself, as a tree has."""
    if besides is None or of is not declared:
        return _NOTHING
    return _OTHERS.format(row=sql.Identifier(row), column=column, ids=besides)


def has_children(
    schema: str,
    declared: Entity,
    row: str,
    kinds: Sequence[str] = ("restrict",),
    besides: sql.Composable | None = None,
) -> sql.Composable:
    """Whether records outside the trash refer to this one in one of these ways; `besides` is a query of ids of the
    same entity that do not count.
    """
    return any_of(
        _HAS_CHILDREN.format(
            table=rows_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
            id=id_of(declared, row),
            outside=outside_trash(child, "child"),
            others=_others(child, declared, "child", id_of(child), besides),
        )
        for kind in kinds
        for child, reference in declared.children(kind)
    )


_HAS_GRANDCHILDREN = sql.SQL("""
EXISTS (SELECT FROM {along_table} AS along JOIN {table} AS child ON child.{column} = {along_id}
        WHERE along.{along_column} = {id} AND {along_state} AND {state}{itself}{others})
""")
# Whoever refers to itself, or in turn to a record that goes along with it, keeps nobody.
_ITSELF = sql.SQL(" AND {id} NOT IN ({along_id}, child.{child_id})")


def grandchildren(declared: Entity) -> list[tuple[Entity, Reference, Entity, Reference]]:
    """What refers to what goes along with a record, and does not go along itself: a deletion takes one level."""
    return [
        (child, reference, grandchild, of_child)
        for child, reference in declared.children("cascade")
        for kind in ("restrict", "cascade")
        for grandchild, of_child in child.children(kind)
    ]


def has_grandchildren(
    schema: str, declared: Entity, row: str, *, trashed: bool, besides: sql.Composable | None = None
) -> sql.Composable:
    """Whether there are `grandchildren` of a record outside the trash; `trashed`: any, of what lies in the trash."""
    return any_of(
        _HAS_GRANDCHILDREN.format(
            along_table=rows_of(schema, child),
            along_id=id_of(child, "along"),
            along_column=sql.Identifier(child.column(reference.field)),
            along_state=(in_trash if trashed else outside_trash)(child, "along"),
            table=rows_of(schema, grandchild),
            column=sql.Identifier(grandchild.column(of_child.field)),
            id=id_of(declared, row),
            state=_TRUE if trashed else outside_trash(grandchild, "child"),
            itself=_ITSELF.format(id=id_of(declared, row), along_id=id_of(child, "along"), child_id=id_of(child))
            if child is declared
            else _NOTHING,
            others=_others(child, declared, "along", id_of(child), besides),
        )
        for child, reference, grandchild, of_child in grandchildren(declared)
    )


_LACKS_PARENT = sql.SQL("""
    {row}.{column} IS NOT NULL
    AND NOT EXISTS (SELECT FROM {table} AS parent WHERE parent.{id} = {row}.{column} AND {outside}){others}
""")


def lacks_parent(
    schema: str,
    parent: Entity,
    declared: Entity,
    reference: Reference,
    row: str,
    besides: sql.Composable | None = None,
) -> sql.Composable:
    """Whether the record that this one names is in the trash, or gone; `besides` as in `has_children`."""
    column = sql.Identifier(declared.column(reference.field))
    return _LACKS_PARENT.format(
        row=sql.Identifier(row),
        column=column,
        table=rows_of(schema, parent),
        id=id_of(parent),
        outside=outside_trash(parent, "parent"),
        others=_others(parent, declared, row, column, besides),
    )


_IS_TAKEN = sql.SQL("""
EXISTS (SELECT FROM {table} AS other WHERE {outside} AND other.{id} <> {row}.{id} AND {same})
""")


def is_taken(schema: str, declared: Entity, rule: Sequence[str], row: str) -> sql.Composable:
    """Whether a record outside the trash has what this unique rule lets only one have."""
    same = [
        sql.SQL("other.{column} = {row}.{column}").format(
            column=sql.Identifier(declared.column(name)), row=sql.Identifier(row)
        )
        for name in rule
    ]
    return _IS_TAKEN.format(
        table=rows_of(schema, declared),
        outside=outside_trash(declared, "other"),
        id=id_of(declared),
        row=sql.Identifier(row),
        same=sql.SQL(" AND ").join(same),
    )


def breaks_a_rule(schema: str, declared: Entity, row: str) -> sql.Composable:
    """Whether any unique rule keeps this record out."""
    return any_of(is_taken(schema, declared, rule, row) for rule in declared.unique)
