"""A request's one transaction: begun, repeated where Postgres asks for it, and refused in our own words."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString

import psycopg
from psycopg import errors

from stowage.basics.errors import BadRequestError, ConflictError, MisconfiguredError, StowageError, UnavailableError
from stowage.postgres.session.connection import APP, borrowed
from stowage.postgres.session.disagreements import as_tables_are
from stowage.postgres.session.held_tables import READING, WRITING, telling_held_tables
from stowage.postgres.session.own_rules import rules_in_the_way
from stowage.postgres.session.row_security import is_row_security, told_of
from stowage.postgres.session.violations import violation_of

_ATTEMPTS = 3
_AGAIN: tuple[type[psycopg.Error], ...] = (errors.DeadlockDetected, errors.SerializationFailure)
_BUSY = (*_AGAIN, errors.LockNotAvailable)
retry_unique: tuple[type[psycopg.Error], ...] = (errors.UniqueViolation,)
"""For `again_on`: where a second look would tell whose record is in the way."""

# Connection exceptions, insufficient resources, operator intervention, system errors; and what a server answers that is
# read-only, a standby too (PostgreSQL documentation, "PostgreSQL Error Codes").
_AWAY_CLASSES = ("08", "53", "57", "58")
_READ_ONLY = "25006"

_BUSY_SECONDS, _AWAY_SECONDS = 2, 5

REQUEST_SECONDS = 26.0
"""For a request's whole transaction, within its function's 29 s: the roles' limits are of one statement."""
_CANCELLED_AGAIN_SECONDS = 0.5


def transact[T](
    database: str,
    work: Callable[[psycopg.Connection], T],
    *,
    schema: str | None = None,
    role: str = APP,
    again_on: tuple[type[psycopg.Error], ...] = (),
    seconds: float = REQUEST_SECONDS,
) -> T:
    """What `work` returns, done in one transaction on this process's kept connection: all of it is there, or nothing.

    `schema`: the tenant's, where `work` needs declared tables; those that are absent or differ are told as
    `as_tables_are` says, and rules of theirs (CREATE RULE) by which Postgres cannot do the work as
    `rules_in_the_way`.
    It is called again after a deadlock, a serialization failure or an error of `again_on` (a unique violation, where
    a second look would tell whose); the last one is raised. A StowageError rolls back and is raised as it is.
    ConflictError that names the rule where one of the table's refuses. UnavailableError where locks (it names the held
    tables of `schema`) or the time (`seconds` for all attempts) ran out, or the database is away. Nothing was changed
    then, unless the code is `outcome_unknown`: the connection was lost during the commit.
    """
    if schema is not None:

        def ask() -> T:
            return transact(database, work, role=role, again_on=again_on, seconds=seconds)

        try:
            return telling_held_tables(
                database, role, schema, WRITING, lambda: as_tables_are(database, role, schema, ask)
            )
        except errors.FeatureNotSupported as error:
            with borrowed(database, role) as connection:
                raise rules_in_the_way(connection, schema) or error from error
    again: tuple[type[psycopg.Error], ...] = _AGAIN + again_on
    deadline = time.monotonic() + seconds
    for attempt in range(1, _ATTEMPTS + 1):
        left = max(0.0, deadline - time.monotonic())
        try:
            outcome = _once(database, role, work, left)
        except psycopg.Error as error:
            if attempt == _ATTEMPTS or not isinstance(error, again):
                raise _refusal(error) from error
        else:
            if isinstance(outcome, StowageError):
                raise outcome
            return outcome
    raise AssertionError("every attempt returns or raises")


_PATIENCE: LiteralString = """
SELECT set_config('lock_timeout', %(wait)s, true), set_config('statement_timeout', '0', true)
"""


