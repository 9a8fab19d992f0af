"""Records as a staged backup has them: texts by column, made into values of the columns of today."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.json_numbers import read_json, write_json
from stowage.postgres.compares.differences import Sides, id_text
from stowage.postgres.edits.misfits import find_misfits
from stowage.postgres.reads.records import record_json
from stowage.postgres.session.violations import is_misfit
from stowage.postgres.tables.relations import has_any_id, id_of, key_type, table_of, text_array


@dataclass(frozen=True)
class BackedUp:
    """A record as the backup has it: the `item` of its values, and the texts of those that no column takes any more."""

    item: "Item"
    misfits: dict[str, str]


type Item = dict[str, Any]
"""Values by column, as `json_populate_record` takes them: texts, and of json the value itself."""

_READ = sql.SQL("SELECT {id}, {what} FROM {staged} AS stw_backup WHERE {backed_up} AND {wanted}")
_RECORD = sql.SQL("row_to_json(stw_backup)")
_LENGTH = sql.SQL("coalesce(octet_length({}), 0)")
_ASKED = sql.SQL("{id} = ANY(%(ids)s::{key}[])")


def read_backed_up(connection: psycopg.Connection, sides: Sides, ids: Sequence[str]) -> dict[str, BackedUp]:
    """Those of the records that the backup has outside the trash, by id; columns of today that somebody may set."""
    return {record_id: _backed_up(sides, texts) for record_id, texts in _read(connection, sides, ids, _RECORD)}


def sizes_backed_up(connection: psycopg.Connection, sides: Sides, ids: Sequence[str]) -> dict[str, int]:
    """How many bytes these records have in the backup, by id. Postgres knows that without reading them."""
    texts = sorted(sides.staged - {*sides.entity.key.names})
    lengths = [_LENGTH.format(sql.Identifier("stw_backup", name)) for name in texts]
    return dict(_read(connection, sides, ids, sql.SQL(" + ").join([*lengths, sql.SQL("0")])))


def _read(
    connection: psycopg.Connection, sides: Sides, ids: Sequence[str], what: sql.Composable
) -> list[tuple[str, Any]]:
    entity = sides.entity
    is_composite = entity.key.is_composite
    wanted = has_any_id(entity, ids) if is_composite else _ASKED.format(id=id_of(entity), key=key_type(entity))
    statement = _READ.format(
        id=id_text(entity, "stw_backup"),
        what=what,
        staged=sides.table,
        backed_up=sides.backed_up("stw_backup"),
        wanted=wanted,
    )
    return connection.execute(statement, None if is_composite else {"ids": text_array(ids)}).fetchall()


def _backed_up(sides: Sides, texts: Mapping[str, Any]) -> BackedUp:
    record = BackedUp({}, {})
    for name, column in sides.live.items():
        if name in texts and not column.is_generated:
            value = texts[name]
            text = value if value is None or isinstance(value, str) else str(value)
            if text is None or column.sql_type not in ("json", "jsonb"):
                record.item[name] = text
            elif text.strip() == "null":
                record.misfits[name] = text  # a null of json's own, which an item cannot say: there it is SQL's
            else:
                try:
                    record.item[name] = read_json(text)
                except (ValueError, RecursionError):
                    record.misfits[name] = text
    return record


_SAVE: LiteralString = "SAVEPOINT stw_fits"
_FITS = sql.SQL("SELECT count(stw_given) FROM json_populate_recordset(NULL::{}, %s::json) AS stw_given")
_BACK: LiteralString = "ROLLBACK TO SAVEPOINT stw_fits"


def find_what_fits(connection: psycopg.Connection, sides: Sides, records: Mapping[str, BackedUp]) -> None:
    """Move values that do not fit the columns of today from the items to the misfits. In a transaction."""
    connection.execute(_SAVE)
    try:
        items = write_json([record.item for record in records.values()])
        connection.execute(_FITS.format(table_of(sides.schema, sides.entity)), (items,))
    except psycopg.Error as error:
        if not (isinstance(error, psycopg.IntegrityError) or is_misfit(error)):
            raise
        connection.execute(_BACK)
    else:
        return
    numbered = list(records.values())
    while misfits := find_misfits(connection, sides.schema, sides.entity, [record.item for record in numbered]):
        for n, column in misfits:
            record = numbered[n - 1]
            record.misfits[column] = str(record.item.pop(column))


_SHOWN = sql.SQL("""
SELECT {id}, {record} FROM (
    SELECT stw_given.*{composed} FROM json_populate_recordset(NULL::{table}, %(items)s::json) AS stw_given
) AS stw_shown
""")
_COMPOSED = sql.SQL(", {} AS {}")


def show_backed_up(
    connection: psycopg.Connection, sides: Sides, records: Mapping[str, BackedUp]
) -> dict[str, str | None]:
    """The JSON of records as the API shows them, by id, of those fields that the backup has.

    None for one that no answer could carry. A value that no column takes any more is shown as its text.
    """
    entity = sides.entity
    find_what_fits(connection, sides, records)
    composed = _COMPOSED.format(id_text(entity, "stw_given"), id_of(entity)) if entity.key.is_composite else sql.SQL("")
    fields = [
        field for field in entity.fields if field.name == "id" or field.column in sides.staged & sides.live.keys()
    ]
    statement = _SHOWN.format(
        id=id_text(entity, "stw_shown"),
        record=record_json(entity, "stw_shown", fields),
        composed=composed,
        table=table_of(sides.schema, entity),
    )
    items = write_json([record.item for record in records.values()])
    shown = dict[str, str | None](connection.execute(statement, {"items": items}).fetchall())
    for record_id, record in records.items():
        told = {field.name: record.misfits[field.column] for field in fields if field.column in record.misfits}
        json_text = shown.get(record_id)
        if told and json_text is not None:
            shown[record_id] = _with(json_text, told)
    return shown


def _with(record: str, told: Mapping[str, str]) -> str:
    """A record's JSON with other values of some fields."""
    values = read_json(record) | told
    return write_json(values)
