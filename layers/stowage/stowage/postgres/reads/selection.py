"""Which rows and columns of a tenant an export reads: the composed `SELECT` behind every format.

COPY takes no parameters, so values are composed as literals by psycopg (`sql.Literal`), never pasted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import tuple_row

from stowage.basics.schemas import Schema
from stowage.entities.declaration import Entity, FieldType
from stowage.entities.declared import ENTITIES, HIDDEN, entity_named, must_hold_everything
from stowage.entities.filters import JOURNAL, Filters
from stowage.postgres.reads.copy import failed
from stowage.postgres.session.row_security import is_row_security
from stowage.postgres.tables.relations import has_any_id, id_of, rows_of
from stowage.postgres.tables.trashed import Kept, of_trash, outside_trash

type ColumnType = FieldType


@dataclass(frozen=True)
class Column:
    """One column of a file: `name` as its header says, `column` as Postgres names it; the rest as `Field` has it."""

    name: str
    column: str
    type: ColumnType
    is_array: bool = False
    precision: int | None = None
    scale: int | None = None
    computed: sql.Composable | None = None

    @property
    def value(self) -> sql.Composable:
        """The column itself, quoted, or what is computed in its place."""
        return self.computed or sql.Identifier(self.column)

    @property
    def comparable(self) -> sql.Composable:
        """What is compared with a filter's values: of types that we do not know, the text."""
        return _AS_TEXT.format(self.value) if self.type == "other" else self.value


_AS_TEXT = sql.SQL("{}::text")


ROW = "stw_rows"
"""The alias of a record in a selection's statement."""
_SELECT = sql.SQL("SELECT {} FROM {} AS {}")


@dataclass(frozen=True)
class Selection:
    """One file's rows: what they are called, where they lie, which columns, which rows, and in which order (or any)."""

    name: str
    table: sql.Composable
    columns: tuple[Column, ...]
    where: tuple[sql.Composable, ...] = ()
    order: LiteralString | None = None

    def select(self, values: Iterable[sql.Composable]) -> sql.Composed:
        """`SELECT values FROM …` of exactly these rows."""
        statement = _SELECT.format(sql.SQL(", ").join(values), self.table, sql.Identifier(ROW))
        if self.where:
            statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(self.where)
        if self.order:
            statement += sql.SQL(" ORDER BY ") + sql.SQL(self.order)
        return statement


_TRASH: tuple[tuple[str, Kept, ColumnType], ...] = (
    ("deletedAt", "deleted_at", "timestamp"),
    ("deletedBy", "deleted_by", "text"),
    ("purgeAt", "purge_at", "timestamp"),
)

_JOURNAL_COLUMNS = (
    Column("seq", "seq", "integer"),
    Column("at", "at", "timestamp"),
    Column("actor", "actor", "text"),
    Column("operation", "operation", "text"),
    Column("entity", "entity", "text"),
    Column("id", "id", "text"),
    Column("type", "type", "text"),
    Column("before", "before", "json"),
    Column("after", "after", "json"),
)
_JOURNAL_SEARCH = ("actor", "entity", "id", "type")


def select(schema: str, tenant: str, data_type: str, filters: Filters | None = None) -> Selection:
    """The rows of an entity that are not in the trash, or the tenant's journal (`audit`), that `filters` lets through.

    BadRequestError for a `data_type` that is not declared.
    """
    if data_type == JOURNAL:
        return _journal(tenant, filters)
    declared = entity_named(data_type)
    where = [outside_trash(declared, ROW)] if declared.soft_delete else []
    schema = Schema(schema, tenant)
    return Selection(
        declared.name,
        rows_of(schema, declared),
        _columns(declared),
        (
            *where,
            *([has_any_id(declared, filters.ids)] if filters and filters.ids is not None else []),
            *_conditions(filters or Filters(), _columns(declared), _searched(declared), "createdAt"),
            *_conditions_on_others(filters or Filters(), schema, declared),
        ),
    )


def select_everything(schema: str, tenant: str) -> list[Selection]:
    """All that a tenant holds, one selection for each entity that belongs to it, and the journal last.

    Trashed rows are included, with when they were trashed. BadRequestError where such an entity cannot be read yet.
    """
    must_hold_everything()
    entities = [
        Selection(
            declared.name,
            rows_of(Schema(schema, tenant), declared),
            _columns(declared) + (_trash_columns(declared, tenant) if declared.soft_delete else ()),
        )
        for declared in ENTITIES.values()
        if declared.gdpr
    ]
    return [*entities, _journal(tenant, None)]


def _trash_columns(declared: Entity, tenant: str) -> tuple[Column, ...]:
    """When, by whom and until when a record is in the trash; of a live one nothing."""
    return tuple(
        Column(name, kept, kind, computed=of_trash(declared, ROW, kept, sql.Literal(tenant)))
        for name, kept, kind in _TRASH
    )


def _columns(declared: Entity) -> tuple[Column, ...]:
    return tuple(
        Column(field.name, field.column, field.type, field.is_array, field.precision, field.scale)
        for field in declared.fields
    )


def _searched(declared: Entity) -> list[str]:
    found = (declared.field(name) for name in declared.search)
    return [field.column for field in found if field]


