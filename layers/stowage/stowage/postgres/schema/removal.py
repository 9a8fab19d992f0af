"""Takes away what Stowage has added to a database: its schemas, its roles and their rights, its columns.

Whatever is the product's stays: tenants' schemas, tables and rows, and the column that says what is deleted. Everything
goes in one transaction, or nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row

from stowage.basics.errors import StowageError

ROLES = ("stowage_owner", "stowage_app", "stowage_dump", "stowage_restore", "stowage_purge")
SCHEMAS = ("control_plane", "stowage")
COLUMNS = ("deleted_by", "purge_at", "deleted_operation", "deleted_with")
"""What versions before 0021_trash_entries added to tables with a trash, beside deleted_at."""


class RemovalError(StowageError):
    """Nothing was removed; the message says why."""

    code = "removal_refused"


@dataclass(frozen=True)
class Held:
    """What of Stowage is in a database. `tables` are the product's with columns of ours, as `schema.table`.

    `elsewhere` are other databases of the server in which the roles have something, so that they cannot go.
    `kept` are objects outside Stowage's schemas that belong to its roles.
    """

    roles: list[str]
    schemas: list[str]
    rights: int
    tables: list[str]
    elsewhere: list[str]
    kept: list[str]
    busy: list[str]


# Of objects in this database (PostgreSQL documentation, "pg_shdepend": a for rights, o for owners).
_HELD: LiteralString = """
WITH role AS MATERIALIZED (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY(%(roles)s)),
tied AS MATERIALIZED (
    SELECT shared.*, role.rolname FROM pg_shdepend AS shared JOIN role ON role.oid = shared.refobjid
    WHERE shared.refclassid = 'pg_authid'::regclass
),
here AS MATERIALIZED (SELECT * FROM tied WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())),
place AS MATERIALIZED (
    SELECT here.*, described.identity, described.type,
           split_part(described.identity, '.', 1) AS schema
    FROM here, LATERAL pg_identify_object(here.classid, here.objid, here.objsubid) AS described
)
SELECT ARRAY(SELECT rolname::text FROM role ORDER BY rolname) AS roles,
       ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspname = ANY(%(schemas)s) ORDER BY nspname) AS schemas,
       (SELECT count(DISTINCT (classid, objid)) FROM place
        WHERE deptype = 'a' AND schema <> ALL(%(schemas)s))::int AS rights,
       ARRAY(
           SELECT quote_ident(nspname) || '.' || quote_ident(relname)
           FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname <> ALL(%(schemas)s)
             AND %(columns)s <@ ARRAY(
                 SELECT attname::text FROM pg_attribute WHERE attrelid = pg_class.oid AND NOT attisdropped
             )
           ORDER BY 1
       ) AS tables,
       ARRAY(
           SELECT DISTINCT datname::text FROM tied JOIN pg_database ON pg_database.oid = dbid
           WHERE datname <> current_database() ORDER BY 1
       ) AS elsewhere,
       ARRAY(
           SELECT DISTINCT type || ' ' || identity || ' (of ' || rolname || ')' FROM place
           WHERE deptype = 'o' AND schema <> ALL(%(schemas)s) AND type <> 'default acl' ORDER BY 1
       ) AS kept,
       ARRAY(
           SELECT DISTINCT usename::text FROM pg_stat_activity
           WHERE usename = ANY(%(roles)s) AND datname = current_database() AND state <> 'idle' ORDER BY 1
       ) AS busy
