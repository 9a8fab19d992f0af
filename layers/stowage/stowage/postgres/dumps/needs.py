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
from psycopg.rows import class_row, scalar_row
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


def read_needs(connection: psycopg.Connection[Any], schemas: Sequence[str], warnings: list[str]) -> Needs:
    """Read it all in the transaction that the connection is in; the tenant's own schema comes first.
    What cannot be read is left out with a warning.
    """
    connection.execute(SEARCH_PATH)
    found: dict[str, Any] = {}
    for name, read in _PARTS.items():
        known = attempt(connection, partial(read, connection, schemas), name.replace("_", " "), warnings)
        if known is not None:
            found[name] = known
    return Needs(**found)


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
    WITH ours AS MATERIALIZED (
        SELECT oid FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
    ), relations AS MATERIALIZED (
        SELECT oid FROM pg_class c WHERE relnamespace IN (SELECT oid FROM ours) AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ), members (classid, objid) AS MATERIALIZED (
        SELECT classid, objid FROM (
            SELECT 'pg_class'::regclass AS classid, oid AS objid FROM relations
            UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
                WHERE collnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
                WHERE connamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
                WHERE cfgnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
                WHERE stxnamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
                WHERE connamespace IN (SELECT oid FROM ours)
            UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
        ) AS every
        WHERE NOT EXISTS (
            SELECT FROM pg_depend e WHERE e.classid = every.classid AND e.objid = every.objid AND e.deptype = 'e')
    )
