"""What would end a restore, or make it less than what was backed up, is told with names before anything is done."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.errors import RunError
from stowage.postgres.dumps.contents import DumpContents
from stowage.postgres.dumps.needs import OURS, parameters_of
from stowage.postgres.dumps.portable import ALWAYS_THERE
from stowage.postgres.dumps.preflight import major, must_be_the_tenants
from stowage.postgres.restores.copies import family
from stowage.postgres.restores.rights import (
    may_create_databases,
    may_create_schemas,
    missing_memberships,
    owners_of,
)

NAMED = 10
"""How many things a message names before it only counts."""

_SERVER: LiteralString = """
SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), pg_is_in_recovery()
"""
_HAS_SCHEMA: LiteralString = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
_EXTENSIONS: LiteralString = """
SELECT extname, nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
"""
_MISSING_ROLES: LiteralString = """
SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY 1
"""
_MISSING_TABLES: LiteralString = (
    "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL ORDER BY 1"
)
_TABLE_TYPES = ("table", "view", "materialized view", "foreign table", "sequence")


def has_schema(connection: psycopg.Connection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    return connection.execute(_HAS_SCHEMA, (schema,)).fetchone() == (True,)


def must_be_restorable(connection: psycopg.Connection, contents: DumpContents) -> None:
    """Check that a dump with these contents can be restored here exactly, in a schema of whatever name.

    RunError, all with names: `server_older`, `read_only`, `extensions_missing`, `extension_within`, `roles_missing`,
    `foreign_grantors`, `references_missing`, `not_configured`.
    """
    _must_be_a_fit_server(connection, contents)
    _must_have_extensions(connection, contents)
    _must_have_roles(connection, contents)
    tables = sorted({each.target for each in contents.references if each.target_type in _TABLE_TYPES})
    gone = [name for (name,) in connection.execute(_MISSING_TABLES, (tables,)).fetchall()]
    if gone:
        raise RunError(
            _told(
                gone,
                "The backup needs tables of other schemas that are not there: {}.",
            ),
            "references_missing",
        )
    must_have_rights(connection, _owners(contents))


_UNTRUSTED: LiteralString = """
SELECT needed FROM unnest(%s::text[]) AS needed WHERE NOT EXISTS (
    SELECT FROM pg_available_extension_versions WHERE name = needed AND (trusted OR NOT superuser)) ORDER BY 1
"""


def must_be_triable(connection: psycopg.Connection, contents: DumpContents) -> None:
    """Check that a dump with these contents can be restored on this server exactly, in an empty database of its own.

    RunError, all with names: `server_older`, `read_only`, `roles_missing`, `foreign_grantors`, `trial_impossible`
    where an empty database lacks what the dump needs, `not_configured`.
    """
    _must_be_a_fit_server(connection, contents)
    _must_have_roles(connection, contents)
    extensions = [each.name for each in contents.extensions if each.name not in ALWAYS_THERE]
    untrusted = connection.execute(_UNTRUSTED, (extensions,)).fetchall()
    lacking = [
        *sorted({each.target for each in contents.references}),
        *contents.text_search,
        *(each for each in contents.collations if not each.startswith("pg_catalog.")),
        *(f"the extension {name}" for (name,) in untrusted),
        *contents.superuser_only,
    ]
    if lacking:
        raise RunError(
            _told(
                lacking,
                "A trial restore takes place in an empty database, by a role that is no superuser, which cannot have "
                "what the backup needs: {}. Level 2 verifies it.",
            ),
            "trial_impossible",
        )
    _must_act_as(connection, _owners(contents))
    if not may_create_databases(connection):
        raise RunError(
            "stowage_restore may not make databases on this server: `python -m stowage.postgres grant SCHEMA "
            "--restore` gives it that, or VerifyDatabaseUrl names another server for trial restores (docs/restore.md).",
            "not_configured",
        )


def _owners(contents: DumpContents) -> set[str]:
    return {*contents.roles.owners, *contents.roles.default_privileges}


def _must_be_a_fit_server(connection: psycopg.Connection, contents: DumpContents) -> None:
    number, version, is_standby = connection.execute(_SERVER).fetchone() or (0, "", True)
    if is_standby:
        raise RunError("The database is a hot standby, which takes no restore.", "read_only")
    if number < major(contents.server_version):
        raise RunError(
            f"The server is version {version}, older than the {contents.server_version} that was backed up.",
            "server_older",
        )


def _must_have_roles(connection: psycopg.Connection, contents: DumpContents) -> None:
    roles = contents.roles
    named = {*roles.owners, *roles.grantees, *roles.default_privileges, *roles.policies}
    missing = [name for (name,) in connection.execute(_MISSING_ROLES, (sorted(named),)).fetchall()]
    if missing:
        raise RunError(
            _told(
                missing,
                "The backup names roles that are not there: {}. Create them first.",
            ),
            "roles_missing",
        )
    if roles.grantors:
        raise RunError(
            _told(
                roles.grantors,
                "Some grants were made by others than the owner, which only a superuser restores: by {}. "
                "Restore it by hand (docs/restore.md).",
            ),
            "foreign_grantors",
        )


def _must_have_extensions(connection: psycopg.Connection, contents: DumpContents) -> None:
    there: dict[str, str] = dict(connection.execute(_EXTENSIONS).fetchall())
    needed = [each for each in contents.extensions if each.name not in ALWAYS_THERE]
    within = [each.name for each in needed if each.schema_name in contents.counts]
    if within:
        raise RunError(
            _told(
                within,
                "Extensions stand in the schema itself, and a database has each only once: {}. Move them into a schema "
                "of their own, or restore into another database by hand (docs/restore.md).",
            ),
            "extension_within",
        )
    missing = [f"{each.name} (in {each.schema_name})" for each in needed if there.get(each.name) != each.schema_name]
    if missing:
        raise RunError(
            _told(
                missing,
                "The backup needs extensions that are not there: {}. Create them first.",
            ),
            "extensions_missing",
        )


def must_have_rights(connection: psycopg.Connection, owners: Iterable[str]) -> None:
    """RunError `not_configured` where `stowage_restore` may not make schemas, or not act as these owners."""
    _must_act_as(connection, owners)
    if not may_create_schemas(connection):
        raise RunError(
            "stowage_restore may not make schemas in this database: `python -m stowage.postgres grant SCHEMA "
            "--restore` gives it that (docs/restore.md).",
            "not_configured",
        )


def _must_act_as(connection: psycopg.Connection, owners: Iterable[str]) -> None:
    missing = missing_memberships(connection, owners)
    if missing:
        raise RunError(
            _told(
                missing,
                "stowage_restore may not act as {}: `python -m stowage.postgres grant SCHEMA --restore` gives it that "
                "(docs/restore.md).",
            ),
            "not_configured",
        )


# What stays with the old schema when it is renamed, and is dropped with it: foreign keys and views of other schemas,
# publications.
_OUTSIDE: LiteralString = (
    OURS
    + """
    , dependents AS (
        SELECT DISTINCT d.classid, d.objid FROM members m
        JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
        WHERE d.deptype IN ('n', 'a') AND d.classid <> 'pg_cast'::regclass
          AND NOT EXISTS (SELECT FROM members o WHERE o.classid = d.classid AND o.objid = d.objid)
        UNION
        SELECT 'pg_publication_rel'::regclass, oid FROM pg_publication_rel
        WHERE prrelid IN (SELECT oid FROM relations)
        UNION
        SELECT 'pg_publication_namespace'::regclass, oid FROM pg_publication_namespace
        WHERE pnnspid IN (SELECT oid FROM ours)
    )
    SELECT t.type || ' ' || t.identity FROM dependents
    CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) t
    WHERE t.type IS NOT NULL AND t.type <> 'default acl'
      AND t.schema IS DISTINCT FROM 'pg_toast'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = dependents.classid AND e.objid = dependents.objid
                                             AND e.deptype = 'e')
    ORDER BY 1
