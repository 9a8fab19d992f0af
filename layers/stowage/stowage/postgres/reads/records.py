"""Records as the API shows them: composed as JSON by Postgres, which is the fastest that writes it.

Ids come in the form that every path survives; `stowage.basics.ids.encode_id` is the same rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from stowage.basics.errors import BadRequestError
from stowage.basics.sizes import MOST_ANSWER_BYTES, too_large_record
from stowage.entities.declaration import Entity, Field, Key
from stowage.entities.filters import Filters
from stowage.postgres.reads.moments import base64_text, json_list, local_text, moment_text
from stowage.postgres.reads.selection import select
from stowage.postgres.session.encodings import is_held
from stowage.postgres.tables.relations import id_of, is_record, rows_of
from stowage.postgres.tables.trashed import outside_trash
from stowage.tenants import Tenant


@dataclass(frozen=True)
class Sorting:
    """One key of an order: a declared field, and which way."""

    field: Field
    descending: bool


_ID = sql.SQL(r"""
CASE WHEN {0}::text COLLATE "C" ~ '^[A-Za-z0-9._-]+$' AND {0}::text NOT IN ('.', '..') THEN {0}::text
     ELSE '~' || rtrim(translate(encode(convert_to({0}::text, 'UTF8'), 'base64'), E'+/\n', '-_'), '=') END
""")
# Three digits where they say it all, else the column's six.
_MOMENT = sql.SQL("""
to_char({0}::timestamptz AT TIME ZONE 'UTC',
        CASE WHEN {0}::timestamptz(3) = {0} THEN 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
             ELSE 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' END)
""")
_LOCAL = sql.SQL("""to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.US')""")
_TEXT = sql.SQL("{}::text")
_RECORD = sql.SQL("(SELECT row_to_json(stw_line)::text FROM (SELECT {}) AS stw_line)")
_NAMED = sql.SQL("{} AS {}")


_WHERE_SMALL = sql.SQL("CASE WHEN NOT {large} THEN {record} END")
_LARGE = sql.SQL("({sizes} > {most})")
_TEXT_SIZE = sql.SQL("coalesce(octet_length({}::text), 0)")
_BYTES_SIZE = sql.SQL("coalesce(octet_length({}), 0)")
_STORED_SIZE = sql.SQL("coalesce(pg_column_size({}), 0)")
_OF_ANY_LENGTH = ("text", "bytes", "json", "other")


def is_large(entity: Entity, row: str, most: int) -> sql.Composable:
    """Whether the values of a record of `row` surely have more bytes than `most`.

    Their lengths alone are looked at, which Postgres keeps beside a value that is stored elsewhere, so that nothing of
    it is read (PostgreSQL documentation, "TOAST"). What is compressed and no text counts as it is stored.
    """
    sizes: list[sql.Composable] = []
    for field in entity.fields:
        key = entity.key_of(field.name)
        if key and key.type != "text":
            continue
        if field.type in _OF_ANY_LENGTH or field.is_array:
            size = _STORED_SIZE
            if not field.is_array:
                size = {"text": _TEXT_SIZE, "bytes": _BYTES_SIZE}.get(field.type, size)
            sizes.append(size.format(sql.Identifier(row, field.column)))
    if not sizes:
        return sql.SQL("false")
    # Of bigint: Postgres adds up integers, and two values of a gigabyte are too many for one.
    return _LARGE.format(sizes=sql.SQL("::bigint + ").join(sizes), most=sql.Literal(most))


def record_json(entity: Entity, row: str, fields: Iterable[Field] | None = None) -> sql.Composed:
    """The text of one record's JSON, from the columns of `row`, an alias of its table or of rows like it; null for one
    that no answer could carry. `fields`: of these alone.
    """
    values = [
        _NAMED.format(
            _value(field, sql.Identifier(row, field.column), entity.key_of(field.name)),
            sql.Identifier(field.name),
        )
        for field in (entity.fields if fields is None else fields)
    ]
    record = _RECORD.format(sql.SQL(", ").join(values))
    return _WHERE_SMALL.format(large=is_large(entity, row, MOST_ANSWER_BYTES), record=record)


def _value(field: Field, column: sql.Identifier, key: Key | None) -> sql.Composable:
    if key:
        return _id(key, column)
    if field.is_array:
        return json_list(field.type, column)
    match field.type:
        case "timestamp":
            return moment_text(column, _MOMENT.format(column))
        case "local_timestamp":
            return local_text(column, _LOCAL.format(column))
        case "integer" | "number" | "boolean" | "json":
            return column
        case "bytes":
            return base64_text(column)
        case _:
            return _TEXT.format(column)


def _id(key: Key, column: sql.Composable) -> sql.Composed:
    """The text of an id in the form that every path survives; a number or a uuid is in it as it is."""
    return (_ID if key.type == "text" else _TEXT).format(column)


_ONE = sql.SQL("SELECT left({record}, {most}) FROM {rows} AS found WHERE {is_it} AND {live}")
_FOR_UPDATE = sql.SQL(" FOR UPDATE")


def read_record(
    connection: psycopg.Connection, tenant: Tenant, entity: Entity, record_id: str, *, lock: bool = False
) -> str | None:
    """The JSON of a record outside the trash, or None; `lock` keeps it as it is until the transaction ends.
    TooLargeError for one that no answer could carry, of which no more than that shows is read.
    """
    if not is_held(connection, record_id):
        return None
    statement = _ONE.format(
        most=sql.Literal(MOST_ANSWER_BYTES + 1),
        record=record_json(entity, "found"),
        rows=rows_of(tenant.schema, entity),
        is_it=is_record(entity, "found", sql.Placeholder("id")),
        live=outside_trash(entity, "found"),
    )
    found = connection.execute(statement + _FOR_UPDATE if lock else statement, {"id": record_id}).fetchone()
    if found == (None,):
        raise too_large_record()
    return found[0] if found else None


_ANY = sql.SQL("SELECT EXISTS (SELECT FROM {rows} AS found WHERE {is_it})")


def has_record(connection: psycopg.Connection, tenant: Tenant, entity: Entity, record_id: str) -> bool:
    """Whether there is such a record, in the trash or outside it."""
    if not is_held(connection, record_id):
        return False
    is_it = is_record(entity, "found", sql.Placeholder("id"))
    statement = _ANY.format(rows=rows_of(tenant.schema, entity), is_it=is_it)
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(statement, {"id": record_id}).fetchone())


