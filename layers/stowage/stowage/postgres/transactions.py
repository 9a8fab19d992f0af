"""A request's one transaction: begun, repeated where Postgres asks for it, and refused in our own words."""

from collections.abc import Callable

import psycopg
from psycopg import errors

from stowage.errors import ConflictError, StowageError, UnavailableError
from stowage.postgres.connection import APP, borrowed

_ATTEMPTS = 3
_AGAIN: tuple[type[psycopg.Error], ...] = (errors.DeadlockDetected, errors.SerializationFailure)
_BUSY = (*_AGAIN, errors.LockNotAvailable, errors.QueryCanceled)
retry_unique: tuple[type[psycopg.Error], ...] = (errors.UniqueViolation,)
"""For `again_on`: where a second look would tell whose record is in the way."""

# Connection exceptions, insufficient resources, operator intervention, system errors; and the answer of a server that
# has become a standby (PostgreSQL documentation, "PostgreSQL Error Codes").
_AWAY_CLASSES = ("08", "53", "57", "58")
_STANDBY = "25006"

_BUSY_SECONDS, _AWAY_SECONDS = 2, 5


def transact[T](
    database: str,
    work: Callable[[psycopg.Connection], T],
    *,
    role: str = APP,
    again_on: tuple[type[psycopg.Error], ...] = (),
) -> T:
    """What `work` returns, done in one transaction on this process's kept connection: all of it is there, or nothing.

    It is called again after a deadlock, a serialization failure or an error of `again_on` (a unique violation, where
    a second look would tell whose); the last one is raised. A StowageError rolls back and is raised as it is.
    UnavailableError where locks or the statement's time ran out, or the database is away. Nothing was changed then,
    unless the code is `outcome_unknown`: the connection was lost during the commit.
    """
    again: tuple[type[psycopg.Error], ...] = _AGAIN + again_on
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            outcome = _once(database, role, work)
        except psycopg.Error as error:
            if attempt == _ATTEMPTS or not isinstance(error, again):
                raise _refusal(error) from error
        else:
            if isinstance(outcome, StowageError):
                raise outcome
            return outcome
    raise AssertionError("every attempt returns or raises")


def look[T](database: str, work: Callable[[psycopg.Connection], T], *, role: str = APP) -> T:
    """What `work` reads, each statement by itself; UnavailableError as with `transact`."""
    with borrowed(database, role) as connection:
        try:
            return work(connection)
        except psycopg.Error as error:
            raise (_away() if connection.closed else _refusal(error)) from error


def _once[T](database: str, role: str, work: Callable[[psycopg.Connection], T]) -> T | StowageError:
    with borrowed(database, role) as connection:
        worked = False
        try:
            with connection.transaction() as transaction:
                outcome = work(connection)
                worked = True
        except StowageError as refusal:
            return refusal  # rolled back; raising it here would throw a good connection away
        except psycopg.Error as error:
            if not connection.closed:
                raise
            raise (_outcome_unknown() if worked else _away()) from error
        if transaction.status != transaction.Status.COMMITTED:
            raise _away()  # the connection was lost before the commit, which psycopg then leaves out without a word
        return outcome


def _refusal(error: psycopg.Error) -> Exception:
    if isinstance(error, _BUSY):
        return UnavailableError(
            "Others are changing these records at the moment.", "database_busy", retry_after=_BUSY_SECONDS
        )
    if isinstance(error, errors.UniqueViolation | errors.ForeignKeyViolation):
        return ConflictError("Somebody has changed these records at the same moment; look again.")
    state = error.sqlstate or ""
    if state.startswith(_AWAY_CLASSES) or state == _STANDBY:
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
