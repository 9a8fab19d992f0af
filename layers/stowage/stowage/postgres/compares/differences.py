"""What differs between a staged backup and the live tenant: one statement for each entity, over all its records.

A value differs where the text that the dump has of it is not the text of the live one, under the dump's own settings.
Records in the trash are none, on either side. Fields that the database alone writes, and the time of the last change,
make no difference: nobody could bring them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.entities.declaration import Entity, Field
from stowage.postgres.compares.blocks import Table
from stowage.postgres.compares.staging import staged_table
from stowage.postgres.tables.relations import id_of, rows_of
from stowage.postgres.tables.trashed import outside_trash

_EVERY = sql.SQL("true")
KINDS = ("only_in_backup", "only_live", "changed")


@dataclass(frozen=True)
class LiveColumn:
    """A column as the table has it now. `casts`: its text by a cast is not the text that COPY writes of it."""

    name: str
    sql_type: str
    is_generated: bool
    casts: bool


@dataclass(frozen=True)
class Sides:
    """An entity's records in a staged backup and now: where they are staged, with which columns; those of today."""

    entity: Entity
    schema: str
    staging: str
    place: int
    staged: frozenset[str]
    live: dict[str, LiveColumn]

    @property
    def fields(self) -> list[Field]:
        """The fields that are compared: those that both sides have and somebody may set."""
        return [
            each
            for each in self.entity.own
            if not each.is_read_only
            and each.column in self.staged
            and each.column in self.live
            and not self.live[each.column].is_generated
            and each.column not in self.entity.key.names
        ]

    @property
    def table(self) -> sql.Identifier:
        """The table in which the backup's rows are staged."""
        return staged_table(self.staging, self.place)

    def backed_up(self, row: str) -> sql.Composable:
        """Whether a staged row was outside the trash."""
        trash = self.entity.trash.column
        if not self.entity.soft_delete or trash not in self.staged:
            return sql.SQL("true")
        outside = "{} IS DISTINCT FROM 't'" if self.entity.trash.is_flag else "{} IS NULL"
        return sql.SQL(outside).format(sql.Identifier(row, trash))


_STAGED = sql.SQL("SELECT entity, place, columns FROM {}")
_MARKER: LiteralString = "SELECT to_regclass(%s) IS NOT NULL"
_COLUMNS: LiteralString = """
SELECT attname::text AS name,
       CASE WHEN typbasetype IN ('json'::regtype, 'jsonb'::regtype) THEN typbasetype::regtype::text
            ELSE format_type(atttypid, atttypmod) END AS sql_type, attgenerated <> '' AS is_generated,
       typtype = 'd' OR EXISTS (
           SELECT FROM pg_cast WHERE castsource = atttypid AND casttarget = 'text'::regtype AND castmethod = 'f'
       ) AS casts
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND attnum > 0 AND NOT attisdropped
"""


def live_columns(connection: psycopg.Connection, table: Table) -> dict[str, LiveColumn]:
    """The columns of a table of today, by name; none where there is no such table."""
    with connection.cursor(row_factory=class_row(LiveColumn)) as cursor:
        return {column.name: column for column in cursor.execute(_COLUMNS, table)}


type Staged = tuple[int, Sequence[str]]
"""The place of a staged table, and its columns."""


def read_staged(connection: psycopg.Connection, staging: str) -> dict[str, Staged]:
    """What is staged, by entity; nothing where the schema is gone, or a crash has emptied it."""
    marker = sql.Identifier(staging, "stw_marker")
    there = connection.execute(_MARKER, (marker.as_string(connection),)).fetchone()
    if there != (True,):
        return {}
    return {entity: (place, columns) for entity, place, columns in connection.execute(_STAGED.format(marker))}


def sides_of(connection: psycopg.Connection, schema: str, staging: str, entity: Entity, staged: Staged) -> Sides:
    """An entity's two sides; `schema` is the tenant's."""
    place, columns = staged
    live = live_columns(connection, (entity.schema_in(schema), entity.table))
    return Sides(entity, schema, staging, place, frozenset(columns), live)