# The page is found by ids first, so that only its own rows are written as JSON.
_PAGE = sql.SQL("""
WITH matched AS NOT MATERIALIZED ({matched}),
     page AS MATERIALIZED ({page}),
     line AS MATERIALIZED (
         SELECT row_number() OVER (ORDER BY {page_order}) AS n, {record} AS record, {id} AS id FROM page
     )
SELECT (SELECT count(*) FROM matched) AS total,
       CASE WHEN coalesce(bool_and(record IS NOT NULL), true) AND coalesce(sum(octet_length(record)), 0) <= {most}
            THEN coalesce(string_agg(record, ',' ORDER BY n), '') END AS records,
       coalesce(string_agg('{{"id":' || to_json(id) || '}}', ',' ORDER BY n), '') AS ids
FROM line
""")


_FROM_START = sql.SQL("SELECT * FROM matched ORDER BY {order} LIMIT {limit} OFFSET {offset}")
# What lies before a far page is left out by an index alone, where it has the order and the key: no row of it is read.
_FAR = sql.SQL("""
SELECT * FROM matched WHERE {key} = ANY(ARRAY(SELECT {key} FROM matched ORDER BY {order} LIMIT {limit} OFFSET {offset}))
""")


@dataclass(frozen=True)
class Page:
    """The JSON of a page's records, joined by commas, None where it is more than an answer may have; that of their ids
    alone; and how many records there are in all.
    """

    total: int
    records: str | None
    ids: str


def read_page(
    connection: psycopg.Connection,
    tenant: Tenant,
    entity: Entity,
    filters: Filters,
    order: Iterable[Sorting],
    limit: int,
    offset: int,
) -> Page:
    """A page of the records that the filters let through."""
    columns = dict.fromkeys([*(field.column for field in entity.fields), *entity.key.names])
    matched = select(tenant.schema, tenant.id, entity.name, filters).select(map(sql.Identifier, columns))
    keys = [*order]
    statement = _PAGE.format(
        matched=matched,
        page=(_FAR if offset and not entity.why_only_read else _FROM_START).format(
            key=id_of(entity, "matched"),
            order=_order(entity, keys, "matched"),
            limit=sql.Literal(limit),
            offset=sql.Literal(offset),
        ),
        record=record_json(entity, "page"),
        id=_id(entity.key, id_of(entity, "page")),
        most=sql.Literal(MOST_ANSWER_BYTES),
        page_order=_order(entity, keys, "page"),
    )
    # Without parameters, because a filter's literal may hold a percent sign.
    try:
        with connection.cursor(row_factory=class_row(Page)) as cursor:
            page = cursor.execute(statement).fetchone()
    except psycopg.errors.UndefinedFunction:
        if not any(key.field.type == "other" for key in keys):
            raise
        raise BadRequestError(
            "One of the fields of sort has a type that has no order.",
            "invalid_query",
            details=[{"field": "sort", "message": "a field's type has no order"}],
        ) from None
    assert page is not None, "an aggregate gives one row"
    return page


_ASCENDING: LiteralString = "{}"
_DESCENDING: LiteralString = "{} DESC"


def _order(entity: Entity, keys: list[Sorting], row: str) -> sql.Composed:
    """The keys and then the id, which makes every order total and runs as the last key does: one index serves both."""
    columns = list[tuple[str, bool]]()
    for key in keys:
        names = entity.key.names if key.field.name == "id" else (key.field.column,)
        columns += [(name, key.descending) for name in names]
    ordered = {column for column, _ in columns}
    last = columns[-1][1] if columns else False
    columns += [(name, last) for name in entity.key.names if name not in ordered]
    return sql.SQL(", ").join(
        sql.SQL(_DESCENDING if descending else _ASCENDING).format(sql.Identifier(row, column))
        for column, descending in columns
    )
