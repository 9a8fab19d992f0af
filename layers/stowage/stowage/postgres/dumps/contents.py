"""What a dump's manifest tells of its schema, read in the dump's own snapshot beside the dump."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row
from pydantic import BaseModel

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.dumps.preflight import must_hold_its_children

RESULT_SECONDS = 3600.0
CANCEL_SECONDS = 2.0


class Extension(BaseModel):
    """An extension that the schema uses; a schema's dump leaves it out, so a restore creates it first."""

    name: str
    version: str
    schema_name: str


class Reference(BaseModel):
    """Something of ours (`source`) that needs something in another schema (`target`), which the dump leaves out."""

    source_type: str
    source: str
    target_type: str
    target: str


class DumpContents(BaseModel):
    """What one dump holds and what a restore of it needs.

    `rows` counts by table, partitions each for themselves and not again in their parents; `table_count` counts the
    parents too. References inside the text of functions are not tracked by Postgres and so not listed.
    """

    schema_name: str
    server_version: str
    client_version: str
    table_count: int
    row_count: int
    rows: dict[str, int]
    extensions: list[Extension]
    references: list[Reference]
    large_object_columns: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class Estimate:
    """Expected bytes of the plain dump (`source_bytes`), of the artifact (`bytes`), rows and tables."""

    source_bytes: int
    bytes: int
    rows: int
    tables: int


class SnapshotContents:
    """A snapshot of the database and what the schema holds in it, counted by a thread while the caller dumps.

        with SnapshotContents(connection, schema, client_version) as contents:
            transfer(Dump(schema, "sql", environment, snapshot=contents.snapshot), …)
            manifest = contents.result()

    The connection is ours until the end of the block; leaving it by an error cancels what still runs. `counted` has the
    rows of those tables that are counted already.
    """

    snapshot: str

    def __init__(self, connection: psycopg.Connection[Any], schema: str, client_version: str) -> None:
        self.counted: dict[str, int] = {}
        self.backend_pid = connection.info.backend_pid
        self._connection = connection
        self._schema = schema
        self._client_version = client_version
        self._contents: Future[DumpContents] = Future()
        self._thread = threading.Thread(target=self._read, daemon=True, name="contents")

    def __enter__(self) -> Self:
        with database_errors():
            self.snapshot = export_snapshot(self._connection)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            with contextlib.suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=CANCEL_SECONDS)
            self._thread.join(CANCEL_SECONDS)
        if not self._thread.is_alive():
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")

    def result(self, timeout: float = RESULT_SECONDS) -> DumpContents:
        """Give the contents once they are known; RunError or TransientRunError where they cannot be."""
        try:
            return self._contents.result(timeout)
        except FutureTimeoutError as error:
            raise TransientRunError("Counting the rows took too long.", "count_timeout") from error

    def check(self) -> None:
        """Raise what has ended the counting, if anything has: no dump need go on without it."""
        if self._contents.done():
            self._contents.result()

    def _read(self) -> None:
        try:
            with database_errors():
                contents = read_contents(self._connection, self._schema, self._client_version, self.counted)
            self._contents.set_result(contents)
        except BaseException as error:  # raised by result()
            self._contents.set_exception(error)


# The role's own limits are for functions: a snapshot has to stay open as long as pg_dump needs it.
BEGIN: LiteralString = """
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = '60s';
    SET LOCAL max_parallel_workers_per_gather = 0
"""
EXPORT: LiteralString = "SELECT pg_export_snapshot()"


def export_snapshot(connection: psycopg.Connection[Any]) -> str:
    """Begin a transaction and give its snapshot's name, for as long as that transaction lasts (autocommit
    connections).
    """
    connection.execute(BEGIN)
    exported = connection.execute(EXPORT).fetchone()
    assert exported is not None
    return str(exported[0])


