"""What a restore of a schema's dump needs that the dump itself does not hold: roles, extensions,
casts, objects of other schemas, settings. Read from the catalog in the dump's own snapshot.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row, dict_row
from pydantic import BaseModel

from stowage.postgres.dumps.failures import without_values


class Extension(BaseModel):
    """An extension that the schema uses or holds; a schema's dump leaves it out, so a restore
    creates it first.

    They come in the order in which they can be created.
    """

    name: str
    version: str
    schema_name: str


class Reference(BaseModel):
    """Something of ours (`source`) that needs something in another schema (`target`), which the
    dump leaves out.
    """

    source_type: str
    source: str
    target_type: str
    target: str


class Cast(BaseModel):
    """A cast of the schema's types or by its functions. Casts stand in no schema, so the dump
    leaves them out.

    `statement` makes it. `after` names the dump's entries (`TYPE mood`) that have to be there
    before.
    """

    statement: str
    after: list[str]


class Roles(BaseModel):
    """The roles that the dump names, sorted. A restore that keeps owners and grants needs them all."""

    owners: list[str] = []
    grantees: list[str] = []
    grantors: list[str] = []
    """Who granted something without owning it: such grants are restored by a superuser only."""
    default_privileges: list[str] = []
    """Whose later objects get grants by ALTER DEFAULT PRIVILEGES."""
    policies: list[str] = []


class Locale(BaseModel):
    """How the database sorts and folds texts where a column does not say (`provider`: libc, icu or
    builtin).
    """

    provider: str = ""
    collate: str = ""
    ctype: str = ""
    locale: str | None = None
    version: str | None = None


class SearchPathTrap(BaseModel):
    """A function that names others without their schema (`names`, found in `schemas`), and what
    calls it during a restore (`used_by`).

    A restore has no search path, so the function fails there.
    """

    function: str
    used_by: list[str]
    names: list[str]
    schemas: list[str]


class Needs(BaseModel):
    """Everything that a restore needs beside the dump; empty where nothing is needed."""

    encoding: str = ""
    locale: Locale = Locale()
    time_zone: str = "UTC"
    """Of the moments in the dump."""
    roles: Roles = Roles()
    extensions: list[Extension] = []
    casts: list[Cast] = []
    references: list[Reference] = []
    text_search: list[str] = []
    """Text search configurations and dictionaries outside of the schema, the built-in ones too."""
    collations: list[str] = []
    """Collations outside of the schema: name, provider and locale."""
    tablespaces: list[str] = []
    label_providers: list[str] = []
    publications: list[str] = []
    settings: dict[str, str | None] = {}
    """Of the database and the schema's owners; the values of settings that are not Postgres's own
    are left out.
    """
    search_path_traps: list[SearchPathTrap] = []
    superuser_only: list[str] = []
    """What only a superuser may create, beside extensions that are not trusted."""


type Groups = Mapping[str, Sequence[str]]
"""The schemas of each tenant's dump, its own first, which also names them. No schema is in two groups."""


def read_needs(
    connection: psycopg.Connection[Any], groups: Groups, warnings: Mapping[str, list[str]]
) -> dict[str, Needs]:
    """Read it all in the transaction that the connection is in, for all groups at once. What cannot be
    read of a group is left out with a warning.
    """
    connection.execute(SEARCH_PATH)
    found: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for name, read in _PARTS.items():
        for group, known in _read_part(connection, read, groups, name.replace("_", " "), warnings).items():
            found[group][name] = known
    return {group: Needs(**parts) for group, parts in found.items()}


def _read_part(
    connection: psycopg.Connection[Any],
    read: "_Reader[Any]",
    groups: Groups,
    what: str,
    warnings: Mapping[str, list[str]],
) -> Mapping[str, Any]:
    """Where it cannot be read of all at once, one by one."""
    refused: list[str] = []
    found = attempt(connection, partial(read, connection, groups), what, refused)
    if found is not None:
        return found
    if len(groups) == 1:
        [group] = groups
        warnings[group].extend(refused)
        return {}
    return {
        name: known
        for group, schemas in groups.items()
        for name, known in _read_part(connection, read, {group: schemas}, what, warnings).items()
    }


# As in a dump: names come with their schemas.
SEARCH_PATH: LiteralString = "SET LOCAL search_path = pg_catalog"


