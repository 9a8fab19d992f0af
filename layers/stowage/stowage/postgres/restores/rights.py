"""What `stowage_restore` may do: a restore makes objects that belong to a tenant's owners, so it has to be a member of
each of them; a trial restore makes a database (docs/restore.md).
"""

from collections.abc import Iterable
from typing import LiteralString

import psycopg
from psycopg import errors, sql

from stowage.basics.errors import StowageError
from stowage.postgres.dumps.needs import ROLES, SEARCH_PATH, parameters_of
from stowage.postgres.session.connection import RESTORE


class RestoreGrantError(StowageError):
    """Nothing was granted; the message says why, and what helps."""

    code = "grant_refused"


_SERVER: LiteralString = """
SELECT current_setting('server_version_num')::int, to_regrole('stowage_restore') IS NOT NULL,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)
"""

# Without INHERIT: "must be owner of schema"; without SET: "must be able to SET ROLE". Before 16 a membership is both.
_MISSING: LiteralString = """
SELECT rolname::text FROM pg_roles
WHERE rolname = ANY(%(owners)s) AND rolname <> %(role)s
  AND NOT (pg_has_role(%(role)s, oid, 'USAGE') AND pg_has_role(%(role)s, oid, {set}))
ORDER BY 1
"""


def owners_of(connection: psycopg.Connection, schema: str) -> list[str]:
    """Whom the objects of a schema belong to, and whose later objects have default privileges there."""
    with connection.transaction():
        connection.execute(SEARCH_PATH)
        rows = connection.execute(ROLES, parameters_of({schema: [schema]})).fetchall()
    found: dict[str, list[str]] = {kind: roles for _, kind, roles in rows}
    return sorted({*found.get("owners", ()), *found.get("default_privileges", ())})


def missing_memberships(connection: psycopg.Connection, owners: Iterable[str]) -> list[str]:
    """Those of these roles which exist and as which `stowage_restore` may not act."""
    # As RDS's newest and its older servers say it: the privilege SET of a role is of Postgres 16.
    right = sql.Literal("SET" if connection.info.server_version >= 160000 else "MEMBER")
    given = {"owners": list(owners), "role": RESTORE}
    return [name for (name,) in connection.execute(sql.SQL(_MISSING).format(set=right), given).fetchall()]


_MAY: LiteralString = """
SELECT has_database_privilege(%s, current_database(), 'CREATE'), rolcreatedb OR rolsuper
FROM pg_roles WHERE rolname = %s
"""


def may_create_schemas(connection: psycopg.Connection) -> bool:
    """Whether `stowage_restore` may make schemas in this database."""
    return _may(connection)[0]


def may_create_databases(connection: psycopg.Connection) -> bool:
    """Whether `stowage_restore` may make databases on this server."""
    return _may(connection)[1]


def _may(connection: psycopg.Connection) -> tuple[bool, bool]:
    found = connection.execute(_MAY, (RESTORE, RESTORE)).fetchone()
    return (bool(found[0]), bool(found[1])) if found else (False, False)


def grant_restore(connection: psycopg.Connection, schema: str) -> list[str]:
    """Let `stowage_restore` restore a tenant's schema; what was granted, as statements.

    The role that is logged in may grant the schema's owners: the server's master where it made them. All or nothing.
    RestoreGrantError where it may not, or where Postgres cannot: from version 16 on, whoever made `stowage_restore` is
    a member of it, and a role cannot be a member of its own member.
    """
    version, has_role, has_schema = connection.execute(_SERVER, (schema,)).fetchone() or (0, False, False)
    if not has_role:
        raise RestoreGrantError("There is no role stowage_restore: run `roles` as the server's master first.")
    if not has_schema:
        raise RestoreGrantError(f"Nothing was granted: there is no schema {schema}.")
    missing = missing_memberships(connection, owners_of(connection, schema))
    _refuse_powerful(connection, missing)
    _refuse_circles(connection, missing)
    options = sql.SQL(" WITH INHERIT TRUE, SET TRUE" if version >= 160000 else "")
    statements = [
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner), sql.Identifier(RESTORE)) + options for owner in missing
    ]
    if not may_create_schemas(connection):
        database = sql.Identifier(connection.info.dbname)
        statements.append(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, sql.Identifier(RESTORE)))
    if not may_create_databases(connection):
        statements.append(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(RESTORE)))
    with connection.transaction():
        for statement in statements:
            _grant(connection, statement)
    return [statement.as_string(connection) for statement in statements]


_CIRCLES: LiteralString = """
SELECT rolname::text FROM pg_roles
WHERE rolname = ANY(%s) AND NOT rolsuper AND pg_has_role(oid, %s, 'MEMBER') ORDER BY 1
"""


_POWERFUL: LiteralString = """
SELECT rolname::text FROM pg_roles
WHERE rolname = ANY(%s) AND (rolsuper OR rolname ~ '^(pg|rds)_|^rdsadmin$')
ORDER BY 1
"""


def _refuse_powerful(connection: psycopg.Connection, owners: list[str]) -> None:
    """A member of a superuser could be one."""
    found = [name for (name,) in connection.execute(_POWERFUL, (owners,)).fetchall()]
    if found:
        raise RestoreGrantError(
            f"Nothing was granted: {', '.join(found)} may do anything on this server, and stowage_restore would too. "
            "Give the schema and its objects to a role of their own (docs/restore.md, Rights)."
        )


def _refuse_circles(connection: psycopg.Connection, owners: list[str]) -> None:
    found = [name for (name,) in connection.execute(_CIRCLES, (owners, RESTORE)).fetchall()]
    if found:
        raise RestoreGrantError(
            f"Nothing was granted: {', '.join(found)} is a member of stowage_restore, as whoever makes a role is since "
            "Postgres 16, so stowage_restore cannot become its member. Give the schema and its objects to a role of "
            "their own (docs/restore.md, Rights)."
        )


def _grant(connection: psycopg.Connection, statement: sql.Composed) -> None:
    told = statement.as_string(connection)
    try:
        connection.execute(statement)
    except errors.InsufficientPrivilege as error:
        reason = " ".join(filter(None, (error.diag.message_primary, error.diag.message_detail)))
        raise RestoreGrantError(
            f"Nothing was granted: {told}: {reason} Run this as the server's master, or let a role that may say it."
        ) from error
