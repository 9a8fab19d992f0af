"""Which of a tenant's tables somebody holds, once a statement has waited for one in vain.

Postgres tells neither the table nor the row that a statement waited for. The locks that it shows
everybody tell the tables; where they tell none, it was a row.
"""

from collections.abc import Callable
from typing import LiteralString

import psycopg
from psycopg import errors

from stowage.basics.errors import UnavailableError
from stowage.postgres.session.connection import borrowed
from stowage_entities import DECLARED

READING = ("AccessExclusiveLock",)
WRITING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""The locks that keep a read or a write waiting (PostgreSQL documentation, "Table-Level Locks")."""

# Of those who wait too: who comes later waits behind them.
_HELD: LiteralString = """
SELECT DISTINCT relname::text FROM pg_locks
JOIN pg_class AS held ON held.oid = pg_locks.relation
JOIN pg_namespace AS space ON space.oid = held.relnamespace
JOIN pg_database AS here ON here.oid = pg_locks.database AND here.datname = current_database()
WHERE nspname = ANY(%(schemas)s) AND held.relkind IN ('r', 'p', 'm', 'f') AND mode = ANY(%(modes)s)
  AND pid <> pg_backend_pid()
ORDER BY 1
"""


def telling_held_tables[T](database: str, role: str, schema: str, modes: tuple[str, ...], ask: Callable[[], T]) -> T:
    """What `ask` gives; an UnavailableError that a lock has caused names the tables of the schema that are held."""
    try:
        return ask()
    except UnavailableError as error:
        if not isinstance(error.__cause__, errors.LockNotAvailable):
            raise
        with borrowed(database, role) as connection:
            told = told_of_held(connection, schema, modes)
        if told is None:
            raise
        sentence = f"{told}; nothing was changed."
        raise UnavailableError(sentence, error.code, retry_after=error.retry_after) from error.__cause__


def told_of_held(connection: psycopg.Connection, schema: str, modes: tuple[str, ...]) -> str | None:
    """Which tables of the schema are held at the moment, in words without a full stop; None where none is, or where
    the server does not tell (some keep their views of locks to themselves).
    """
    schemas = [schema, *{literal["schema"] for literal in DECLARED.values() if literal["schema"]}]
    try:
        found = connection.execute(_HELD, {"schemas": schemas, "modes": list(modes)}).fetchall()
    except psycopg.Error:
        return None
    if not found:
        return None
    held = " and ".join(name for (name,) in found)
    verb = "tables {} stay" if len(found) > 1 else "table {} stays"
    return f"The {verb.format(held)} locked at the moment"