# As pg_dump itself sets it (PostgreSQL's source, pg_dump.c, setup_connection), and as our dumps' environment does.
_SETTINGS = sql.SQL("""
SET LOCAL TimeZone = {time_zone};
SET LOCAL DateStyle = 'ISO';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 3;
SET LOCAL bytea_output = 'hex';
SET LOCAL search_path = ''
""")
_SNAPSHOT = sql.SQL("""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '60s';
SET LOCAL idle_in_transaction_session_timeout = '10min';
SET LOCAL work_mem = '64MB'
""")


def as_dumped(connection: psycopg.Connection, time_zone: str) -> None:
    """Let values of this transaction look as a dump with that time zone has them."""
    connection.execute(_SETTINGS.format(time_zone=sql.Literal(time_zone)))


def begin_snapshot(connection: psycopg.Connection, time_zone: str) -> None:
    """Begin the transaction in which every entity is compared at one moment (autocommit connections)."""
    connection.execute(_SNAPSHOT)
    as_dumped(connection, time_zone)


_TEXT = sql.SQL('{}::text COLLATE "C"')
_OUTPUT = sql.SQL('CASE WHEN num_nonnulls({0}) = 1 THEN concat({0}) END COLLATE "C"')
_DIFFERS = sql.SQL("{old} IS DISTINCT FROM {new}")
# A dump made where bytea_output is `escape` has it so.
_BYTES_DIFFER = sql.SQL("""
{old} IS DISTINCT FROM CASE WHEN starts_with({old}, '\\x') THEN {new}::text ELSE encode({new}, 'escape') END
""")
# The journal keeps a json's content and not its spaces, so what is brought back has other spaces.
_JSON_DIFFERS = sql.SQL("""
CASE WHEN {old} IS NOT DISTINCT FROM {new}::text THEN false
     WHEN pg_input_is_valid({old}, 'jsonb') AND pg_input_is_valid({new}::text, 'jsonb')
     THEN {old}::jsonb::text IS DISTINCT FROM {new}::text::jsonb::text ELSE true END
""")
_HAS_INPUT_IS_VALID = 160000


def live_text(column: LiveColumn, row: str) -> sql.Composable:
    """The text that COPY writes of a live value."""
    return (_OUTPUT if column.casts else _TEXT).format(sql.Identifier(row, column.name))


def differs(connection: psycopg.Connection, column: LiveColumn) -> sql.Composable:
    """Whether a column of `stw_backup` and `stw_live` differ."""
    old, new = sql.Identifier("stw_backup", column.name), sql.Identifier("stw_live", column.name)
    if column.sql_type == "bytea":
        return _BYTES_DIFFER.format(old=old, new=new)
    if column.sql_type == "json" and connection.info.server_version >= _HAS_INPUT_IS_VALID:
        return _JSON_DIFFERS.format(old=old, new=new)
    return _DIFFERS.format(old=old, new=live_text(column, "stw_live"))


_JOINED = sql.SQL("""
(SELECT * FROM {staged} AS stw_backup WHERE {backed_up} AND {wanted}) AS stw_backup
FULL JOIN (SELECT * FROM {rows} AS stw_live WHERE {outside} AND {wanted}) AS stw_live ON {same}
""")


def joined(sides: Sides, wanted: sql.Composable = _EVERY) -> sql.Composed:
    """The records of both sides outside the trash, `stw_backup` and `stw_live`, joined by their keys.

    `wanted` is a condition on either, without an alias.
    """
    same = [
        sql.SQL("{} = {}").format(
            sql.Identifier("stw_backup", column),
            live_text(sides.live[column], "stw_live") if of == "other" else sql.Identifier("stw_live", column),
        )
        for column, of in sides.entity.key.columns
    ]
    return _JOINED.format(
        staged=sides.table,
        backed_up=sides.backed_up("stw_backup"),
        wanted=wanted,
        rows=rows_of(sides.schema, sides.entity),
        outside=outside_trash(sides.entity, "stw_live"),
        same=sql.SQL(" AND ").join(same),
    )


