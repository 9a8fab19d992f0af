"""Statements that may be refused without the transaction being lost."""

from collections.abc import Callable, Mapping
from typing import Any, LiteralString

import psycopg
from psycopg import Rollback, errors, sql

from stowage.errors import BadRequestError

# Ten thousand records and what becomes of them: with Postgres's own 4 MB they would go through temporary files.
_ROOM: LiteralString = "SET LOCAL work_mem = '32MB'"


def tried(
    connection: psycopg.Connection,
    statement: sql.Composed,
    parameters: Mapping[str, Any],
    is_whole: Callable[[tuple[Any, ...]], bool] = lambda _: True,
) -> tuple[Any, ...] | None:
    """A statement's one row; None where a rule of the database refuses. What is refused or not whole leaves nothing.

    BadRequestError where a value does not fit its column.
    """
    try:
        with connection.transaction() as savepoint:
            connection.execute(_ROOM)
            row: tuple[Any, ...] | None = connection.execute(statement, parameters).fetchone()
            assert row is not None, "an aggregate gives one row"
            if not is_whole(row):
                raise Rollback(savepoint)
    except (psycopg.IntegrityError, errors.RaiseException):  # the latter is a trigger's own refusal
        return None
    except psycopg.DataError as error:
        raise BadRequestError("A value does not fit its column in the database.", "invalid_value") from error
    return row