def look[T](
    database: str,
    work: Callable[[psycopg.Connection], T],
    *,
    schema: str | None = None,
    role: str = APP,
    lock_seconds: float | None = None,
) -> T:
    """What `work` reads, each statement by itself; `schema` and UnavailableError as with `transact`.

    `lock_seconds` bounds a statement's wait for somebody's exclusive lock, which else the role's own limits do;
    all is then one transaction.
    """
    if schema is not None:

        def ask() -> T:
            return look(database, work, role=role, lock_seconds=lock_seconds)

        return telling_held_tables(database, role, schema, READING, lambda: as_tables_are(database, role, schema, ask))
    with borrowed(database, role) as connection:
        try:
            if lock_seconds is None:
                return work(connection)
            with connection.transaction():
                connection.execute(_PATIENCE, {"wait": f"{round(lock_seconds * 1000)}ms"})
                return work(connection)
        except psycopg.Error as error:
            raise (_away() if connection.closed else _refusal(error, connection)) from error


def _once[T](database: str, role: str, work: Callable[[psycopg.Connection], T], seconds: float) -> T | StowageError:
    with borrowed(database, role) as connection, _cancelled_after(connection, seconds):
        worked = False
        try:
            with connection.transaction() as transaction:
                outcome = work(connection)
                worked = True
        except StowageError as refusal:
            return refusal  # rolled back; raising it here would throw a good connection away
        except psycopg.Error as error:
            if not connection.closed:
                if is_row_security(error):
                    return told_of(connection, error)
                raise
            raise (_outcome_unknown() if worked else _away()) from error
        if transaction.status != transaction.Status.COMMITTED:
            raise _away()  # the connection was lost before the commit, which psycopg then leaves out without a word
        return outcome


@contextmanager
def _cancelled_after(connection: psycopg.Connection, seconds: float) -> Iterator[None]:
    """Cancel whatever statement runs on a connection when the time is over, and those after it."""
    done, late = threading.Event(), False

    def watch() -> None:
        nonlocal late
        wait = seconds
        while not done.wait(wait):
            late, wait = True, _CANCELLED_AGAIN_SECONDS
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=2)

    watcher = threading.Thread(target=watch, name="deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if late:
            connection.close()  # so that no cancellation reaches a later request


def _refusal(error: psycopg.Error, connection: psycopg.Connection | None = None) -> Exception:
    if connection and is_row_security(error):
        return told_of(connection, error)
    if isinstance(error, errors.InsufficientPrivilege):
        return MisconfiguredError(
            "Stowage's role lacks a privilege in the tenant's schema; `python -m stowage.postgres grant` gives it.",
            "permission_denied",
        )
    if isinstance(error, errors.QueryCanceled):
        return UnavailableError(
            "This took longer than it may; nothing was changed.", "database_busy", retry_after=_BUSY_SECONDS
        )
    if isinstance(error, _BUSY):
        return UnavailableError(
            "Others are changing these records at the moment.", "database_busy", retry_after=_BUSY_SECONDS
        )
    if isinstance(error, errors.UntranslatableCharacter):
        return BadRequestError("The tenant's database has no such character in its encoding.", "character_not_held")
    if isinstance(error, errors.CharacterNotInRepertoire):
        return MisconfiguredError("The tenant's database holds bytes that are no UTF-8 here.", "not_utf8")
    if connection and isinstance(error, psycopg.DataError):
        return error  # no rule refuses a read: a column is not of the declared type
    if violation := violation_of(error):
        code = "not_allowed" if violation.code == "invalid" else "conflict"
        return ConflictError(f"{violation.sentence} Nothing was changed.", code)
    state = error.sqlstate or ""
    if state == _READ_ONLY:
        return UnavailableError(
            "The database is read-only at the moment; nothing was changed.",
            "database_unavailable",
            retry_after=_AWAY_SECONDS,
        )
    if state.startswith(_AWAY_CLASSES):
        return _away()
    return error


def _away() -> UnavailableError:
    return UnavailableError(
        "The database is away or has no room at the moment; nothing was changed.",
        "database_unavailable",
        retry_after=_AWAY_SECONDS,
    )


def _outcome_unknown() -> UnavailableError:
    return UnavailableError(
        "The connection to the database was lost while the change was being saved: it may be there or not. "
        "Repeat the request with the same Idempotency-Key if it had one; else look first.",
        "outcome_unknown",
        retry_after=_AWAY_SECONDS,
    )
