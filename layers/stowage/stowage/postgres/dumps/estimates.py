"""How large a dump will be, told by the catalog alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql


@dataclass(frozen=True)
class Estimate:
    """Expected bytes of the plain dump (`source_bytes`), of the artifact (`bytes`), rows and
    tables.
    """

    source_bytes: int
    bytes: int
    rows: int
    tables: int


# Without indexes, which a dump only names. A table that was never analysed has reltuples -1: guess
# from its pages then. To ask for a table's size waits for whoever holds it exclusively; its pages
# as last counted do not.
_SUMS: LiteralString = """
           coalesce(sum({bytes}) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS table_bytes,
           coalesce(sum(CASE WHEN c.reltuples >= 0 THEN c.reltuples ELSE {bytes} / %(row_bytes)s END)
                    FILTER (WHERE c.relkind = 'r'), 0)::bigint AS rows,
"""
SIZES: LiteralString = (
    "SELECT"
    + _SUMS
    + """
           count(*) AS tables
    FROM pg_class c
    LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
    WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY(%(schemas)s)) AND c.relkind IN ('r', 'p')
"""
)
SIZES_OF_EACH: LiteralString = (
    "SELECT n.nspname,"
    + _SUMS
    + """
           count(c.oid) AS tables
    FROM pg_namespace n
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
    WHERE n.nspname = ANY(%(schemas)s)
    GROUP BY 1
"""
)
MEASURED: LiteralString = "pg_table_size(c.oid)"
AS_LAST_COUNTED: LiteralString = (
    "((c.relpages + coalesce(toast.relpages, 0))::bigint * current_setting('block_size')::int)"
)
GUESSED_ROW_BYTES = 150
EMPTY_SCHEMA_BYTES = 2_000
TABLE_DEFINITION_BYTES = 1_500
COMPRESSED_SHARE = 0.3
"""Of igzip over text dumps of the sample tenants: 0.25 to 0.35 (benchmarks/dumps.py)."""


def estimate(
    connection: psycopg.Connection[Any],
    schema: str,
    *,
    compressed: bool = True,
    measured: bool = True,
    included: Sequence[str] = (),
) -> Estimate:
    """Guess from the catalog alone (milliseconds, whatever the size) what a dump would give, in any
    of the formats.

    A table's heap and its rows as text are about the same size: what the text needs more for
    numbers and dates, the heap needs for its headers. Bloat makes the guess too high, values
    compressed in the heap too low. Without `measured` no lock is waited for, and the sizes are
    those of the last VACUUM or ANALYZE.
    """
    schemas = [schema, *included]
    try:
        with connection.transaction():
            found = _sizes(connection, schemas, MEASURED if measured else AS_LAST_COUNTED)
    except (errors.LockNotAvailable, errors.QueryCanceled):
        raise
    except psycopg.Error:
        if connection.closed:
            raise
        # A damaged table, for example: what can be said without looking at it is good enough for a guess.
        found = _sizes(connection, schemas, AS_LAST_COUNTED)
    return _estimated(*found, compressed=compressed)


def estimates(
    connection: psycopg.Connection[Any], schemas: Sequence[str], *, measured: bool = True
) -> dict[str, Estimate]:
    """The same of each of several schemas, those that are there, by one statement."""
    sizes = sql.SQL(SIZES_OF_EACH).format(bytes=sql.SQL(MEASURED if measured else AS_LAST_COUNTED))
    found = connection.execute(sizes, {"schemas": list(schemas), "row_bytes": GUESSED_ROW_BYTES}).fetchall()
    return {schema: _estimated(table_bytes, rows, tables) for schema, table_bytes, rows, tables in found}


def _estimated(table_bytes: int, rows: int, tables: int, *, compressed: bool = True) -> Estimate:
    source_bytes = EMPTY_SCHEMA_BYTES + tables * TABLE_DEFINITION_BYTES + table_bytes
    return Estimate(source_bytes, round(source_bytes * COMPRESSED_SHARE) if compressed else source_bytes, rows, tables)


def _sizes(connection: psycopg.Connection[Any], schemas: list[str], bytes_of: LiteralString) -> tuple[int, int, int]:
    sizes = sql.SQL(SIZES).format(bytes=sql.SQL(bytes_of))
    found = connection.execute(sizes, {"schemas": schemas, "row_bytes": GUESSED_ROW_BYTES}).fetchone()
    assert found is not None, "an aggregate gives one row"
    table_bytes, rows, tables = found
    return table_bytes, rows, tables
