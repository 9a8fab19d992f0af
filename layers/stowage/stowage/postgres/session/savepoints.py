"""Statements that may be refused without the transaction being lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import Rollback, sql

from stowage.postgres.session.violations import Violation, violation_of

__all__ = ["Refused", "Rollback", "refusal", "tried"]


@dataclass(frozen=True)
class Refused:
    """Why Postgres took none of some records: its SQLSTATE (PostgreSQL documentation, Appendix A), those of them that
    are known to be at fault, counted from 1, and which rule it was, where that is known.
    """

    sqlstate: str
    numbers: tuple[int, ...] = ()
    violation: Violation | None = None


# A rule that waits for the commit could not be told of any one record there. Each text is one message to the server.
_TRY: LiteralString = "SAVEPOINT tried; SET CONSTRAINTS ALL IMMEDIATE"
_KEEP: LiteralString = "RELEASE SAVEPOINT tried"
_UNDO: LiteralString = "ROLLBACK TO SAVEPOINT tried; RELEASE SAVEPOINT tried"


def tried(
    connection: psycopg.Connection,
    statement: sql.Composed,
    parameters: Mapping[str, Any],
    is_whole: Callable[[tuple[Any, ...]], bool] = lambda _: True,
    *,
    strictly: Callable[[], sql.Composed] | None = None,
) -> tuple[Any, ...] | Refused:
    """A statement's one row, or why the database refused. What is refused or not whole leaves nothing.

    The connection is in a transaction. `strictly` gives the same statement without ON CONFLICT, which Postgres does not
    take where a unique rule of the table is deferrable (PostgreSQL documentation, "INSERT").
    """
    connection.execute(_TRY)
    try:
        row: tuple[Any, ...] | None = connection.execute(statement, parameters).fetchone()
    except psycopg.DatabaseError as error:
        refused = refusal(error)
        if strictly and isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute(_UNDO)
            return tried(connection, strictly(), parameters, is_whole)
        if refused is None:
            raise
        connection.execute(_UNDO)
        return refused
    assert row is not None, "an aggregate gives one row"
    connection.execute(_KEEP if is_whole(row) else _UNDO)
    return row


def refusal(error: psycopg.DatabaseError) -> Refused | None:
    """What an error says of the records that were given, None where it is about something else."""
    violation = violation_of(error)
    return Refused(error.sqlstate or "", (), violation) if violation else None
