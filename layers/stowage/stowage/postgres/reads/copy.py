"""COPY … TO STDOUT as a stream of rows, fast enough that Postgres stays the limit.

psycopg's own iteration over a COPY costs about 2 µs a row, asking libpq in a tight loop 0.3 µs (psycopg's public `pq`).
"""

import contextlib
import re
import select
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.rows import scalar_row, tuple_row

from stowage.basics.errors import CancelledError, RunError, TransientRunError
from stowage.postgres.session.row_security import is_row_security, told_of

BATCH_BYTES = 128 * 1024
SILENCE_SECONDS = 0.5
CANCEL_SECONDS = 2.0
LOCK_SECONDS = 60.0
"""How long an export waits for a table that somebody holds exclusively."""

type Rows = Sequence[memoryview]
"""Rows as COPY formatted them, each with the line feed at its end."""

# The settings of the session that decide how values look as text, and those with which a role's time limits for short
# statements would end a long export. No compilation: it costs more than it saves, except for the largest exports.
_BEGIN = sql.SQL("""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL extra_float_digits = 1;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = {lock};
SET LOCAL idle_in_transaction_session_timeout = '10min';
SET LOCAL search_path = {schema}, public
""")

_NOW = sql.SQL("SELECT now()")
_COMMIT = sql.SQL("COMMIT")


class Snapshot:
    """A tenant's data at one moment: one transaction from which any number of COPYs read the same state.

    It owns the connection (in autocommit, not in a transaction). `rows` counts what was read so far. `schema` is the
    tenant's, for functions that find others by the search path.
    """

    def __init__(self, connection: psycopg.Connection, schema: str = "public") -> None:
        self.rows = 0
        self._schema = schema
        self._connection = connection
        self._begun = False
        self._closed = False

    def copy(self, statement: sql.Composable, name: str) -> Iterator[Rows]:
        """Run a `COPY … TO STDOUT` and give its rows in batches of about 128 KiB; none after half a second of silence.

        `name` says what is read, for errors: RunError where Postgres refuses for good, TransientRunError where the
        connection broke or the server had to stop us, CancelledError where `close` was called meanwhile.
        """
        text = statement.as_string(self._connection)
        try:
            self._begin()
            yield from self._read(text.encode())
        except psycopg.Error as error:
            raise self._failed(error, name, text) from error

    def began_at(self) -> datetime:
        """The moment of the snapshot by the server's clock, UTC; errors as in `copy`."""
        try:
            self._begin()
            with self._connection.cursor(row_factory=scalar_row) as cursor:
                moment = cursor.execute(_NOW).fetchone()
                assert isinstance(moment, datetime)
                return moment
        except psycopg.Error as error:
            raise self._failed(error, "the snapshot") from error

    def row(self, statement: sql.Composable, name: str) -> tuple[Any, ...]:
        """The one row of a statement over the snapshot, which is not counted; errors as in `copy`."""
        text = statement.as_string(self._connection)
        try:
            self._begin()
            with self._connection.cursor(row_factory=tuple_row) as cursor:
                found = cursor.execute(text.encode()).fetchone()
        except psycopg.Error as error:
            raise self._failed(error, name, text) from error
        assert found is not None, "an aggregate gives one row"
        return found

    def end(self) -> None:
        """End the transaction once all was read; TransientRunError where the connection has gone."""
        try:
            if self._begun:
                self._connection.execute(_COMMIT)
        except psycopg.Error as error:
            raise self._failed(error, "the snapshot") from error

    def close(self) -> None:
        """Cancel what runs and close the connection; at any time, also twice."""
        self._closed = True
        if self._connection.closed:
            return
        if self._connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            # Closing alone would leave a query that has nothing to send yet running on the server.
            with contextlib.suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=CANCEL_SECONDS)
        self._connection.close()

    def _begin(self) -> None:
        if not self._begun:
            lock = sql.Literal(f"{round(LOCK_SECONDS * 1000)}ms")
            self._connection.execute(_BEGIN.format(lock=lock, schema=sql.Identifier(self._schema)))
            self._begun = True

    def _read(self, statement: bytes) -> Iterator[Rows]:
        connection = self._connection.pgconn
        connection.send_query(statement)
        poll = select.poll()
        poll.register(connection.socket, select.POLLIN)
        while connection.is_busy():
            if not poll.poll(SILENCE_SECONDS * 1000):
                yield ()
            connection.consume_input()
        result = connection.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_OUT:
            raise _error_of(connection, result)

        get_row, rows, size = connection.get_copy_data, list[memoryview](), 0
        add = rows.append
        while True:
            length, row = get_row(1)
            if length > 0:
                add(row)
                size += length
                if size >= BATCH_BYTES:
                    self.rows += len(rows)
                    yield rows
                    rows = []
                    add, size = rows.append, 0
            elif length == 0:
                if not poll.poll(SILENCE_SECONDS * 1000):
                    yield ()
                    if self._closed:
                        raise CancelledError("The export was stopped.")
                connection.consume_input()
            else:
                break
        self._check_end(connection)
        self.rows += len(rows)
        yield rows

    def _check_end(self, connection: pq.abc.PGconn) -> None:
        """A COPY is whole only if the server says so after its last row."""
        while (result := connection.get_result()) is not None:
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise _error_of(connection, result)
        if connection.status != pq.ConnStatus.OK:
            raise _error_of(connection, None)

    def _failed(self, error: psycopg.Error, name: str, statement: str = "") -> RunError | CancelledError:
        if self._closed:
            return CancelledError("The export was stopped.")
        return told_of(self._connection, error) if is_row_security(error) else failed(error, name, statement)