def attempt[T](connection: psycopg.Connection[Any], read: Callable[[], T], what: str, warnings: list[str]) -> T | None:
    """What `read` gives; None and a warning where the server refuses a statement, which leaves the
    transaction usable.

    psycopg.Error where the connection is lost or the statement was cancelled.
    """
    try:
        with connection.transaction():
            return read()
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if connection.closed or state.startswith(("08", "57")) or not state:
            raise
        # A message that a function of the schema raises may hold anything.
        told = "" if state.startswith("P0") else f": {without_values(error.diag.message_primary or '')}"
        warnings.append(f"Unknown: {what}. The database refused to tell{told} (SQLSTATE {state}).")
        return None


# Everything that belongs to the schema: what stands in it, and what hangs on its tables (defaults,
# rules, triggers, policies), but for what belongs to an extension. pg_depend then tells what each
# needs; what needs nothing outside is left out.
OURS: LiteralString = """
    WITH ours (grp, oid) AS MATERIALIZED (
        SELECT given.grp, n.oid FROM unnest(%(groups)s::text[], %(schemas)s::text[]) AS given (grp, schema)
        JOIN pg_namespace n ON n.nspname = given.schema
    ), relations (grp, oid) AS MATERIALIZED (
        SELECT ours.grp, c.oid FROM pg_class c JOIN ours ON ours.oid = c.relnamespace WHERE NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ), members (grp, classid, objid) AS MATERIALIZED (
        SELECT grp, classid, objid FROM (
            SELECT grp, 'pg_class'::regclass AS classid, oid AS objid FROM relations
            UNION ALL SELECT grp, 'pg_type'::regclass, t.oid FROM pg_type t
                JOIN ours ON ours.oid = t.typnamespace
            UNION ALL SELECT grp, 'pg_proc'::regclass, t.oid FROM pg_proc t
                JOIN ours ON ours.oid = t.pronamespace
            UNION ALL SELECT grp, 'pg_operator'::regclass, t.oid FROM pg_operator t
                JOIN ours ON ours.oid = t.oprnamespace
            UNION ALL SELECT grp, 'pg_opclass'::regclass, t.oid FROM pg_opclass t
                JOIN ours ON ours.oid = t.opcnamespace
            UNION ALL SELECT grp, 'pg_opfamily'::regclass, t.oid FROM pg_opfamily t
                JOIN ours ON ours.oid = t.opfnamespace
            UNION ALL SELECT grp, 'pg_collation'::regclass, t.oid FROM pg_collation t
                JOIN ours ON ours.oid = t.collnamespace
            UNION ALL SELECT grp, 'pg_conversion'::regclass, t.oid FROM pg_conversion t
                JOIN ours ON ours.oid = t.connamespace
            UNION ALL SELECT grp, 'pg_ts_config'::regclass, t.oid FROM pg_ts_config t
                JOIN ours ON ours.oid = t.cfgnamespace
            UNION ALL SELECT grp, 'pg_ts_dict'::regclass, t.oid FROM pg_ts_dict t
                JOIN ours ON ours.oid = t.dictnamespace
            UNION ALL SELECT grp, 'pg_statistic_ext'::regclass, t.oid FROM pg_statistic_ext t
                JOIN ours ON ours.oid = t.stxnamespace
            UNION ALL SELECT grp, 'pg_constraint'::regclass, t.oid FROM pg_constraint t
                JOIN ours ON ours.oid = t.connamespace
            UNION ALL SELECT grp, 'pg_attrdef'::regclass, t.oid FROM pg_attrdef t
                JOIN relations r ON r.oid = t.adrelid
            UNION ALL SELECT grp, 'pg_rewrite'::regclass, t.oid FROM pg_rewrite t
                JOIN relations r ON r.oid = t.ev_class
            UNION ALL SELECT grp, 'pg_trigger'::regclass, t.oid FROM pg_trigger t
                JOIN relations r ON r.oid = t.tgrelid
            UNION ALL SELECT grp, 'pg_policy'::regclass, t.oid FROM pg_policy t
                JOIN relations r ON r.oid = t.polrelid
        ) AS every
        WHERE NOT EXISTS (
            SELECT FROM pg_depend e WHERE e.classid = every.classid AND e.objid = every.objid AND e.deptype = 'e')
    )
"""
OUTSIDE: LiteralString = (
    OURS
    + """
    , outside AS MATERIALIZED (
        SELECT m.grp, d.classid, d.objid, d.refclassid, d.refobjid, e.refobjid AS extension
        FROM members m
        JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid AND d.deptype <> 'e'
        LEFT JOIN pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'
        WHERE NOT (d.refclassid = 'pg_namespace'::regclass AND (m.grp, d.refobjid) IN (SELECT grp, oid FROM ours))
          AND NOT EXISTS (
              SELECT FROM members o WHERE o.grp = m.grp AND o.classid = d.refclassid AND o.objid = d.refobjid)
    )
"""
)
# With those that they require themselves, which are created before them.
EXTENSIONS: LiteralString = (
    OUTSIDE
    + """
    , needed (grp, oid, depth) AS (
        SELECT o.grp, x.oid, 0 FROM outside o JOIN pg_extension x ON x.oid = o.extension
        UNION SELECT o.grp, x.oid, 0 FROM outside o
            JOIN pg_extension x ON o.refclassid = 'pg_extension'::regclass AND x.oid = o.refobjid
        UNION SELECT ours.grp, x.oid, 0 FROM pg_extension x JOIN ours ON ours.oid = x.extnamespace
    ), required (grp, oid, depth) AS (
        WITH RECURSIVE required (grp, oid, depth) AS (
            SELECT grp, oid, depth FROM needed
            UNION
            SELECT r.grp, d.refobjid, r.depth + 1
            FROM required r
            JOIN pg_depend d ON d.classid = 'pg_extension'::regclass AND d.objid = r.oid
                            AND d.refclassid = 'pg_extension'::regclass
        ) SELECT grp, oid, max(depth) FROM required GROUP BY grp, oid
    )
    SELECT r.grp, x.extname AS name, x.extversion AS version, n.nspname AS schema_name
    FROM required r
    JOIN pg_extension x ON x.oid = r.oid
    JOIN pg_namespace n ON n.oid = x.extnamespace
    ORDER BY r.depth DESC, x.extname
"""
)
REFERENCES: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT o.grp, s.type AS source_type, s.identity AS source, t.type AS target_type, t.identity AS target
    FROM outside o
    CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) s
    CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE o.extension IS NULL
      AND o.refclassid <> 'pg_extension'::regclass
      AND t.schema IS DISTINCT FROM 'pg_catalog' AND t.schema IS DISTINCT FROM 'information_schema'
      AND t.schema IS DISTINCT FROM 'pg_toast'
      AND t.type NOT IN ('index', 'language')
    ORDER BY source, target
