"""Schemas of tenants that a test has left as they were made: emptied and renamed, they are the next
tests' tenants. To make one takes a server ten times as long.
"""

from collections import defaultdict

import psycopg
from psycopg import sql

from stowage.postgres.schema.migrations import create_tenant, read_migrations, register_tenant
from stowage.tenants import schema_of

TABLES = ("posts", "accounts", "groups", "brands", "tasks", "users")
"""Children first."""
MOST_PAGES = 32
"""A table that has grown larger costs more than a new one."""

_spare: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
"""The emptied schemas of each server, by its address."""
_forms: dict[str, str] = {}
"""The form of each tenant's schema when it was made, by the tenant or by the spare schema's name."""

# The rows of the catalogs that describe a schema. Those of pg_class and of pg_namespace are written
# anew by statistics and by renaming; of all others, the writing transaction tells whether they are the same.
_FORM = """
WITH ours AS MATERIALIZED (
    SELECT pg_class.* FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %(schema)s
), ids AS MATERIALIZED (SELECT array_agg(oid) AS ids FROM ours)
SELECT md5(string_agg(form, ',' ORDER BY form)) FROM (
    SELECT concat_ws(' ', 'class', oid, relname, relowner, relnatts, relacl, reloptions, relpersistence, relhasrules,
                     relrowsecurity, relforcerowsecurity, relreplident, relam) AS form FROM ours
    UNION ALL SELECT concat_ws(' ', 'schema', oid, nspowner, nspacl) FROM pg_namespace WHERE nspname = %(schema)s
    UNION ALL SELECT concat_ws(' ', 'part', classid, objid, xmin) FROM pg_depend
              WHERE refclassid = 'pg_namespace'::regclass
                AND refobjid = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
    UNION ALL SELECT concat_ws(' ', 'privileges', oid, xmin) FROM pg_default_acl
              WHERE defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, pg_attribute.xmin) FROM pg_attribute, ids
              WHERE attrelid = ANY (ids) AND attnum > 0
    UNION ALL SELECT concat_ws(' ', 'index', indexrelid, pg_index.xmin) FROM pg_index, ids WHERE indrelid = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'constraint', oid, pg_constraint.xmin) FROM pg_constraint, ids
              WHERE conrelid = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, pg_trigger.xmin) FROM pg_trigger, ids WHERE tgrelid = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'rule', oid, pg_rewrite.xmin) FROM pg_rewrite, ids WHERE ev_class = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'policy', oid, pg_policy.xmin) FROM pg_policy, ids WHERE polrelid = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'child', inhrelid, pg_inherits.xmin) FROM pg_inherits, ids
              WHERE inhparent = ANY (ids)
    UNION ALL SELECT concat_ws(' ', 'comment', objoid, objsubid, pg_description.xmin) FROM pg_description, ids
              WHERE objoid = ANY (ids) AND classoid = 'pg_class'::regclass
) AS forms
"""

_RENAME = sql.SQL("ALTER SCHEMA {} RENAME TO {}")

_MIGRATED = "INSERT INTO stowage.migrations (schema, version, name, checksum) VALUES (%s, %s, %s, %s)"

_PAGES = """
SELECT coalesce(max(pg_relation_size(oid)), 0) / 8192 FROM pg_class
WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'
"""

_EMPTY = sql.SQL("DELETE FROM {}")


def make_tenant(database: psycopg.Connection, slug: str, name: str) -> None:
    """As `create_tenant`, whose schema this takes the second time."""
    schema = schema_of(slug)
    spare = _spare[_server(database)]
    if spare:
        taken = spare.pop()
        _forms[slug] = _forms.pop(taken)
        with database.transaction():
            database.execute(_RENAME.format(sql.Identifier(taken), sql.Identifier(schema)))
            register_tenant(database, slug, slug, name)
            database.execute("SET LOCAL ROLE stowage_owner")
            rows = [(schema, each.version, each.name, each.checksum) for each in read_migrations("tenant")]
            with database.cursor() as cursor:
                cursor.executemany(_MIGRATED, rows)
    else:
        create_tenant(database, slug, slug, name)
        _forms[slug] = _form(database, schema)


def remove_tenant(database: psycopg.Connection, slug: str) -> None:
    """Take a tenant away with all its records, but for its journal: what looks at every tenant or
    table of the stack takes longer with each that is left.
    """
    schema = schema_of(slug)
    made = _forms.pop(slug, "")
    keep = bool(made) and made == _form(database, schema) and _is_small(database, schema)
    with database.transaction():
        database.execute("SET LOCAL lock_timeout = '20s'")
        if keep:
            for table in TABLES:  # TRUNCATE makes fifty files anew
                database.execute(_EMPTY.format(sql.Identifier(schema, table)))
            database.execute(_RENAME.format(sql.Identifier(schema), sql.Identifier(f"spare_{slug}")))
        else:
            database.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        database.execute("SET LOCAL ROLE stowage_owner")
        database.execute("DELETE FROM control_plane.projects WHERE slug = %s", (slug,))
        database.execute("DELETE FROM stowage.migrations WHERE schema = %s", (schema,))
    if keep:
        _forms[f"spare_{slug}"] = made
        _spare[_server(database)].append(f"spare_{slug}")


def _form(database: psycopg.Connection, schema: str) -> str:
    """The same as long as nothing of the schema has changed but the rows of its tables."""
    row = database.execute(_FORM, {"schema": schema}).fetchone()
    assert row is not None
    return str(row[0])


def _is_small(database: psycopg.Connection, schema: str) -> bool:
    row = database.execute(_PAGES, (schema,)).fetchone()
    assert row is not None
    return int(row[0]) <= MOST_PAGES


def _server(database: psycopg.Connection) -> tuple[str, int]:
    return database.info.host, database.info.port