"""
OUTSIDE: LiteralString = (
    OURS
    + """
    , outside AS MATERIALIZED (
        SELECT d.classid, d.objid, d.refclassid, d.refobjid, e.refobjid AS extension
        FROM members m
        JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid AND d.deptype <> 'e'
        LEFT JOIN pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'
        WHERE NOT (d.refclassid = 'pg_namespace'::regclass AND d.refobjid IN (SELECT oid FROM ours))
          AND NOT EXISTS (SELECT FROM members o WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
    )
"""
)
# With those that they require themselves, which are created before them.
EXTENSIONS: LiteralString = (
    OUTSIDE
    + """
    , needed (oid, depth) AS (
        SELECT x.oid, 0 FROM pg_extension x
        WHERE x.oid IN (SELECT extension FROM outside)
           OR x.oid IN (SELECT refobjid FROM outside WHERE refclassid = 'pg_extension'::regclass)
           OR x.extnamespace IN (SELECT oid FROM ours)
    ), required (oid, depth) AS (
        WITH RECURSIVE required (oid, depth) AS (
            SELECT oid, depth FROM needed
            UNION
            SELECT d.refobjid, r.depth + 1
            FROM required r
            JOIN pg_depend d ON d.classid = 'pg_extension'::regclass AND d.objid = r.oid
                            AND d.refclassid = 'pg_extension'::regclass
        ) SELECT oid, max(depth) FROM required GROUP BY oid
    )
    SELECT x.extname AS name, x.extversion AS version, n.nspname AS schema_name
    FROM required r
    JOIN pg_extension x ON x.oid = r.oid
    JOIN pg_namespace n ON n.oid = x.extnamespace
    ORDER BY r.depth DESC, x.extname
"""
)
REFERENCES: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT s.type AS source_type, s.identity AS source, t.type AS target_type, t.identity AS target
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
    SELECT DISTINCT t.identity
    FROM outside o CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE o.refclassid IN ('pg_ts_config'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_template'::regclass,
                           'pg_ts_parser'::regclass)
    ORDER BY 1
"""
)
# The names of some columns change with the version (15 to 18).
COLLATIONS: LiteralString = (
    OUTSIDE
    + """
    SELECT DISTINCT format('%%s (%%s%%s)', t.identity,
               CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' WHEN 'b' THEN 'builtin'
                                   ELSE c.collprovider::text END,
               ', ' || coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate))
    FROM outside o
    JOIN pg_collation c ON o.refclassid = 'pg_collation'::regclass AND c.oid = o.refobjid
    CROSS JOIN LATERAL pg_identify_object(o.refclassid, o.refobjid, 0) t
    WHERE c.collname NOT IN ('default', 'C', 'POSIX')
    ORDER BY 1
"""
)
# Entries of a dump are named as pg_dump does: functions with their arguments' types.
CASTS: LiteralString = (
    OURS
    + """
    SELECT format('CREATE CAST (%%s AS %%s) %%s%%s;', format_type(k.castsource, NULL), format_type(k.casttarget, NULL),
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
               WHERE t.oid IN (k.castsource, k.casttarget) AND t.typnamespace IN (SELECT oid FROM ours)
               UNION
               SELECT format('FUNCTION %%s(%%s)', p.proname, (
                   SELECT string_agg(format_type(a.type, NULL), ', ' ORDER BY a.n)
                   FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, n)))
               FROM pg_proc p WHERE p.oid = k.castfunc AND p.pronamespace IN (SELECT oid FROM ours)
           ) AS after
    FROM pg_cast k
    WHERE (EXISTS (SELECT FROM members WHERE classid = 'pg_type'::regclass AND objid IN (k.castsource, k.casttarget))
           OR EXISTS (SELECT FROM members WHERE classid = 'pg_proc'::regclass AND objid = k.castfunc))
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = k.oid
                                             AND deptype IN ('e', 'i'))
    ORDER BY 1
"""
)
# Owners and grants of all that a dump describes, each with its kind.
ROLES: LiteralString = (
    OURS
    + """
    , owned (owner, acl) AS (
        SELECT nspowner, nspacl FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
        UNION ALL SELECT relowner, relacl FROM pg_class WHERE oid IN (SELECT oid FROM relations) AND relkind <> 'i'
        UNION ALL SELECT c.relowner, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.oid IN (SELECT oid FROM relations) AND a.attacl IS NOT NULL
        UNION ALL SELECT proowner, proacl FROM pg_proc JOIN members ON classid = 'pg_proc'::regclass AND objid = oid
        UNION ALL SELECT typowner, typacl FROM pg_type JOIN members ON classid = 'pg_type'::regclass AND objid = oid
        UNION ALL SELECT oprowner, NULL FROM pg_operator
            JOIN members ON classid = 'pg_operator'::regclass AND objid = oid
        UNION ALL SELECT opcowner, NULL FROM pg_opclass JOIN members ON classid = 'pg_opclass'::regclass AND objid = oid
        UNION ALL SELECT opfowner, NULL FROM pg_opfamily
            JOIN members ON classid = 'pg_opfamily'::regclass AND objid = oid
        UNION ALL SELECT collowner, NULL FROM pg_collation
            JOIN members ON classid = 'pg_collation'::regclass AND objid = oid
        UNION ALL SELECT conowner, NULL FROM pg_conversion
            JOIN members ON classid = 'pg_conversion'::regclass AND objid = oid
        UNION ALL SELECT cfgowner, NULL FROM pg_ts_config
            JOIN members ON classid = 'pg_ts_config'::regclass AND objid = oid
        UNION ALL SELECT dictowner, NULL FROM pg_ts_dict
            JOIN members ON classid = 'pg_ts_dict'::regclass AND objid = oid
        UNION ALL SELECT stxowner, NULL FROM pg_statistic_ext
            JOIN members ON classid = 'pg_statistic_ext'::regclass AND objid = oid
    ), named (kind, role) AS (
        SELECT 'owners', owner FROM owned
        UNION SELECT 'grantees', g.grantee FROM owned CROSS JOIN LATERAL aclexplode(acl) g WHERE g.grantee <> owner
        UNION SELECT 'grantors', g.grantor FROM owned CROSS JOIN LATERAL aclexplode(acl) g WHERE g.grantor <> owner
        UNION SELECT 'default_privileges', defaclrole FROM pg_default_acl
            WHERE defaclnamespace IN (SELECT oid FROM ours)
        UNION SELECT 'grantees', g.grantee FROM pg_default_acl CROSS JOIN LATERAL aclexplode(defaclacl) g
            WHERE defaclnamespace IN (SELECT oid FROM ours) AND g.grantee <> defaclrole
        UNION SELECT 'policies', role FROM pg_policy CROSS JOIN LATERAL unnest(polroles) AS role
            WHERE polrelid IN (SELECT oid FROM relations)
    )
    SELECT kind, array_agg(DISTINCT rolname::text ORDER BY rolname::text) AS roles
    FROM named JOIN pg_roles ON pg_roles.oid = role
    GROUP BY kind
"""
)
TABLESPACES: LiteralString = (
    OURS
    + """
    SELECT DISTINCT spcname FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.oid IN (SELECT oid FROM relations) ORDER BY 1
"""
)
LABEL_PROVIDERS: LiteralString = (
    OURS
    + """
    SELECT DISTINCT provider FROM pg_seclabel l
    JOIN members m ON m.classid = l.classoid AND m.objid = l.objoid ORDER BY 1
"""
)
PUBLICATIONS: LiteralString = (
    OURS
    + """
    SELECT pubname FROM pg_publication p WHERE EXISTS (
        SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid IN (SELECT oid FROM relations))
       OR EXISTS (
        SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid AND n.pnnspid IN (SELECT oid FROM ours)
    )
    ORDER BY 1
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
    SELECT DISTINCT ON (1) split_part(setting, '=', 1) AS name,
           CASE WHEN position('.' in split_part(setting, '=', 1)) = 0
                THEN substr(setting, position('=' in setting) + 1) END AS value
    FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(setconfig) AS setting
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND (setrole = 0 OR setrole IN (SELECT nspowner FROM pg_namespace WHERE nspname = ANY(%(schemas)s)))
    ORDER BY 1, setrole DESC, setdatabase DESC
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
    SELECT p.proname AS name, p.oid::regprocedure::text AS signature, p.prosrc AS body,
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
    , barred (classid, objid) AS (
        SELECT classid, objid FROM members WHERE classid IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass)
        UNION ALL SELECT classid, objid FROM members
            JOIN pg_type t ON classid = 'pg_type'::regclass AND t.oid = objid
            WHERE t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
        UNION ALL SELECT classid, objid FROM members
            JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
            JOIN pg_language l ON l.oid = p.prolang
            WHERE p.prokind <> 'a' AND NOT l.lanpltrusted OR p.proleakproof OR p.prosupport <> 0 OR EXISTS (
                SELECT FROM unnest(p.proconfig) AS own
                JOIN pg_settings g ON g.name = split_part(own, '=', 1) AND g.context LIKE 'superuser%%')
        UNION ALL SELECT 'pg_cast'::regclass, k.oid FROM pg_cast k
            JOIN members ON classid = 'pg_type'::regclass AND objid IN (k.castsource, k.casttarget)
            WHERE k.castmethod = 'b' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_cast'::regclass AND objid = k.oid AND deptype IN ('e', 'i'))
        UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
            WHERE tmplnamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser WHERE prsnamespace IN (SELECT oid FROM ours)
    )
    SELECT DISTINCT i.type || ' ' || i.identity
    FROM barred b CROSS JOIN LATERAL pg_identify_object(b.classid, b.objid, 0) i
    WHERE NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = b.classid AND e.objid = b.objid AND e.deptype IN ('e', 'i'))
    ORDER BY 1
"""
)
# What a function may name without its schema: what stands in its own one, in public and beside
# extensions.
NAMES: LiteralString = """
    WITH searched AS MATERIALIZED (
        SELECT oid, nspname FROM pg_namespace
        WHERE nspname = ANY(%(schemas)s) OR nspname = 'public'
           OR (oid IN (SELECT extnamespace FROM pg_extension) AND nspname <> 'pg_catalog')
    )
    SELECT nspname, proname FROM searched JOIN pg_proc ON pronamespace = searched.oid
    UNION SELECT nspname, relname FROM searched JOIN pg_class ON relnamespace = searched.oid AND relkind <> 'i'
    UNION SELECT nspname, typname FROM searched JOIN pg_type ON typnamespace = searched.oid
"""

