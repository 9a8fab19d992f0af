"""What a dump's manifest tells of its schema, read in the dump's own snapshot beside the dump."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString, Self

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row, dict_row
from pydantic import Field

from stowage.basics.errors import TransientRunError
from stowage.postgres.dumps.failures import database_error
from stowage.postgres.dumps.needs import Groups, Needs, attempt, read_needs
from stowage.postgres.dumps.preflight import must_be_the_tenants, must_hold_their_children

RESULT_SECONDS = 3600.0
CANCEL_SECONDS = 2.0


class DumpContents(Needs):
    """What one dump holds and what a restore of it needs.

    `rows` counts by table, partitions each for themselves and not again in their parents; None
    where the database refused to count, and `row_count` then too. `table_count` counts the parents
    too. `included` are the schemas that were dumped along, each with the rows of its tables.
    References inside the text of functions are not tracked by Postgres and so not listed.
    """

    schema_name: str
    server_version: str
    client_version: str
    table_count: int
    row_count: int | None
    rows: dict[str, int | None]
    included: dict[str, dict[str, int | None]] = Field(default_factory=dict)
    large_object_columns: list[str]
    warnings: list[str]

    @property
    def counts(self) -> dict[str, dict[str, int | None]]:
        """The rows of every schema of the dump by table, the tenant's own first."""
        return {self.schema_name: self.rows, **self.included}


class SnapshotContents:
    """A snapshot of the database and what the schema holds in it, counted by a thread while the
    caller dumps.

        with SnapshotContents(connection, schema, client_version) as contents:
            transfer(Dump(schema, "sql", environment, snapshot=contents.snapshot), …)
            manifest = contents.result()

    The connection is ours until the end of the block; leaving it by an error cancels what still
    runs. `counted` has the rows of those tables that are counted already.
    """

    snapshot: str

    def __init__(
        self, connection: psycopg.Connection[Any], schema: str, client_version: str, included: Sequence[str] = ()
    ) -> None:
        self.counted: dict[str, int | None] = {}
        self.backend_pid = connection.info.backend_pid
        self._connection = connection
        self._schema = schema
        self._client_version = client_version
        self._included = included
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
        """Give the contents once they are known; RunError or TransientRunError where they cannot
        be.
        """
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
                contents = read_contents(
                    self._connection, self._schema, self._client_version, self.counted, self._included
                )
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
LOCK_TIMEOUT: LiteralString = "SELECT set_config('lock_timeout', %s, true)"
EXPORT: LiteralString = "SELECT pg_export_snapshot()"


def export_snapshot(connection: psycopg.Connection[Any]) -> str:
    """Begin a transaction and give its snapshot's name, for as long as that transaction lasts
    (autocommit connections).
    """
    connection.execute(BEGIN)
    exported = connection.execute(EXPORT).fetchone()
    assert exported is not None
    return str(exported[0])


@contextlib.contextmanager
def exported_snapshot(connection: psycopg.Connection[Any], lock_seconds: float) -> Iterator[str]:
    """The name of a snapshot that lasts until the end of the block; what the server refuses there is our error."""
    try:
        with database_errors():
            snapshot = export_snapshot(connection)
            connection.execute(LOCK_TIMEOUT, (f"{lock_seconds}s",))
            yield snapshot
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def read_contents(
    connection: psycopg.Connection[Any],
    schema: str,
    client_version: str,
    rows: dict[str, int | None],
    included: Sequence[str] = (),
) -> DumpContents:
    """Read everything that the manifest tells, in the transaction that the connection is in; `rows`
    fills up meanwhile.

    What the database refuses to tell is unknown, with a warning: pg_dump needs none of it.
    TransientRunError `lock_timeout` where someone holds a table exclusively; RunError
    `outside_children` where the dump that reads the same snapshot would leave rows out, and
    `foreign_tables` where an included schema holds more than the tenant's.
    """
    must_be_the_tenants(connection, schema, included)
    return read_all_contents(connection, {schema: [schema, *included]}, client_version, {schema: rows})[schema]