def read_contents(
    connection: psycopg.Connection[Any], schema: str, client_version: str, rows: dict[str, int]
) -> DumpContents:
    """Read everything that the manifest tells, in the transaction that the connection is in; `rows` fills up meanwhile.

    TransientRunError `lock_timeout` where someone holds a table exclusively; RunError `outside_children` where the
    dump that reads the same snapshot would leave rows out.
    """
    must_hold_its_children(connection, schema)
    tables = _tables(connection, schema)
    _lock(connection, schema, [name for name, _ in tables])
    for name, holds_rows in tables:
        if holds_rows:
            rows[name] = _count(connection, schema, name)
    columns = _large_object_columns(connection, schema)
    with connection.cursor(row_factory=class_row(Reference)) as cursor:
        references = cursor.execute(REFERENCES, {"schema": schema}).fetchall()
    with connection.cursor(row_factory=class_row(Extension)) as cursor:
        extensions = cursor.execute(EXTENSIONS, {"schema": schema}).fetchall()
    version = connection.execute("SELECT current_setting('server_version')").fetchone()
    return DumpContents(
        schema_name=schema,
        server_version=version[0] if version else "",
        client_version=client_version,
        table_count=len(tables),
        row_count=sum(rows.values()),
        rows=rows,
        extensions=extensions,
        references=references,
        large_object_columns=columns,
        warnings=_warnings(connection, schema, columns, references),
    )


TABLES: LiteralString = """
    SELECT c.relname, c.relkind = 'r' AS holds_rows
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s) AND c.relkind IN ('r', 'p')
    ORDER BY c.relname
"""


def _tables(connection: psycopg.Connection[Any], schema: str) -> list[tuple[str, bool]]:
    """Name the tables and partitioned parents; only the former hold rows themselves."""
    return connection.execute(TABLES, {"schema": schema}).fetchall()


LOCK: LiteralString = "LOCK TABLE ONLY {} IN ACCESS SHARE MODE"


def _lock(connection: psycopg.Connection[Any], schema: str, tables: list[str]) -> None:
    """Lock every table as pg_dump does, at once and first: an ALTER TABLE that comes later waits for pg_dump, and every
    count that has no lock yet would wait behind it.
    """
    if tables:
        names = sql.SQL(", ONLY ").join(sql.Identifier(schema, table) for table in tables)
        connection.execute(sql.SQL(LOCK).format(names))


COUNT: LiteralString = "SELECT count(*) FROM ONLY {}"


def _count(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    """Count one table's rows without those of its children. One process: the dump beside us needs the other cores."""
    counted = connection.execute(sql.SQL(COUNT).format(sql.Identifier(schema, table))).fetchone()
    return int(counted[0]) if counted else 0


# Everything that belongs to the schema: what stands in it, and what hangs on its tables (defaults, rules, triggers,
# policies). pg_depend then tells what each needs; what needs nothing outside, or only what every database has, is left
# out.
OUTSIDE: LiteralString = """
    WITH ours AS MATERIALIZED (
        SELECT oid FROM pg_namespace WHERE nspname = %(schema)s
    ), relations AS MATERIALIZED (
        SELECT oid FROM pg_class WHERE relnamespace = (SELECT oid FROM ours)
    ), members (classid, objid) AS MATERIALIZED (
        SELECT 'pg_class'::regclass, oid FROM relations
        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
            WHERE stxnamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace = (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
        UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relations)
        UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
        UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
    ), outside AS MATERIALIZED (
        SELECT d.classid, d.objid, d.refclassid, d.refobjid, e.refobjid AS extension
        FROM members m
        JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid AND d.deptype <> 'e'
        LEFT JOIN pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'
        WHERE NOT (d.refclassid = 'pg_namespace'::regclass AND d.refobjid = (SELECT oid FROM ours))
          AND NOT EXISTS (SELECT FROM members o WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
    )
"""
EXTENSIONS: LiteralString = (
    OUTSIDE
    + """
    SELECT x.extname AS name, x.extversion AS version, n.nspname AS schema_name
    FROM pg_extension x
    JOIN pg_namespace n ON n.oid = x.extnamespace
    WHERE x.oid IN (SELECT extension FROM outside)
       OR x.oid IN (SELECT refobjid FROM outside WHERE refclassid = 'pg_extension'::regclass)
    ORDER BY x.extname
"""
)
REFERENCES: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT s.type AS source_type, s.identity AS source, t.type AS target_type, t.identity AS target
    FROM outside o
    CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) s
    CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE o.extension IS NULL
      AND o.refclassid <> 'pg_extension'::regclass
      AND t.schema IS DISTINCT FROM 'pg_catalog' AND t.schema IS DISTINCT FROM 'information_schema'
      AND t.schema IS DISTINCT FROM 'pg_toast'
      AND t.type NOT IN ('index', 'language')
    ORDER BY source, target
"""
)
# A large object is known only by its number, so a column that may hold such numbers is all there is to go by.
LARGE_OBJECT_COLUMNS: LiteralString = """
    SELECT c.relname AS table_name, a.attname AS column_name
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND c.relkind = 'r'
      AND (t.oid = 'oid'::regtype OR t.typbasetype = 'oid'::regtype)
    ORDER BY 1, 2