def _journal(tenant: str, filters: Filters | None) -> Selection:
    mine = sql.SQL("tenant = {}").format(sql.Literal(tenant))
    conditions = _conditions(filters or Filters(), _JOURNAL_COLUMNS, _JOURNAL_SEARCH, "at")
    if filters and filters.ids is not None:
        conditions.append(_is_any_of(sql.Identifier("id"), filters.ids))
    if filters and filters.newest is not None:
        conditions.append(_among_newest([mine, *conditions], filters.newest))
    return Selection(JOURNAL, _journal_table(), _JOURNAL_COLUMNS, (mine, *conditions), "seq")


_NEWEST = sql.SQL("""
seq >= (SELECT coalesce(min(stw_newest.seq), 0) FROM
    (SELECT seq FROM {journal} AS {row} WHERE {conditions} ORDER BY seq DESC LIMIT {most}) AS stw_newest)
""")


def _among_newest(conditions: list[sql.Composable], most: int) -> sql.Composable:
    """Whether an entry is one of the newest that fit the conditions."""
    return _NEWEST.format(
        journal=_journal_table(),
        row=sql.Identifier(ROW),
        conditions=sql.SQL(" AND ").join(conditions),
        most=sql.Literal(most),
    )


_SHOWN_JOURNAL = sql.SQL("""
(SELECT tenant, seq, operation, entity, id, type, {before} AS before, {after} AS after, actor, at FROM stowage.changes)
""")
_SHOWN_IMAGE = sql.SQL("CASE entity {} ELSE {} END")
_SHOWN_WHEN = sql.SQL("WHEN {} THEN {} - {}::text[]")


def _journal_table() -> sql.Composable:
    """The journal without what entries from before a field was hidden hold of it."""
    if not HIDDEN:
        return sql.Identifier("stowage", "changes")
    images = {
        name: _SHOWN_IMAGE.format(
            sql.SQL(" ").join(
                _SHOWN_WHEN.format(sql.Literal(entity), sql.Identifier(name), sql.Literal(list(columns)))
                for entity, columns in HIDDEN.items()
            ),
            sql.Identifier(name),
        )
        for name in ("before", "after")
    }
    return _SHOWN_JOURNAL.format(**images)


def _conditions(
    filters: Filters, columns: Iterable[Column], searched: Iterable[str], created: str
) -> list[sql.Composable]:
    """One condition for each filter; literals stay untyped, so that a column of any type takes them."""
    named = {column.name: column for column in columns}
    conditions: list[sql.Composable] = [_is_any_of(named[name].comparable, values) for name, values in filters.any_of]
    if filters.created_after:
        conditions.append(sql.SQL("{} >= {}").format(named[created].value, sql.Literal(filters.created_after)))
    if filters.created_before:
        conditions.append(sql.SQL("{} < {}").format(named[created].value, sql.Literal(filters.created_before)))
    if filters.search:
        pattern = sql.Literal("%" + _escape_like(filters.search) + "%")
        hits = [sql.SQL("{}::text ILIKE {}").format(sql.Identifier(column), pattern) for column in searched]
        conditions.append(sql.SQL("({})").format(sql.SQL(" OR ").join(hits)) if hits else sql.SQL("false"))
    return conditions


_REFERS_TO_SUCH = sql.SQL("{column} IN (SELECT {id} FROM {table} AS stw_other WHERE {is_such})")


def _conditions_on_others(filters: Filters, schema: str, declared: Entity) -> list[sql.Composable]:
    """One condition for each filter by a field of a record that these refer to."""
    conditions: list[sql.Composable] = []
    for reference, name, values in filters.of_others:
        other = ENTITIES[reference.entity]
        conditions.append(
            _REFERS_TO_SUCH.format(
                column=sql.Identifier(declared.column(reference.field)),
                id=id_of(other),
                table=rows_of(schema, other),
                is_such=_is_any_of(sql.Identifier(other.column(name)), values),
            )
        )
    return conditions


def _is_any_of(value: sql.Composable, wanted: Iterable[object]) -> sql.Composable:
    # A float of Python's is a double: 0.1 of the type real is none of them, and so it is read as the column's own type.
    literals = [sql.Literal(str(each) if isinstance(each, float) else each) for each in wanted]
    return sql.SQL("{} IN ({})").format(value, sql.SQL(", ").join(literals))


def _escape_like(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


_EXPLAIN = sql.SQL("EXPLAIN (FORMAT JSON) {}")


def expected(connection: psycopg.Connection, selection: Selection) -> tuple[int, int]:
    """How many rows the planner expects, and bytes of a row as Postgres holds them; milliseconds, nothing is read.

    RunError where the table may not be read. What else fails about it is raised as it is, for `look` to tell why.
    """
    explained = _EXPLAIN.format(selection.select(column.value for column in selection.columns))
    statement = explained.as_string(connection)
    try:
        with connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(statement.encode()).fetchone()
    except psycopg.Error as error:
        if is_row_security(error) or isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
            raise
        raise failed(error, selection.name, statement) from error
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Plan Rows"]), int(plan["Plan Width"])
