"""What would end a dump is told before it starts: a run that cannot succeed should fail in a
second, not after an hour.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.errors import MisconfiguredError, RunError
from stowage.postgres.session.row_security import refuse_hidden_rows

NAMED_RELATIONS = 5
"""How many relations a message names before it only counts."""


@dataclass(frozen=True)
class Preflight:
    """What was found: versions as they name themselves (`18.4`), and the number of relations that a
    dump will read.
    """

    server_version: str
    client_version: str
    relations: int


SERVER: LiteralString = """
    SELECT current_setting('server_version_num')::int / 10000 AS major, current_setting('server_version') AS version
"""
SCHEMA: LiteralString = """
    SELECT oid, has_schema_privilege(oid, 'USAGE') AS usable FROM pg_namespace WHERE nspname = %(schema)s
"""
# Tables with their partitions are read by COPY, which wants the privilege on the whole table;
# sequences are read one by one. Views, indexes and foreign tables are only described, an
# extension's own tables left out.
RELATIONS: LiteralString = """
    SELECT c.relname AS name,
           c.relkind = 'S' AS is_sequence,
           CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                ELSE has_table_privilege(c.oid, 'SELECT') END AS readable
    FROM pg_class c
    WHERE c.relnamespace = %(schema)s AND c.relkind IN ('r', 'p', 'S')
      AND NOT EXISTS (
          SELECT FROM pg_depend e JOIN pg_extension x ON x.oid = e.refobjid
          WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
            AND NOT c.oid = ANY (coalesce(x.extconfig, '{}')))
    ORDER BY c.relname
"""
# A schema's dump holds the tables of that schema alone: rows in a partition or child table
# elsewhere would be missing. Temporary children belong to somebody's session; a partition being
# detached is no part of its parent any more.
OUTSIDE_CHILDREN: LiteralString = """
    SELECT format('%%I.%%I', n.nspname, child.relname) AS child, parent.relname AS parent
    FROM pg_class parent
    JOIN pg_inherits i ON i.inhparent = parent.oid AND NOT i.inhdetachpending
    JOIN pg_class child ON child.oid = i.inhrelid
    JOIN pg_namespace n ON n.oid = child.relnamespace
    WHERE parent.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND parent.relkind IN ('r', 'p', 'f')
      AND child.relnamespace <> parent.relnamespace
      AND child.relpersistence <> 't'
    ORDER BY 1, 2
"""


def preflight(connection: psycopg.Connection[Any], schema: str, client_version: str) -> Preflight:
    """Check, as the role that will dump, that pg_dump of `client_version` can dump this schema
    whole.

    Raises RunError: `server_newer` (pg_dump refuses a server of a later major version),
    `schema_missing`, `permission_denied` (naming the relations), `outside_children` (see there),
    `row_level_security` (pg_dump would refuse rather than leave rows out).
    """
    with connection.cursor() as cursor:
        server_major, server_version = cursor.execute(SERVER).fetchone() or (0, "")
        if server_major > major(client_version):
            raise RunError(
                f"The server is version {server_version}, newer than pg_dump {client_version}, which refuses it.",
                "server_newer",
            )
        found = cursor.execute(SCHEMA, {"schema": schema}).fetchone()
        if found is None:
            raise RunError(f"There is no schema {schema}.", "schema_missing")
        oid, usable = found
        if not usable:
            raise RunError(f"The dump role may not use the schema {schema}.", "permission_denied")
        relations = cursor.execute(RELATIONS, {"schema": oid}).fetchall()
    must_hold_its_children(connection, schema)
    if unreadable := [name for name, _, readable in relations if not readable]:
        raise RunError(f"The dump role may not read {_some(unreadable)} in {schema}.", "permission_denied")
    refuse_hidden_rows(connection, schema)
    return Preflight(server_version, client_version, len(relations))


def must_hold_its_children(connection: psycopg.Connection[Any], schema: str) -> None:
    """RunError `outside_children` where partitions or inheritance children of the schema's tables
    lie in other schemas.
    """
    children = connection.execute(OUTSIDE_CHILDREN, {"schema": schema}).fetchall()
    if children:
        raise RunError(
            f"Rows of {schema} lie in partitions or child tables outside of it, which its dump would leave out: "
            f"{_some([f'{child} (of {parent})' for child, parent in children])}. "
            f"Move them, for example ALTER TABLE {children[0][0]} SET SCHEMA {sql.Identifier(schema).as_string()}.",
            "outside_children",
        )


SESSION: LiteralString = "SELECT pg_backend_pid(), pg_postmaster_start_time()"


def must_have_sessions(connection: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]]) -> None:
    """MisconfiguredError `shared_sessions` where another connection leads to this one's session: a pooler shares them.

    What pg_dump sets for its session would then hold for somebody else's statements, and not for its own.
    """
    with connect() as other:
        if other.execute(SESSION).fetchone() == connection.execute(SESSION).fetchone():
            raise MisconfiguredError(
                "The pooler in front of the database shares sessions between transactions, which pg_dump cannot use; "
                "the database's URL has to lead to the server itself or to a pool of whole sessions.",
                "shared_sessions",
            )


def must_exist(connection: psycopg.Connection[Any], schema: str) -> None:
    """RunError `schema_missing` where there is no schema of that name."""
    if connection.execute(SCHEMA, {"schema": schema}).fetchone() is None:
        raise RunError(f"There is no schema {schema}.", "schema_missing")


def major(version: str) -> int:
    """Give the major version of `18.4`, `19beta1`."""
    found = re.match(r"\d+", version)
    if not found:
        raise RunError(f"{version!r} is no version of pg_dump.", "pg_dump_missing")
    return int(found[0])


def _some(names: list[str]) -> str:
    more = len(names) - NAMED_RELATIONS
    return ", ".join(names[:NAMED_RELATIONS]) + (f" and {more} more" if more > 0 else "")
