"""The schemas that a restore makes beside a tenant's own: its copy, and what it replaced."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg
from psycopg import errors, sql

from stowage.basics.errors import RunError

COPY, KEPT, ASIDE = "stowage_copy_", "stowage_kept_", "stowage_aside_"


def copy_of(run_id: str) -> str:
    """The schema into which a run restores."""
    return COPY + run_id.replace("-", "")


def kept_by(run_id: str) -> str:
    """The schema that a run replaced, as it is kept."""
    return KEPT + run_id.replace("-", "")


def aside_of(run_id: str) -> str:
    """The name that the live schema has within the loading transaction, and nobody else ever sees."""
    return ASIDE + run_id.replace("-", "")


def beside(schema: str, included: Sequence[str]) -> dict[str, str]:
    """Where the included schemas lie beside that copy, kept or aside one, by their own names."""
    return {name: f"{schema}_{number}" for number, name in enumerate(included, 1)}


_FAMILY: LiteralString = "SELECT nspname FROM pg_namespace WHERE nspname ~ ('^' || %s || '(_[0-9]+)?$') ORDER BY 1"


def family(connection: psycopg.Connection, schema: str) -> list[str]:
    """A copy or a kept schema and those beside it, as far as they are there."""
    return [name for (name,) in connection.execute(_FAMILY, (schema,)).fetchall()]


_DROP = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE")


def drop_schema(connection: psycopg.Connection, schema: str) -> None:
    """Drop a copy or a kept schema, with those beside it, if it is there."""
    connection.execute("SET client_min_messages = warning")
    if found := family(connection, schema):
        connection.execute(_DROP.format(sql.SQL(", ").join(map(sql.Identifier, found))))


_TABLES: LiteralString = """
SELECT relname FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
  AND relkind IN ('r', 'p', 'm') ORDER BY 1
"""
_COUNT = sql.SQL("SELECT count(*) FROM ONLY {}")


def must_hold_rows(connection: psycopg.Connection, schema: str, rows: Mapping[str, int | None]) -> int:
    """Count the rows of a copy's tables against those that were counted when the backup was made; all of them.

    RunError `rows_differ` with names. A table whose own row-level security hides rows from everybody is not counted.
    """
    total, wrong = 0, []
    for table, expected in rows.items():
        if expected is None:
            continue
        try:
            found = connection.execute(_COUNT.format(sql.Identifier(schema, table))).fetchone()
        except errors.InsufficientPrivilege:
            continue
        except errors.UndefinedTable:
            found = (0,)
        count = int(found[0]) if found else 0
        total += count
        if count != expected:
            wrong.append(f"{count} of {expected} of {table}")
    if wrong:
        raise RunError(f"Not all rows came back: {', '.join(wrong[:5])}.", "rows_differ")
    return total


_ANALYZE = sql.SQL("ANALYZE {}")


def analyze(connection: psycopg.Connection, schema: str) -> int:
    """Give the planner the figures of a copy's tables; how many tables there are."""
    tables = [name for (name,) in connection.execute(_TABLES, (schema,)).fetchall()]
    for table in tables:
        connection.execute(_ANALYZE.format(sql.Identifier(schema, table)))
    return len(tables)


_GRANTEES: LiteralString = """
SELECT DISTINCT CASE WHEN grantee = 0 THEN NULL ELSE pg_get_userbyid(grantee)::text END
FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl)
WHERE nspname = %s AND grantee <> nspowner ORDER BY 1
"""
_REVOKE = sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}")


def close_to_others(connection: psycopg.Connection, schema: str) -> list[str]:
    """Take from everybody but its owner the right to use a schema; from whom.

    Nobody's statement can then fire a trigger of it, whose text may still name the live schema.
    """
    grantees = [name for (name,) in connection.execute(_GRANTEES, (schema,)).fetchall()]
    for name in grantees:
        role = sql.SQL("PUBLIC") if name is None else sql.Identifier(name)
        connection.execute(_REVOKE.format(sql.Identifier(schema), role))
    return [name or "PUBLIC" for name in grantees]