"""
)
TEXT_SEARCH: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT o.grp, t.identity
    FROM outside o CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE o.refclassid IN ('pg_ts_config'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_template'::regclass,
                           'pg_ts_parser'::regclass)
    ORDER BY 2
"""
)
# The names of some columns change with the version (15 to 18).
COLLATIONS: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT o.grp, format('%%s (%%s%%s)', t.identity,
               CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' WHEN 'b' THEN 'builtin'
                                   ELSE c.collprovider::text END,
               ', ' || coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate))
    FROM outside o
    JOIN pg_collation c ON o.refclassid = 'pg_collation'::regclass AND c.oid = o.refobjid
    CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE c.collname NOT IN ('default', 'C', 'POSIX')
    ORDER BY 2
"""
)
# Entries of a dump are named as pg_dump does: functions with their arguments' types.
CASTS: LiteralString = (
    OURS
    + """
    , made (grp, oid) AS (
        SELECT grp, k.oid FROM pg_cast k JOIN members ON classid = 'pg_type'::regclass AND objid = k.castsource
        UNION SELECT grp, k.oid FROM pg_cast k JOIN members ON classid = 'pg_type'::regclass AND objid = k.casttarget
        UNION SELECT grp, k.oid FROM pg_cast k JOIN members ON classid = 'pg_proc'::regclass AND objid = k.castfunc
    )
    SELECT made.grp,
           format('CREATE CAST (%%s AS %%s) %%s%%s;', format_type(k.castsource, NULL), format_type(k.casttarget, NULL),
               CASE k.castmethod WHEN 'f' THEN 'WITH FUNCTION ' || k.castfunc::regprocedure::text
                                 WHEN 'i' THEN 'WITH INOUT' ELSE 'WITHOUT FUNCTION' END,
               CASE k.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END) AS statement,
           ARRAY(
               SELECT CASE WHEN c.relkind = 'c' THEN 'TYPE' WHEN c.relkind IN ('r', 'p') THEN 'TABLE'
                           WHEN c.relkind = 'v' THEN 'VIEW' WHEN c.relkind = 'm' THEN 'MATERIALIZED VIEW'
                           WHEN c.relkind = 'f' THEN 'FOREIGN TABLE' WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END
                      || ' ' || coalesce(e.typname, t.typname)
               FROM pg_type t
               LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
               LEFT JOIN pg_class c ON c.oid = coalesce(nullif(t.typrelid, 0), e.typrelid)
               WHERE t.oid IN (k.castsource, k.casttarget)
                 AND (made.grp, t.typnamespace) IN (SELECT grp, oid FROM ours)
               UNION
               SELECT format('FUNCTION %%s(%%s)', p.proname, (
                   SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.n)
                   FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, n)))
               FROM pg_proc p
               WHERE p.oid = k.castfunc AND (made.grp, p.pronamespace) IN (SELECT grp, oid FROM ours)
           ) AS after
    FROM made JOIN pg_cast k ON k.oid = made.oid
    WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = k.oid
                                              AND deptype IN ('e', 'i'))
    ORDER BY 2
