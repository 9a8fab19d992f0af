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

_RETRY_AFTER_SECONDS = 2


def transact[T](
    database: str,
    work: Callable[[psycopg.Connection], T],
    *,
    role: str = APP,
    again_on: tuple[type[psycopg.Error], ...] = (),
) -> T:
    """What `work` returns, done in one transaction on this process's kept connection: all of it is there, or nothing.

    It is called again after a deadlock, a serialization failure or an error of `again_on` (a unique violation, where
    a second look would tell whose); the last one is raised. A StowageError rolls back and is raised as it is;
    UnavailableError where locks or the statement's time ran out.
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


def _once[T](database: str, role: str, work: Callable[[psycopg.Connection], T]) -> T | StowageError:
    with borrowed(database, role) as connection:
        try:
            with connection.transaction():
                return work(connection)
        except StowageError as refusal:
            return refusal  # rolled back; raising it here would throw a good connection away


def _refusal(error: psycopg.Error) -> Exception:
    if isinstance(error, _BUSY):
        return UnavailableError(
            "Others are changing these records at the moment.", "database_busy", retry_after=_RETRY_AFTER_SECONDS
        )
    if isinstance(error, errors.UniqueViolation | errors.ForeignKeyViolation):
        return ConflictError("Somebody has changed these records at the same moment; look again.")
    return error