_TABLE = re.compile(r'"(?:[^"]|"")+"\."((?:[^"]|"")+)"')


def failed(error: psycopg.Error, name: str, statement: str) -> RunError:
    """Our error for one of Postgres's, by its SQLSTATE (PostgreSQL documentation, Appendix A), without its message.

    A statement on `name` may read other tables too. Postgres says at which place of it a lock was waited for, but for
    tables that the statement does not name itself: those of a view, partitions.
    """
    sqlstate = error.sqlstate
    match sqlstate:
        case "42501":
            return RunError(f"The database role may not read {name}.", "permission_denied")
        case "42P01" | "3F000":
            return RunError(f"The database has no table for {name}; are the migrations applied?", "table_missing")
        case "42703":
            return RunError(f"The table of {name} lacks a column; are the migrations applied?", "column_missing")
        case "22P02" | "22007" | "22008":
            return RunError(f"A filter's value does not fit its column in {name}.", "invalid_filter")
        case "22P05":
            return RunError(
                "A filter's value holds a character that the tenant's database does not have in its encoding.",
                "invalid_filter",
            )
        case "22021":
            return RunError(
                f"{name} holds bytes that are no UTF-8, which the file would have to be. A backup keeps them.",
                "not_utf8",
            )
        case "54000":
            return _too_large(name)
        case "XX000" if "invalid memory alloc request size" in (error.diag.message_primary or ""):
            return _too_large(name)
        case "55P03":
            place = int(error.diag.statement_position or 0)
            table = _TABLE.match(statement, place - 1) if place else None
            locked = f"The table {table[1].replace('""', '"')}" if table else f"A table that {name} are read from"
            return TransientRunError(f"{locked} stayed locked.", "lock_timeout", retry_after=5)
        case None:
            return TransientRunError(f"The connection to the database was cut while reading {name}.")
    if sqlstate[:2] in ("08", "40", "53", "57", "58") or sqlstate in ("25P03", "25P04"):
        return TransientRunError(f"The database stopped the export while reading {name} (SQLSTATE {sqlstate}).")
    return RunError(f"The database could not give {name} (SQLSTATE {sqlstate}).", "export_refused")


def _too_large(name: str) -> RunError:
    return RunError(f"A row of {name} is larger than Postgres can write out, which is 1 GB as text.", "value_too_large")


def _error_of(connection: pq.abc.PGconn, result: pq.abc.PGresult | None) -> psycopg.Error:
    """What psycopg would raise for a result, the last of its statement; without one, the connection was cut."""
    while connection.get_result() is not None:
        pass
    return psycopg.errors.error_from_result(result) if result else psycopg.OperationalError()
