"""What would end a dump is told before it starts: a run that cannot succeed should fail in a
second, not after an hour.
"""

import re
from collections.abc import Callable, Mapping, Sequence
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
    WITH ours (grp, oid) AS MATERIALIZED (
        SELECT given.grp, n.oid FROM unnest(%(groups)s::text[], %(schemas)s::text[]) AS given (grp, schema)
        JOIN pg_namespace n ON n.nspname = given.schema
    )
    SELECT ours.grp, format('%%I.%%I', n.nspname, child.relname) AS child, parent.relname AS parent
    FROM pg_class parent
    JOIN ours ON ours.oid = parent.relnamespace
    JOIN pg_inherits i ON i.inhparent = parent.oid AND NOT i.inhdetachpending
    JOIN pg_class child ON child.oid = i.inhrelid
    JOIN pg_namespace n ON n.oid = child.relnamespace
    WHERE parent.relkind IN ('r', 'p', 'f')
      AND (ours.grp, n.oid) NOT IN (SELECT grp, oid FROM ours)
      AND child.relpersistence <> 't'
    ORDER BY 1, 2, 3
"""
# What a tenant has dumped along is its own: partitions and children of its tables, theirs, and the
# sequences and indexes of these. A child that also has a parent elsewhere holds rows of that one.
NOT_THE_TENANTS: LiteralString = """
    WITH RECURSIVE own (oid) AS (
        SELECT oid FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s) AND relkind IN ('r', 'p', 'f')
        UNION
        SELECT i.inhrelid FROM own JOIN pg_inherits i ON i.inhparent = own.oid AND NOT i.inhdetachpending
    )
    SELECT format('%%I.%%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%(included)s) AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
      AND (c.oid NOT IN (SELECT oid FROM own)
           OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent NOT IN (SELECT oid FROM own)))
      AND NOT (c.relkind = 'S' AND EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
            AND d.deptype IN ('a', 'i') AND d.refobjid IN (SELECT oid FROM own)))
    ORDER BY 1
"""
HAS_TABLES: LiteralString = """
    SELECT EXISTS (SELECT FROM pg_class WHERE relkind IN ('r', 'p', 'f')
                   AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s))
"""


def preflight(
    connection: psycopg.Connection[Any], schema: str, client_version: str, included: Sequence[str] = ()
) -> Preflight:
    """Check, as the role that will dump, that pg_dump of `client_version` can dump this schema
    whole, with those that are included.

    Raises RunError: `server_newer` (pg_dump refuses a server of a later major version),
    `schema_missing`, `permission_denied` (naming the relations), `outside_children` and
    `foreign_tables` (see there), `row_level_security` (pg_dump would refuse rather than leave rows
    out).
    """
    with connection.cursor() as cursor:
        server_major, server_version = cursor.execute(SERVER).fetchone() or (0, "")
        if server_major > major(client_version):
            raise RunError(
                f"The server is version {server_version}, newer than pg_dump {client_version}, which refuses it.",
                "server_newer",
            )
        readables = {each: _relations(cursor, each) for each in (schema, *included)}
    must_be_the_tenants(connection, schema, included)
    for each in included:
        if connection.execute(HAS_TABLES, (each,)).fetchone() != (True,):
            raise RunError(f"{each} holds no partition or child table of {schema}.", "foreign_tables")
    must_hold_their_children(connection, {schema: [schema, *included]})
    for each, relations in readables.items():
        if unreadable := [name for name, _, readable in relations if not readable]:
            raise RunError(f"The dump role may not read {_some(unreadable)} in {each}.", "permission_denied")
        refuse_hidden_rows(connection, each)
    return Preflight(server_version, client_version, sum(map(len, readables.values())))


def _relations(cursor: psycopg.Cursor[Any], schema: str) -> list[Any]:
    found = cursor.execute(SCHEMA, {"schema": schema}).fetchone()
    if found is None:
        raise RunError(f"There is no schema {schema}.", "schema_missing")
    oid, usable = found
    if not usable:
        raise RunError(f"The dump role may not use the schema {schema}.", "permission_denied")
    return cursor.execute(RELATIONS, {"schema": oid}).fetchall()


def must_hold_their_children(connection: psycopg.Connection[Any], groups: Mapping[str, Sequence[str]]) -> None:
    """RunError `outside_children` where partitions or inheritance children of the tables of a tenant's
    schemas (`needs.Groups`) lie in still others.
    """
    pairs = [(group, schema) for group, schemas in groups.items() for schema in schemas]
    given = {"groups": [group for group, _ in pairs], "schemas": [schema for _, schema in pairs]}
    found = connection.execute(OUTSIDE_CHILDREN, given).fetchall()
    if found:
        schema = found[0][0]
        children = [(child, parent) for group, child, parent in found if group == schema]
        raise RunError(
            f"Rows of {schema} lie in partitions or child tables outside of it, which its dump would leave out: "
            f"{_some([f'{child} (of {parent})' for child, parent in children])}. "
            "Name their schemas in include_schemas of the tenant's backup settings, or move them, "
            f"for example ALTER TABLE {children[0][0]} SET SCHEMA {sql.Identifier(schema).as_string()}.",
            "outside_children",
        )


def must_be_the_tenants(connection: psycopg.Connection[Any], schema: str, included: Sequence[str]) -> None:
    """RunError `foreign_tables` where an included schema holds anything but partitions and children
    of the tenant's tables.
    """
    if not included:
        return
    given = {"schema": schema, "included": list(included)}
    foreign = [name for (name,) in connection.execute(NOT_THE_TENANTS, given).fetchall()]
    if foreign:
        raise RunError(
            f"A schema that is dumped along holds more than partitions and child tables of {schema}: "
            f"{_some(foreign)}. Move these, or take their schema out of include_schemas.",
            "foreign_tables",
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