"""
)
# Owners and grants of all that a dump describes, each with its kind.
ROLES: LiteralString = (
    OURS
    + """
    , owned (grp, owner, acl) AS (
        SELECT grp, nspowner, nspacl FROM pg_namespace n JOIN ours ON ours.oid = n.oid
        UNION ALL SELECT grp, relowner, relacl FROM pg_class c JOIN relations r ON r.oid = c.oid WHERE relkind <> 'i'
        UNION ALL SELECT grp, c.relowner, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            JOIN relations r ON r.oid = c.oid WHERE a.attacl IS NOT NULL
        UNION ALL SELECT grp, proowner, proacl FROM pg_proc t
            JOIN members ON classid = 'pg_proc'::regclass AND objid = t.oid
        UNION ALL SELECT grp, typowner, typacl FROM pg_type t
            JOIN members ON classid = 'pg_type'::regclass AND objid = t.oid
        UNION ALL SELECT grp, oprowner, NULL FROM pg_operator t
            JOIN members ON classid = 'pg_operator'::regclass AND objid = t.oid
        UNION ALL SELECT grp, opcowner, NULL FROM pg_opclass t
            JOIN members ON classid = 'pg_opclass'::regclass AND objid = t.oid
        UNION ALL SELECT grp, opfowner, NULL FROM pg_opfamily t
            JOIN members ON classid = 'pg_opfamily'::regclass AND objid = t.oid
        UNION ALL SELECT grp, collowner, NULL FROM pg_collation t
            JOIN members ON classid = 'pg_collation'::regclass AND objid = t.oid
        UNION ALL SELECT grp, conowner, NULL FROM pg_conversion t
            JOIN members ON classid = 'pg_conversion'::regclass AND objid = t.oid
        UNION ALL SELECT grp, cfgowner, NULL FROM pg_ts_config t
            JOIN members ON classid = 'pg_ts_config'::regclass AND objid = t.oid
        UNION ALL SELECT grp, dictowner, NULL FROM pg_ts_dict t
            JOIN members ON classid = 'pg_ts_dict'::regclass AND objid = t.oid
        UNION ALL SELECT grp, stxowner, NULL FROM pg_statistic_ext t
            JOIN members ON classid = 'pg_statistic_ext'::regclass AND objid = t.oid
    ), named (grp, kind, role) AS (
        SELECT grp, 'owners', owner FROM owned
        UNION SELECT grp, 'grantees', g.grantee FROM owned CROSS JOIN LATERAL aclexplode(acl) g
            WHERE g.grantee <> owner
        UNION SELECT grp, 'grantors', g.grantor FROM owned CROSS JOIN LATERAL aclexplode(acl) g
            WHERE g.grantor <> owner
        UNION SELECT grp, 'default_privileges', defaclrole FROM pg_default_acl JOIN ours ON ours.oid = defaclnamespace
        UNION SELECT grp, 'grantees', g.grantee FROM pg_default_acl JOIN ours ON ours.oid = defaclnamespace
            CROSS JOIN LATERAL aclexplode(defaclacl) g WHERE g.grantee <> defaclrole
        UNION SELECT grp, 'policies', role FROM pg_policy JOIN relations r ON r.oid = polrelid
            CROSS JOIN LATERAL unnest(polroles) AS role
    )
    SELECT grp, kind, array_agg(DISTINCT rolname::text ORDER BY rolname::text) AS roles
    FROM named JOIN pg_roles ON pg_roles.oid = role
    GROUP BY grp, kind