"""
)


def outside_dependents(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[str]:
    """What outside of these schemas depends on what is in them, and would not follow new schemas of those names."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        given = parameters_of({schemas[0]: schemas})
        return [name for (name,) in connection.execute(_OUTSIDE, given).fetchall()]


def must_be_swappable(connection: psycopg.Connection, schema: str, included: Sequence[str] = ()) -> None:
    """RunError `outside_dependents`, with names, where something outside of the schema depends on what is in it, and
    `foreign_tables` where an included one has come to hold what is not the tenant's.
    """
    must_be_the_tenants(connection, schema, included)
    found = outside_dependents(connection, [schema, *included])
    if found:
        raise RunError(
            _told(
                found,
                "Something outside of the schema depends on what is in it and would stay with the old one: {}. "
                "Restore into a new schema, or drop it first and make it again afterwards.",
            ),
            "outside_dependents",
        )
    must_have_rights(connection, {owner for each in (schema, *included) for owner in owners_of(connection, each)})


def must_be_droppable(connection: psycopg.Connection, schema: str) -> None:
    """RunError `outside_dependents` where a drop would take something along that is not of the schema."""
    found = outside_dependents(connection, family(connection, schema))
    if found:
        raise RunError(
            _told(
                found,
                "Something outside of the schema depends on what is in it, and would be dropped with it: {}.",
            ),
            "outside_dependents",
        )


def _told(names: list[str], sentence: str) -> str:
    more = len(names) - NAMED
    return sentence.format(", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else ""))


_KEPT_NAMES = sql.SQL("""
WITH place AS (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s),
named AS (SELECT {pattern}::text AS pattern)
SELECT what FROM (
    SELECT 'function ' || p.proname || CASE WHEN p.prosrc ~ pattern THEN ': its text' ELSE ': its settings' END AS what
    FROM named, pg_proc p
    WHERE p.pronamespace = (SELECT oid FROM place)
      AND (p.prosqlbody IS NULL AND p.prosrc ~ pattern
           OR EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting ~ pattern))
    UNION ALL
    SELECT 'default of ' || c.relname || '.' || a.attname
    FROM named, pg_attrdef d
    JOIN pg_class c ON c.oid = d.adrelid
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE c.relnamespace = (SELECT oid FROM place) AND pg_get_expr(d.adbin, d.adrelid) ~ ('''[^'']*' || pattern)
) AS found ORDER BY 1
""")


def names_kept(connection: psycopg.Connection, copy: str, name: str) -> list[str]:
    """What in a copy still says the name of the schema it is a copy of: texts of functions, their settings, defaults.

    Postgres renames what it has parsed: views, keys, defaults by `regclass`. It cannot rename texts.
    """
    pattern = sql.Literal(r"(^|[^a-zA-Z0-9_$])" + _escaped(name) + r"($|[^a-zA-Z0-9_$])")
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        rows = connection.execute(_KEPT_NAMES.format(pattern=pattern), {"schema": copy}).fetchall()
    return [what for (what,) in rows]


def _escaped(name: str) -> str:
    return "".join(each if each.isalnum() or each == "_" else "\\" + each for each in name)