"""
_IMPORTS: LiteralString = "SELECT count(*) FROM stowage.file_imports WHERE closed_at IS NULL"
_HAS_IMPORTS: LiteralString = "SELECT to_regclass('stowage.file_imports') IS NOT NULL"


def read_held(connection: psycopg.Connection) -> Held:
    """What of Stowage is in a database; changes nothing."""
    given = {"roles": list(ROLES), "schemas": list(SCHEMAS), "columns": list(COLUMNS)}
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        held = cursor.execute(_HELD, given).fetchone()
    assert held is not None, "a SELECT without FROM gives one row"
    return held


def describe(held: Held) -> Iterator[str]:
    """What would be removed, a line for each."""
    for schema in held.schemas:
        yield f"schema {schema}, with everything in it"
    if held.rights:
        yield f"rights of Stowage's roles on {held.rights:,} schemas, tables, sequences and defaults of yours"
    for table in held.tables:
        yield f"columns {', '.join(COLUMNS)} of {table}, with their indexes (deleted_at stays)"
    for role in held.roles:
        where = f" stays: it has rights in {', '.join(held.elsewhere)} too" if held.elsewhere else ""
        yield f"role {role}{where}"


def remove(connection: psycopg.Connection) -> Held:
    """Remove all of it, as the role that ran `roles`; what that was. In one transaction.

    RemovalError where Stowage still works there, owns something of the product's, something of the product's depends
    on its schemas, or the role that is logged in may not.
    """
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '10s'")
            held = read_held(connection)
            roles = [role for role in ROLES if role in held.roles]
            _refuse(connection, held)
            for owner, member in connection.execute(_MEMBERSHIPS, {"roles": roles}).fetchall():
                connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(owner), sql.Identifier(member)))
            joined = _become_member(connection, roles)
            for table in held.tables:
                dropped = sql.SQL(", ").join(sql.SQL("DROP COLUMN {}").format(sql.Identifier(name)) for name in COLUMNS)
                connection.execute(sql.SQL("ALTER TABLE {} {}").format(sql.SQL(table), dropped))
            if roles:
                named = sql.SQL(", ").join(map(sql.Identifier, roles))
                connection.execute(sql.SQL("DROP OWNED BY {}").format(named))
                if not held.elsewhere:
                    connection.execute(sql.SQL("DROP ROLE {}").format(named))
            for owner in joined:
                connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(owner)))
    except errors.DependentObjectsStillExist as error:
        told = (error.diag.message_detail or "").split("\n")[0]
        raise RemovalError(f"Nothing was removed: something of yours depends on Stowage's schemas. {told}") from error
    except (errors.InsufficientPrivilege, errors.LockNotAvailable) as error:
        raise RemovalError(f"Nothing was removed: {error.diag.message_primary}.") from error
    return held


_IS_SUPERUSER: LiteralString = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


# `grant --restore` made the role that restores a member of the product's owners.
_MEMBERSHIPS: LiteralString = """
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members
WHERE member = ANY(%(roles)s::regrole[]) AND roleid <> ALL(%(roles)s::regrole[])
  AND EXISTS (SELECT FROM pg_roles WHERE oid = roleid AND rolname <> 'rds_iam')
"""


# Who may take back the rights that Stowage's roles have been given, as far as the role that is logged in may not.
_OWNERS: LiteralString = """
SELECT DISTINCT pg_get_userbyid(owner) FROM (
    SELECT relowner AS owner FROM pg_class, pg_shdepend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
       AND dbid = %(database)s AND deptype = 'a' AND refobjid = ANY(%(roles)s::regrole[])
    UNION ALL
    SELECT nspowner FROM pg_namespace, pg_shdepend WHERE classid = 'pg_namespace'::regclass
       AND objid = pg_namespace.oid AND dbid = %(database)s AND deptype = 'a' AND refobjid = ANY(%(roles)s::regrole[])
    UNION ALL
    SELECT defaclrole FROM pg_default_acl, pg_shdepend WHERE classid = 'pg_default_acl'::regclass
       AND objid = pg_default_acl.oid AND dbid = %(database)s AND deptype = 'a'
       AND refobjid = ANY(%(roles)s::regrole[])
) AS held WHERE NOT pg_has_role(owner, 'USAGE') AND owner <> ALL(%(roles)s::regrole[]) ORDER BY 1
"""
_DATABASE: LiteralString = "SELECT oid FROM pg_database WHERE datname = current_database()"


def _become_member(connection: psycopg.Connection, roles: list[str]) -> list[str]:
    """Join Stowage's roles, whose members drop what they own, and the owners that gave them rights; these owners.

    The membership in Stowage's roles goes with them; that in the owners is given back.
    """
    if connection.execute(_IS_SUPERUSER).fetchone() == (True,):
        return []
    for role in roles:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    (database,) = connection.execute(_DATABASE).fetchone() or (0,)
    found = connection.execute(_OWNERS, {"database": database, "roles": roles}).fetchall()
    for [owner] in found:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(owner)))
        except errors.InsufficientPrivilege as error:
            raise RemovalError(
                f"Nothing was removed: {owner} gave Stowage's roles their rights, and {connection.info.user} is not a "
                f"member of it: GRANT {owner} TO {connection.info.user}, by a role that may, or log in as a superuser."
            ) from error
    return [owner for [owner] in found]


def _refuse(connection: psycopg.Connection, held: Held) -> None:
    if held.busy:
        raise RemovalError(
            f"Nothing was removed: {', '.join(held.busy)} work in this database at the moment. "
            "Take down what runs Stowage first."
        )
    if connection.execute(_HAS_IMPORTS).fetchone() == (True,):
        (count,) = connection.execute(_IMPORTS).fetchone() or (0,)
        if count:
            raise RemovalError(f"Nothing was removed: {count} imports of files have not ended; end or cancel them.")
    if held.kept:
        raise RemovalError(
            f"Nothing was removed: these belong to Stowage's roles; give them to an owner of yours first "
            f"(ALTER … OWNER TO): {', '.join(held.kept[:5])}{' …' if held.kept[5:] else ''}."
        )