def id_text(entity: Entity, row: str) -> sql.Composable:
    """The id of a staged row, or of one like it, as a text."""
    if not entity.key.is_composite:
        return sql.SQL("{}::text").format(id_of(entity, row))
    parts = [sql.SQL("{}::text").format(sql.Identifier(row, column)) for column in entity.key.names]
    return sql.SQL("jsonb_build_array({})::text").format(sql.SQL(", ").join(parts))


_KIND = sql.SQL("""
CASE WHEN stw_live.{key} IS NULL THEN 'only_in_backup' WHEN stw_backup.{key} IS NULL THEN 'only_live' ELSE 'changed' END
""")
_ID = sql.SQL("CASE WHEN stw_live.{key} IS NULL THEN {backup} ELSE {live} END")
_UNLIKE = sql.SQL("(stw_backup.{key} IS NULL OR stw_live.{key} IS NULL OR {differ})")


def kind_and_id(sides: Sides) -> sql.Composed:
    """Of which kind a joined record is, and its id: two columns."""
    key = sql.Identifier(sides.entity.key.names[0])
    backup, live = id_text(sides.entity, "stw_backup"), id_text(sides.entity, "stw_live")
    return sql.SQL("{}, {}").format(_KIND.format(key=key), _ID.format(key=key, backup=backup, live=live))


def unlike(connection: psycopg.Connection, sides: Sides) -> sql.Composed:
    """Whether a joined record differs."""
    columns = [sides.live[field.column] for field in sides.fields]
    differ = sql.SQL(" OR ").join([sql.SQL("false"), *(differs(connection, column) for column in columns)])
    return _UNLIKE.format(key=sql.Identifier(sides.entity.key.names[0]), differ=differ)


_FIND = sql.SQL("COPY (SELECT {entity}, {kind_and_id} FROM {joined} WHERE {unlike} ORDER BY {order}) TO STDOUT")
_KEEP = sql.SQL("COPY {} (entity, kind, id) FROM STDIN")
_COUNT = sql.SQL("SELECT kind, count(*) FROM {} WHERE entity = %s GROUP BY kind")
_BACKED_UP = sql.SQL("SELECT count(*) FROM {} AS stw_backup WHERE {}")
_ORDER = sql.SQL("coalesce(stw_backup.{0}::text, stw_live.{0}::text)")
_TYPED_ORDER = sql.SQL("coalesce(stw_backup.{0}, stw_live.{0})")


def find_differences(reading: psycopg.Connection, writing: psycopg.Connection, sides: Sides) -> dict[str, int]:
    """Compare an entity's records and keep the ids of those that differ: how many of each kind, and `same`.

    `reading` is a session of `stowage_app` in a transaction of `begin_snapshot`, `writing` one of the schema's owner.
    """
    entity = sides.entity
    statement = _FIND.format(
        entity=sql.Literal(entity.name),
        kind_and_id=kind_and_id(sides),
        joined=joined(sides),
        unlike=unlike(reading, sides),
        order=sql.SQL(", ").join(
            (_ORDER if of == "other" else _TYPED_ORDER).format(sql.Identifier(column))
            for column, of in entity.key.columns
        ),
    )
    differences = sql.Identifier(sides.staging, "stw_differences")
    keep = _KEEP.format(differences)
    with reading.cursor().copy(statement) as found, writing.cursor().copy(keep) as kept:
        for data in found:
            kept.write(data)
    counts = dict.fromkeys(KINDS, 0) | dict(writing.execute(_COUNT.format(differences), (entity.name,)).fetchall())
    backed_up = _BACKED_UP.format(sides.table, sides.backed_up("stw_backup"))
    total = reading.execute(backed_up).fetchone() or (0,)
    return counts | {"same": total[0] - counts["only_in_backup"] - counts["changed"]}