"""
)
TABLESPACES: LiteralString = (
    OURS
    + """
    SELECT DISTINCT grp, spcname FROM relations r
    JOIN pg_class c ON c.oid = r.oid JOIN pg_tablespace s ON s.oid = c.reltablespace ORDER BY 2
"""
)
LABEL_PROVIDERS: LiteralString = (
    OURS
    + """
    SELECT DISTINCT grp, provider FROM pg_seclabel l
    JOIN members m ON m.classid = l.classoid AND m.objid = l.objoid ORDER BY 2
"""
)
PUBLICATIONS: LiteralString = (
    OURS
    + """
    SELECT r.grp, p.pubname FROM pg_publication p
    JOIN pg_publication_rel o ON o.prpubid = p.oid JOIN relations r ON r.oid = o.prrelid
    UNION SELECT ours.grp, p.pubname FROM pg_publication p
    JOIN pg_publication_namespace o ON o.pnpubid = p.oid JOIN ours ON ours.oid = o.pnnspid
    ORDER BY 2
"""
)
ENCODING: LiteralString = "SELECT current_setting('server_encoding')"
LOCALE: LiteralString = """
    SELECT CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' WHEN 'b' THEN 'builtin'
                               ELSE datlocprovider::text END AS provider,
           datcollate::text AS collate, datctype::text AS ctype, datcollversion::text AS version,
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale
    FROM pg_database d WHERE datname = current_database()
"""
# A setting whose name has a point is the product's own, and may be a secret.
SETTINGS: LiteralString = """
    WITH owners (grp, owner) AS (
        SELECT given.grp, n.nspowner FROM unnest(%(groups)s::text[], %(schemas)s::text[]) AS given (grp, schema)
        LEFT JOIN pg_namespace n ON n.nspname = given.schema
    )
    SELECT DISTINCT ON (1, 2) grp, split_part(setting, '=', 1) AS name,
           CASE WHEN position('.' in split_part(setting, '=', 1)) = 0
                THEN substr(setting, position('=' in setting) + 1) END AS value
    FROM owners
    JOIN pg_db_role_setting s ON s.setrole IN (0, owners.owner)
    CROSS JOIN LATERAL unnest(setconfig) AS setting
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY 1, 2, setrole DESC, setdatabase DESC
"""
# Postgres's own settings by which what a dump defines may mean something else.
SESSION_SETTINGS: LiteralString = """
    SELECT name, setting AS value FROM pg_settings
    WHERE name IN ('default_text_search_config', 'standard_conforming_strings') ORDER BY 1
"""
# The schema's functions with a text for a body: whether they bring a search path of their own, and
# who calls them while a restore computes: checks, generated columns, indexes, partition keys,
# statistics, materialized views.
FUNCTIONS: LiteralString = (
    OURS
    + """
    , callers AS MATERIALIZED (
        SELECT d.refobjid AS function, array_agg(DISTINCT u.type || ' ' || u.identity) AS used_by
        FROM pg_depend d
        LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
        LEFT JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class v ON v.oid = r.ev_class
        CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) u
        WHERE d.refclassid = 'pg_proc'::regclass
          AND d.refobjid IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
          AND (d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
               OR a.attgenerated <> '' OR v.relkind = 'm')
        GROUP BY 1
    )
    SELECT m.grp, p.proname AS name, p.oid::regprocedure::text AS signature, p.prosrc AS body,
           EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search_path=%%') AS has_path,
           coalesce(c.used_by, '{}') AS used_by
    FROM pg_proc p
    JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    JOIN pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
    LEFT JOIN callers c ON c.function = p.oid
    WHERE p.prosqlbody IS NULL
    ORDER BY signature