def read_all_contents(
    connection: psycopg.Connection[Any],
    groups: Groups,
    client_version: str,
    rows: Mapping[str, dict[str, int | None]],
) -> dict[str, DumpContents]:
    """The same of several tenants, each with the schemas of its dump, whose own one is its first.

    Where the server has no room for the locks of several, TransientRunError `out_of_memory`: they
    can be read one by one.
    """
    warnings: dict[str, list[str]] = {group: [] for group in groups}
    must_hold_their_children(connection, groups)
    tables = _tables(connection, groups)
    is_locked = _lock(connection, [table for each in tables.values() for table in each])
    if not is_locked:
        if len(groups) > 1:
            raise TransientRunError("The server has no room for so many locks.", "out_of_memory")
        for each in warnings.values():
            each.append("Unknown: how many rows there are. The server has no room for so many locks.")
    needs = read_needs(connection, groups, warnings)
    counts = {group: {each: dict[str, int | None]() for each in schemas} for group, schemas in groups.items()}
    for group in groups:
        counts[group][group] = rows[group]
        # Planning a count calls the functions of the table's indexes, which may find each other by the
        # product's own path.
        connection.execute(sql.SQL(SEARCH_PATH).format(sql.Identifier(group)))
        holding_rows = [table for table in tables[group] if table.holds_rows]
        together = _count_together(connection, holding_rows) if is_locked and len(groups) > 1 else None
        for place, table in enumerate(holding_rows):
            counting = partial(_count, connection, table)
            what = f"how many rows {table.name} has"
            if together is not None:
                known: int | None = together[place]
            else:
                known = attempt(connection, counting, what, warnings[group]) if is_locked else None
            counts[group][table.schema_name][table.name] = known
    columns = _large_object_columns(connection, groups, warnings)
    foreign = _tables_without_rows(connection, groups, FOREIGN_TABLES)
    extensions_own = _tables_without_rows(connection, groups, EXTENSION_TABLES)
    version = connection.execute("SELECT current_setting('server_version')").fetchone()
    return {
        group: _contents(
            groups[group],
            needs[group],
            counts[group],
            server_version=version[0] if version else "",
            client_version=client_version,
            table_count=len(tables[group]),
            large_object_columns=columns[group],
            warnings=[
                *warnings[group],
                *_lacks(connection, groups[group], columns[group], foreign[group], extensions_own[group], needs[group]),
            ],
        )
        for group in groups
    }


def _contents(
    schemas: Sequence[str], needs: Needs, counts: dict[str, dict[str, int | None]], **more: Any
) -> DumpContents:
    schema, *included = schemas
    found = [count for each in counts.values() for count in each.values()]
    known = [count for count in found if count is not None]
    return DumpContents(
        **dict(needs),
        schema_name=schema,
        row_count=sum(known) if len(known) == len(found) else None,
        rows=counts[schema],
        included={each: counts[each] for each in included},
        **more,
    )


SEARCH_PATH: LiteralString = "SET LOCAL search_path = {}, public"


@dataclass(frozen=True)
class _Table:
    """A table, or a partitioned parent, which holds no rows itself. `condition`: which rows are
    dumped, "" for all.
    """

    schema_name: str
    name: str
    holds_rows: bool
    condition: str


# Of an extension's own tables only those are dumped that it declares as configuration, and of these
# the rows that are the user's (PostgreSQL documentation, "Extension Configuration Tables").
TABLES: LiteralString = """
    SELECT n.nspname AS schema_name, c.relname AS name, c.relkind = 'r' AS holds_rows,
           coalesce(x.extcondition[array_position(x.extconfig, c.oid)], '') AS condition
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend e ON e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    LEFT JOIN pg_extension x ON x.oid = e.refobjid
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p')
      AND (e.objid IS NULL OR c.oid = ANY (x.extconfig))
    ORDER BY array_position(%(schemas)s, n.nspname::text), c.relname
"""


def _tables(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, list[_Table]]:
    group_of = {schema: group for group, schemas in groups.items() for schema in schemas}
    found: dict[str, list[_Table]] = {group: [] for group in groups}
    with connection.cursor(row_factory=class_row(_Table)) as cursor:
        for table in cursor.execute(TABLES, {"schemas": list(group_of)}):
            found[group_of[table.schema_name]].append(table)
    return found


LOCK: LiteralString = "LOCK TABLE ONLY {} IN ACCESS SHARE MODE"


def _lock(connection: psycopg.Connection[Any], tables: list[_Table]) -> bool:
    """Lock every table as pg_dump does, at once and first: an ALTER TABLE that comes later waits
    for pg_dump, and every count that has no lock yet would wait behind it.

    False where the server has no room for so many locks: pg_dump, which takes them again, needs it
    more.
    """
    names = sql.SQL(", ONLY ").join(sql.Identifier(table.schema_name, table.name) for table in tables)
    try:
        with connection.transaction():
            if tables:
                connection.execute(sql.SQL(LOCK).format(names))
    except errors.OutOfMemory:
        return False
    return True


COUNT: LiteralString = "SELECT count(*) FROM ONLY {}"


def _count(connection: psycopg.Connection[Any], table: _Table) -> int:
    """Count one table's rows without those of its children. One process: the dump beside us needs
    the other cores.
    """
    count = sql.SQL(COUNT).format(sql.Identifier(table.schema_name, table.name)).as_bytes(connection)
    counted = connection.execute(count + b" " + table.condition.encode()).fetchone()
    return int(counted[0]) if counted else 0


def _count_together(connection: psycopg.Connection[Any], tables: list[_Table]) -> list[int] | None:
    """Count several tables' rows by one statement; None where the database refuses that."""
    if not tables:
        return []
    counts = [
        sql.SQL("({}{})").format(
            sql.SQL(COUNT).format(sql.Identifier(table.schema_name, table.name)),
            sql.SQL(" " + table.condition),  # the extension's own SQL
        )
        for table in tables
    ]
    query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(counts))
    found = attempt(connection, lambda: connection.execute(query).fetchone(), "how many rows there are", [])
    return None if found is None else list(found)


