"""What the declared references and unique rules mean in SQL: the conditions that bulk edits, undo and the trash share.

Records are found by their ids, children by the index of their reference. So other conditions in statements over many
ids are written as no index serves them (`num_nulls(deleted_at) < 1`, `deleted_operation IS NOT DISTINCT FROM`): the
planner, whose figures are as old as the last ANALYZE, takes the trash for empty and would read all of it for each id
instead (10,000 accounts with 40,000 posts: minutes). And as it takes many rows to meet: of an equality (`num_nulls(…) =
0`, or two columns that a join makes equal) it expects one row in 200, and would then join 10,000 to 10,000 row by row.

The conditions of the trash themselves are in `stowage.postgres.tables.trashed`. `row` is the alias of a record in the
surrounding statement. Every condition is composed from declarations, never from a request.
"""

from collections.abc import Iterable, Sequence

from psycopg import sql

from stowage.basics.errors import NotFoundError
from stowage.entities.absence import absent
from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from stowage.postgres.tables.trashed import outside_trash

_FALSE = sql.SQL("false")


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


def table_of(schema: str, declared: Entity) -> sql.Identifier:
    """An entity's table in a tenant's schema; NotFoundError `table_absent` where that is known not to have it."""
    if declared.name in absent():
        raise NotFoundError(f"This tenant has no table {declared.table}, so it has no {declared.name}.", "table_absent")
    return sql.Identifier(schema, declared.table)


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


_HAS_CHILDREN = sql.SQL("EXISTS (SELECT FROM {table} AS child WHERE child.{column} = {row}.id AND {outside})")


def has_children(schema: str, declared: Entity, row: str, kinds: Sequence[str] = ("restrict",)) -> sql.Composable:
    """Whether records outside the trash refer to this one in one of these ways."""
    return any_of(
        _HAS_CHILDREN.format(
            table=table_of(schema, child),
            column=sql.Identifier(child.column(reference.field)),
            row=sql.Identifier(row),
            outside=outside_trash(child, "child"),
        )
        for kind in kinds
        for child, reference in declared.children(kind)
    )


_LACKS_PARENT = sql.SQL("""
    {row}.{column} IS NOT NULL
    AND NOT EXISTS (SELECT FROM {table} AS parent WHERE parent.id = {row}.{column} AND {outside})
""")


def lacks_parent(schema: str, parent: Entity, declared: Entity, reference: Reference, row: str) -> sql.Composable:
    """Whether the record that this one names is in the trash, or gone."""
    return _LACKS_PARENT.format(
        row=sql.Identifier(row),
        column=sql.Identifier(declared.column(reference.field)),
        table=table_of(schema, parent),
        outside=outside_trash(parent, "parent"),
    )


_IS_TAKEN = sql.SQL("""
EXISTS (SELECT FROM {table} AS other WHERE {outside} AND other.id <> {row}.id AND {same})
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
        table=table_of(schema, declared),
        outside=outside_trash(declared, "other"),
        row=sql.Identifier(row),
        same=sql.SQL(" AND ").join(same),
    )


def breaks_a_rule(schema: str, declared: Entity, row: str) -> sql.Composable:
    """Whether any unique rule keeps this record out."""
    return any_of(is_taken(schema, declared, rule, row) for rule in declared.unique)