"""
)
# What CREATE OPERATOR CLASS, FUNCTION, TYPE, CAST and TEXT SEARCH leave to superusers (PostgreSQL
# documentation, "SQL Commands").
SUPERUSER_ONLY: LiteralString = (
    OURS
    + """
    , barred (grp, classid, objid) AS (
        SELECT grp, classid, objid FROM members WHERE classid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
        UNION ALL SELECT grp, classid, objid FROM members
            JOIN pg_type t ON classid = 'pg_type'::regclass AND t.oid = objid
            WHERE t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
        UNION ALL SELECT grp, classid, objid FROM members
            JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
            JOIN pg_language l ON l.oid = p.prolang
            WHERE p.prokind <> 'a' AND NOT l.lanpltrusted OR p.proleakproof OR p.prosupport <> 0 OR EXISTS (
                SELECT FROM unnest(p.proconfig) AS own
                JOIN pg_settings g ON g.name = split_part(own, '=', 1) AND g.context LIKE 'superuser%%')
        UNION ALL SELECT grp, 'pg_cast'::regclass, k.oid FROM pg_cast k
            JOIN members ON classid = 'pg_type'::regclass AND objid IN (k.castsource, k.casttarget)
            WHERE k.castmethod = 'b' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = k.oid AND deptype IN ('e', 'i'))
        UNION ALL SELECT grp, 'pg_ts_template'::regclass, t.oid FROM pg_ts_template t
            JOIN ours ON ours.oid = tmplnamespace
        UNION ALL SELECT grp, 'pg_ts_parser'::regclass, t.oid FROM pg_ts_parser t JOIN ours ON ours.oid = prsnamespace
    )
    SELECT DISTINCT grp, i.type || ' ' || i.identity
    FROM barred b CROSS JOIN LATERAL pg_identify_object(b.classid, b.objid, 0) i
    WHERE NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = b.classid AND e.objid = b.objid AND e.deptype IN ('e', 'i'))
    ORDER BY 2
"""
)
# What a function may name without its schema: what stands in its own one, in public and beside
# extensions; the latter two are of no group.
NAMES: LiteralString = """
    WITH searched (grp, oid, nspname) AS MATERIALIZED (
        SELECT given.grp, n.oid, n.nspname
        FROM unnest(%(groups)s::text[], %(schemas)s::text[]) AS given (grp, schema)
        JOIN pg_namespace n ON n.nspname = given.schema
        UNION SELECT NULL, oid, nspname FROM pg_namespace
        WHERE nspname = 'public' OR (oid IN (SELECT extnamespace FROM pg_extension) AND nspname <> 'pg_catalog')
    )
    SELECT grp, nspname, proname FROM searched JOIN pg_proc ON pronamespace = searched.oid
    UNION SELECT grp, nspname, relname FROM searched JOIN pg_class ON relnamespace = searched.oid AND relkind <> 'i'
    UNION SELECT grp, nspname, typname FROM searched JOIN pg_type ON typnamespace = searched.oid