type _Reader[T] = Callable[[psycopg.Connection[Any], Sequence[str]], T]
"""Reads something of these schemas, the tenant's own first."""


def _models[M: BaseModel](query: LiteralString, model: type[M]) -> _Reader[list[M]]:
    def read(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[M]:
        with connection.cursor(row_factory=class_row(model)) as cursor:
            return cursor.execute(query, {"schemas": list(schemas)}).fetchall()

    return read


def _texts(query: LiteralString) -> _Reader[list[str]]:
    def read(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[str]:
        with connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(query, {"schemas": list(schemas)}).fetchall()

    return read


def _roles(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> Roles:
    return Roles(**dict(connection.execute(ROLES, {"schemas": list(schemas)}).fetchall()))


def _locale(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> Locale:
    [found] = _models(LOCALE, Locale)(connection, schemas)
    return found


def _settings(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> dict[str, str | None]:
    # What the dump says itself when it is restored: bodies of functions are not looked at.
    return {
        "check_function_bodies": "off",
        **dict(connection.execute(SESSION_SETTINGS).fetchall()),
        **dict(connection.execute(SETTINGS, {"schemas": list(schemas)}).fetchall()),
    }


@dataclass(frozen=True)
class _Function:
    name: str
    signature: str
    body: str
    has_path: bool
    used_by: list[str]


def _search_path_traps(connection: psycopg.Connection[Any], schemas: Sequence[str]) -> list[SearchPathTrap]:
    schemas_of: dict[str, set[str]] = defaultdict(set)
    for in_schema, name in connection.execute(NAMES, {"schemas": list(schemas)}):
        schemas_of[name].add(in_schema)
    with connection.cursor(row_factory=class_row(_Function)) as cursor:
        functions = cursor.execute(FUNCTIONS, {"schemas": list(schemas)}).fetchall()
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
    "encoding": lambda connection, schemas: _texts(ENCODING)(connection, schemas)[0],
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