"""


def _large_object_columns(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Name the columns (`table.column`) whose values are numbers of large objects that exist."""
    with connection.cursor(row_factory=dict_row) as cursor:
        columns = cursor.execute(LARGE_OBJECT_COLUMNS, {"schema": schema}).fetchall()
    return [
        f"{column['table_name']}.{column['column_name']}"
        for column in columns
        if _holds_large_objects(connection, schema, column["table_name"], column["column_name"])
    ]


HOLDS_LARGE_OBJECTS: LiteralString = """
    SELECT EXISTS (SELECT FROM pg_largeobject_metadata)
       AND EXISTS (SELECT FROM ONLY {table} WHERE {column} IN (SELECT oid FROM pg_largeobject_metadata))
"""


def _holds_large_objects(connection: psycopg.Connection[Any], schema: str, table: str, column: str) -> bool:
    query = sql.SQL(HOLDS_LARGE_OBJECTS).format(table=sql.Identifier(schema, table), column=sql.Identifier(column))
    found = connection.execute(query).fetchone()
    return bool(found and found[0])


FOREIGN_TABLES: LiteralString = """
    SELECT relname FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s) AND relkind = 'f'
    ORDER BY 1
"""


def _warnings(
    connection: psycopg.Connection[Any], schema: str, columns: list[str], references: list[Reference]
) -> list[str]:
    """Say in sentences what a restore of this dump alone would lack."""
    warnings = []
    if columns:
        warnings.append(
            f"Large objects are referenced by {', '.join(columns)}; a schema's dump does not hold them, because they "
            "belong to no schema. Move them into bytea columns to have them backed up."
        )
    if references:
        targets = sorted({reference.target for reference in references})
        warnings.append(f"Needed from outside of the schema: {', '.join(targets)}.")
    if foreign := [name for (name,) in connection.execute(FOREIGN_TABLES, {"schema": schema})]:
        warnings.append(f"Foreign tables are dumped without their rows: {', '.join(foreign)}.")
    return warnings


# Without indexes, which a dump only names. A table that was never analysed has reltuples -1: guess from its pages then.
SIZES: LiteralString = """
    SELECT coalesce(sum(pg_table_size(c.oid)) FILTER (WHERE c.relkind = 'r'), 0)::bigint AS table_bytes,
           coalesce(sum(CASE WHEN c.reltuples >= 0 THEN c.reltuples ELSE pg_relation_size(c.oid) / %(row_bytes)s END)
                    FILTER (WHERE c.relkind = 'r'), 0)::bigint AS rows,
           count(*) AS tables
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s) AND c.relkind IN ('r', 'p')
"""
GUESSED_ROW_BYTES = 150
EMPTY_SCHEMA_BYTES = 2_000
TABLE_DEFINITION_BYTES = 1_500
COMPRESSED_SHARE = 0.3
"""Of igzip over text dumps of the sample tenants: 0.25 to 0.35 (benchmarks/dumps.py)."""


def estimate(connection: psycopg.Connection[Any], schema: str, *, compressed: bool = True) -> Estimate:
    """Guess from the catalog alone (milliseconds, whatever the size) what a dump would give, in any of the formats.

    A table's heap and its rows as text are about the same size: what the text needs more for numbers and dates, the
    heap needs for its headers. Bloat makes the guess too high, values compressed in the heap too low.
    """
    with database_errors():
        found = connection.execute(SIZES, {"schema": schema, "row_bytes": GUESSED_ROW_BYTES}).fetchone()
    table_bytes, rows, tables = found or (0, 0, 0)
    source_bytes = EMPTY_SCHEMA_BYTES + tables * TABLE_DEFINITION_BYTES + table_bytes
    return Estimate(source_bytes, round(source_bytes * COMPRESSED_SHARE) if compressed else source_bytes, rows, tables)


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn psycopg's errors into RunError (refused) or TransientRunError (locked, cut off, out of room)."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise RunError("The dump role may not read everything in the schema.", "permission_denied") from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise TransientRunError("The schema changed while it was read.", "schema_changed") from error
    except psycopg.errors.LockNotAvailable as error:
        raise TransientRunError("A table of the schema stayed locked.", "lock_timeout") from error
    except psycopg.Error as error:
        raise TransientRunError("The connection to the database was lost.", "connection_lost") from error