"""

type _Reader[T] = Callable[[psycopg.Connection[Any], Groups], Mapping[str, T]]
"""Reads something of each of these groups."""


def parameters_of(groups: Groups) -> dict[str, list[str]]:
    """The groups as the statements take them: each schema with the name of its group."""
    pairs = [(group, schema) for group, schemas in groups.items() for schema in schemas]
    return {"groups": [group for group, _ in pairs], "schemas": [schema for _, schema in pairs]}


def _rows(connection: psycopg.Connection[Any], query: LiteralString, groups: Groups) -> dict[str, list[dict[str, Any]]]:
    """What a statement finds of each group."""
    found: dict[str, list[dict[str, Any]]] = {group: [] for group in groups}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(query, parameters_of(groups)):
            found[row.pop("grp")].append(row)
    return found


def _models[M: BaseModel](query: LiteralString, model: type[M]) -> _Reader[list[M]]:
    def read(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, list[M]]:
        return {group: [model(**row) for row in rows] for group, rows in _rows(connection, query, groups).items()}

    return read


def _texts(query: LiteralString) -> _Reader[list[str]]:
    def read(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {group: [] for group in groups}
        for group, text in connection.execute(query, parameters_of(groups)):
            found[group].append(text)
        return found

    return read


def _roles(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, Roles]:
    found = _rows(connection, ROLES, groups)
    return {group: Roles(**{row["kind"]: row["roles"] for row in rows}) for group, rows in found.items()}


def _encoding(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, str]:
    [(encoding,)] = connection.execute(ENCODING).fetchall()
    return dict.fromkeys(groups, encoding)


def _locale(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, Locale]:
    with connection.cursor(row_factory=class_row(Locale)) as cursor:
        [found] = cursor.execute(LOCALE).fetchall()
    return dict.fromkeys(groups, found)


def _settings(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, dict[str, str | None]]:
    # What the dump says itself when it is restored: bodies of functions are not looked at.
    of_all = {"check_function_bodies": "off", **dict(connection.execute(SESSION_SETTINGS).fetchall())}
    found = _rows(connection, SETTINGS, groups)
    return {group: of_all | {row["name"]: row["value"] for row in rows} for group, rows in found.items()}


@dataclass(frozen=True)
class _Function:
    name: str
    signature: str
    body: str
    has_path: bool
    used_by: list[str]


def _search_path_traps(connection: psycopg.Connection[Any], groups: Groups) -> dict[str, list[SearchPathTrap]]:
    found = {group: [_Function(**row) for row in rows] for group, rows in _rows(connection, FUNCTIONS, groups).items()}
    if not any(function.used_by for functions in found.values() for function in functions):
        return {group: [] for group in groups}
    names: dict[str | None, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for group, schema, name in connection.execute(NAMES, parameters_of(groups)):
        names[group][name].add(schema)
    return {group: _traps(functions, groups[group], names[group], names[None]) for group, functions in found.items()}


def _traps(
    functions: list[_Function], schemas: Sequence[str], own: Mapping[str, set[str]], shared: Mapping[str, set[str]]
) -> list[SearchPathTrap]:
    """Those among a group's functions; `own` and `shared` are the schemas in which a name can be found."""
    schemas_of = {name: own.get(name, set()) | shared.get(name, set()) for name in {*own, *shared}}
    called = {function.signature: function.used_by for function in functions if function.used_by}
    traps = []
    while called:
        signature, used_by = called.popitem()
        [function] = [function for function in functions if function.signature == signature]
        functions.remove(function)
        if function.has_path:
            continue  # which holds for whatever it calls, too
        names = unqualified(function.body, schemas_of.keys())
        if names:
            found = {schema for name in names for schema in schemas_of[name]}
            traps.append(
                SearchPathTrap(
                    function=signature,
                    used_by=sorted(used_by),
                    names=names,
                    schemas=sorted(found, key=lambda each: (each != schemas[0], each)),
                )
            )
        mentioned = {word.lower() for word in re.findall(r"[\w$]+", function.body)}
        for other in functions:
            if other.name.lower() in mentioned:
                called[other.signature] = [*called.get(other.signature, other.used_by), f"function {signature}"]
    return sorted(traps, key=lambda trap: trap.function)


_CALL = re.compile(r'(?<![\w.$"])"?([a-z_][\w$]*)"?\s*\(', re.I)
_RELATION = re.compile(r'\b(?:from|join|into|update|only|table)\s+"?([a-z_][\w$]*)"?(?!["\w$]*\s*[.(])', re.I)
_TYPE = re.compile(r'(?:::\s*|\bas\s+)"?([a-z_][\w$]*)"?(?!["\w$]*\s*\.)', re.I)


def unqualified(body: str, names: Collection[str]) -> list[str]:
    """The names of those that a function's text calls, reads or casts to without saying their
    schema.
    """
    found = {name for pattern in (_CALL, _RELATION, _TYPE) for name in pattern.findall(body)}
    return sorted(name for name in found | {name.lower() for name in found} if name in names)


_PARTS: Mapping[str, _Reader[Any]] = {
    "encoding": _encoding,
    "locale": _locale,
    "roles": _roles,
    "extensions": _models(EXTENSIONS, Extension),
    "casts": _models(CASTS, Cast),
    "references": _models(REFERENCES, Reference),
    "text_search": _texts(TEXT_SEARCH),
    "collations": _texts(COLLATIONS),
    "tablespaces": _texts(TABLESPACES),
    "label_providers": _texts(LABEL_PROVIDERS),
    "publications": _texts(PUBLICATIONS),
    "settings": _settings,
    "search_path_traps": _search_path_traps,
    "superuser_only": _texts(SUPERUSER_ONLY),
}