# A large object is known only by its number, so a column that may hold such numbers is all there is
# to go by.
LARGE_OBJECT_COLUMNS: LiteralString = """
    SELECT n.nspname AS schema_name, c.relname AS table_name, a.attname AS column_name
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = ANY(%(schemas)s)
      AND c.relkind = 'r'
      AND (t.oid = 'oid'::regtype OR t.typbasetype = 'oid'::regtype)
    ORDER BY 2, 3
"""


def _large_object_columns(
    connection: psycopg.Connection[Any], groups: Groups, warnings: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Name the columns (`table.column`) whose values are numbers of large objects that exist."""
    if connection.execute(HAS_LARGE_OBJECTS).fetchone() != (True,):
        return {group: [] for group in groups}
    found: dict[str, list[str]] = {}
    for group, schemas in groups.items():
        holding = partial(_large_objects_of, connection, schemas)
        what = "which columns refer to large objects"
        found[group] = attempt(connection, holding, what, warnings[group]) or []
    return found


def _large_objects_of(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[str]:
    with connection.cursor(row_factory=dict_row) as cursor:
        columns = cursor.execute(LARGE_OBJECT_COLUMNS, {"schemas": list(schemas)}).fetchall()
    return [
        f"{column['table_name']}.{column['column_name']}"
        for column in columns
        if _holds_large_objects(connection, **column)
    ]


HAS_LARGE_OBJECTS: LiteralString = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
HOLDS_LARGE_OBJECTS: LiteralString = """
    SELECT EXISTS (SELECT FROM ONLY {table} WHERE {column} IN (SELECT oid FROM pg_largeobject_metadata))
"""


def _holds_large_objects(
    connection: psycopg.Connection[Any], schema_name: str, table_name: str, column_name: str
) -> bool:
    query = sql.SQL(HOLDS_LARGE_OBJECTS).format(
        table=sql.Identifier(schema_name, table_name), column=sql.Identifier(column_name)
    )
    found = connection.execute(query).fetchone()
    return bool(found and found[0])


FOREIGN_TABLES: LiteralString = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(%(schemas)s) AND relkind = 'f'
    ORDER BY 2
"""


# pg_dump takes a table that belongs to an extension for something that CREATE EXTENSION makes.
EXTENSION_TABLES: LiteralString = """
    SELECT nspname, format('%%s (of %%s)', relname, extname)
    FROM pg_depend JOIN pg_class ON pg_class.oid = objid JOIN pg_namespace ON pg_namespace.oid = relnamespace
         JOIN pg_extension ON pg_extension.oid = refobjid
    WHERE classid = 'pg_class'::regclass AND deptype = 'e' AND refclassid = 'pg_extension'::regclass
          AND nspname = ANY(%(schemas)s) AND relkind IN ('r', 'p')
    ORDER BY 2
"""


def _tables_without_rows(
    connection: psycopg.Connection[Any], groups: Groups, query: LiteralString
) -> dict[str, list[str]]:
    """What a query of tables whose rows the dump leaves out finds for each group."""
    group_of = {schema: group for group, schemas in groups.items() for schema in schemas}
    found: dict[str, list[str]] = {group: [] for group in groups}
    for schema, name in connection.execute(query, {"schemas": list(group_of)}):
        found[group_of[schema]].append(name)
    return found


def _lacks(
    connection: psycopg.Connection[Any],
    schemas: Sequence[str],
    columns: list[str],
    foreign: list[str],
    extensions_own: list[str],
    needs: Needs,
) -> list[str]:
    """Say in sentences what a restore of this dump alone would lack."""
    within = [extension.name for extension in needs.extensions if extension.schema_name in schemas]
    targets = sorted({reference.target for reference in needs.references})
    sentences = {
        "Large objects are referenced by {}; a schema's dump does not hold them, because they belong to no schema. "
        "Move them into bytea columns to have them backed up.": columns,
        "Needed from outside of the schema: {}.": targets,
        "Foreign tables are dumped without their rows: {}.": foreign,
        "Tables that belong to an extension are not in the dump, nor are their rows: {}. "
        "ALTER EXTENSION … DROP TABLE has one backed up.": extensions_own,
        "Extensions that stand in the schema itself are not in the dump, and a restore creates them there first: {}.": (
            within
        ),
        "Casts are not in the dump, and a restore creates them after their types and functions: {}": [
            cast.statement for cast in needs.casts
        ],
        "Publications are not in the dump: {}.": needs.publications,
        "Grants made by others than the owner are restored by a superuser only: {}.": needs.roles.grantors,
        "Only a superuser restores: {}.": needs.superuser_only,
    }
    warnings = [sentence.format(", ".join(names)) for sentence, names in sentences.items() if names]
    for trap in needs.search_path_traps:
        path = sql.SQL(", ").join(map(sql.Identifier, trap.schemas)).as_string(connection)
        warnings.append(
            f"A restore has no search path, and {trap.function}, which {', '.join(trap.used_by)} calls, names "
            f"{', '.join(trap.names)} without the schema. ALTER FUNCTION {trap.function} SET search_path = {path} "
            "mends it for later backups."
        )
    return warnings


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn psycopg's errors into ours (`failures.database_error`)."""
    try:
        yield
    except psycopg.Error as error:
        raise database_error(error) from error
