"""Which schemas may be dumped together, asked of all at once: whatever spoils a dump of several spoils it for all, and
pg_dump does not say whose fault it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from stowage.postgres.session.held_tables import READING


@dataclass(frozen=True)
class Fit:
    """What a dump of this schema needs. `locks` are those that it takes in the server's table, beside ours.

    Not `fit`: its own preflight may refuse it. `held`: somebody holds one of its tables exclusively, or waits to.
    """

    fit: bool
    held: bool
    locks: int


# Wider than the rules of a dump's own preflight (`preflight`): who is wrongly unfit is dumped alone.
_FIT: LiteralString = """
    SELECT n.nspname,
           has_schema_privilege(n.oid, 'USAGE') AND coalesce(bool_and(
               CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                    WHEN c.relkind IN ('r', 'p')
                    THEN has_table_privilege(c.oid, 'SELECT') AND NOT (c.relrowsecurity AND row_security_active(c.oid))
                    ELSE true END), true)
           AND NOT coalesce(bool_or(outside.inhparent IS NOT NULL), false),
           count(c.oid) + count(c.oid) FILTER (WHERE c.relkind IN ('r', 'p'))
    FROM pg_namespace n
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'S', 'm', 'i', 'I')
    LEFT JOIN (
        SELECT DISTINCT i.inhparent FROM pg_inherits i
        JOIN pg_class child ON child.oid = i.inhrelid
        JOIN pg_class parent ON parent.oid = i.inhparent
        WHERE child.relnamespace <> parent.relnamespace
    ) AS outside ON outside.inhparent = c.oid
    WHERE n.nspname = ANY(%(schemas)s)
    GROUP BY n.oid, n.nspname
"""
_HELD: LiteralString = """
    SELECT DISTINCT n.nspname
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND n.nspname = ANY(%(schemas)s) AND l.mode = ANY(%(modes)s) AND l.pid <> pg_backend_pid()
"""
# The size of the server's table of locks (PostgreSQL documentation, "max_locks_per_transaction"), and
# how many are in it.
_ROOM: LiteralString = """
    SELECT current_setting('max_locks_per_transaction')::int
               * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int),
           (SELECT count(*) FROM pg_locks)
"""
SHARE_OF_LOCKS = 4
"""Dumps of several take a quarter of the table: at its end other sessions' statements fail."""


def fits(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> dict[str, Fit]:
    """Of each of the schemas that are there, whether it may be dumped with others now."""
    given = {"schemas": list(schemas), "modes": list(READING)}
    found = connection.execute(_FIT, given).fetchall()
    try:
        held = {schema for (schema,) in connection.execute(_HELD, given)}
    except psycopg.Error:
        if connection.closed:
            raise
        held = set()  # some servers keep their view of locks to themselves
    return {schema: Fit(fit, schema in held, locks) for schema, fit, locks in found}


def room_for_locks(connection: psycopg.Connection[Any]) -> int:
    """How many locks a dump of several may take now."""
    size, taken = connection.execute(_ROOM).fetchone() or (0, 0)
    return int(size) // SHARE_OF_LOCKS - int(taken)
