"""Reads how declared tables look in every tenant's schema: tables that are alike are grouped by the server.

Few shapes are left of ten thousand tenants; only one table of each is then read column by column.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.types.json import Jsonb

from stowage.entities.language import OWN_PREFIX
from stowage.entities.shapes import Absent, Index, Shape, ShapeColumn

_ABSENT_SCHEMAS = """
SELECT NULL::text, count(*), (array_agg(given.name ORDER BY given.name COLLATE "C"))[1:%(named)s]
FROM unnest(%(schemas)s::text[]) AS given (name)
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = given.name)
HAVING count(*) > 0
"""

_ABSENT_TABLES = """
SELECT wanted.name, count(*), (array_agg(nspname::text ORDER BY nspname COLLATE "C"))[1:%(named)s]
FROM pg_namespace AS space, jsonb_object_keys(%(wanted)s) AS wanted (name)
WHERE space.nspname = ANY(%(schemas)s::name[])
  AND NOT EXISTS (
      SELECT FROM pg_class
      WHERE relnamespace = space.oid AND relname = wanted.name AND relkind IN ('r', 'p', 'v', 'm')
  )
GROUP BY wanted.name
ORDER BY wanted.name COLLATE "C"
"""

# Types of a tenant's own schema have another oid in each, hence their names. Everything is joined and grouped as a
# whole: a look at each table by itself would cost a hundred thousand of them.
_SHAPES = """
WITH role AS MATERIALIZED (
    SELECT oid, rolbypassrls OR rolsuper AS sees_all, to_regrole('stowage_purge')::oid AS purge,
           to_regrole('stowage_dump')::oid AS dump
    FROM pg_roles WHERE rolname = 'stowage_app'
),
wanted AS MATERIALIZED (
    SELECT key::name AS name, ARRAY(SELECT jsonb_array_elements_text(value)::name) AS columns
    FROM jsonb_each(%(wanted)s)
),
tables AS MATERIALIZED (
    SELECT class.oid, class.relname, class.relkind IN ('v', 'm') AS is_view, class.relowner, class.relrowsecurity,
           class.relforcerowsecurity, class.relnamespace, space.nspname, wanted.columns
    FROM pg_namespace AS space
    JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relkind IN ('r', 'p', 'v', 'm')
    JOIN wanted ON wanted.name = class.relname
    WHERE space.nspname = ANY(%(schemas)s::name[])
),
columns AS (
    SELECT attrelid, md5(string_agg(
               concat_ws(
                   ' ', attname, CASE WHEN atttypid < 16384 THEN atttypid::text ELSE type.typname::text END,
                   atttypmod, attnotnull, atthasdef, attidentity, attgenerated,
                   CASE WHEN typtype = 'e' THEN (
                       SELECT string_agg(enumlabel::text, ',' ORDER BY enumsortorder) FROM pg_enum
                       WHERE enumtypid = atttypid
                   ) END
               ), ',' ORDER BY attname
           )) AS alike
    FROM tables
    JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
     AND (attname = ANY(tables.columns) OR (attnotnull AND NOT atthasdef AND attidentity = '')
          OR starts_with(attname::text, %(own)s))
    JOIN pg_type AS type ON type.oid = atttypid
    GROUP BY attrelid
),
indexes AS (
    SELECT indrelid, md5(string_agg(
               concat_ws(' ', attname, indpred IS NULL, indisunique, indnkeyatts), ','
               ORDER BY attname, indpred IS NULL, indisunique, indnkeyatts
           )) AS alike
    FROM tables
    JOIN pg_index ON indrelid = tables.oid AND indisvalid
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    GROUP BY indrelid
),
sequences AS (
    SELECT attrelid, array_agg('stowage_app USAGE of the sequence of ' || attname ORDER BY attname) AS lacking
    FROM tables
    JOIN pg_attribute ON attrelid = tables.oid AND attname = ANY(tables.columns) AND NOT attisdropped
     AND (atthasdef OR attidentity <> '')
    CROSS JOIN role
    WHERE EXISTS (
        SELECT FROM pg_depend
        WHERE refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum
          AND classid = 'pg_class'::regclass AND deptype = 'i' AND attidentity <> ''
          AND NOT has_sequence_privilege(role.oid, objid, 'USAGE, UPDATE')
    ) OR EXISTS (
        SELECT FROM pg_attrdef JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid
        JOIN pg_sequence ON seqrelid = refobjid
        WHERE adrelid = attrelid AND adnum = attnum AND refclassid = 'pg_class'::regclass
          AND NOT has_sequence_privilege(role.oid, seqrelid, 'USAGE, UPDATE')
    )
    GROUP BY attrelid
),
-- Functions of Postgres's own are no dependencies, so that few defaults are left to look at.
schemas AS (
    SELECT adrelid, array_agg(DISTINCT format('stowage_app USAGE of the schema %%I by %%I', space.nspname, attname))
               AS lacking
    FROM tables
    JOIN pg_attrdef ON adrelid = tables.oid
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum AND attname = ANY(tables.columns) AND attgenerated = ''
    JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid AND refclassid = 'pg_proc'::regclass
    JOIN pg_proc ON pg_proc.oid = refobjid
    JOIN pg_namespace AS space ON space.oid = pronamespace
    CROSS JOIN role
    WHERE NOT has_schema_privilege(role.oid, space.oid, 'USAGE') AND space.oid <> tables.relnamespace
    GROUP BY adrelid
),
found AS (
    SELECT tables.oid, relname, nspname, is_view, columns.alike AS columns, indexes.alike AS indexes,
           array_remove(ARRAY[
               CASE WHEN NOT has_schema_privilege(role.oid, relnamespace, 'USAGE') THEN 'stowage_app USAGE' END,
               CASE WHEN NOT has_table_privilege(role.oid, tables.oid, 'SELECT') THEN 'stowage_app SELECT' END,
               CASE WHEN NOT has_table_privilege(role.oid, tables.oid, 'INSERT') THEN 'stowage_app INSERT' END,
               CASE WHEN NOT has_table_privilege(role.oid, tables.oid, 'UPDATE') THEN 'stowage_app UPDATE' END,
               CASE WHEN NOT has_table_privilege(role.oid, tables.oid, 'DELETE') THEN 'stowage_app DELETE' END,
               CASE WHEN NOT has_schema_privilege(role.purge, relnamespace, 'USAGE') THEN 'stowage_purge USAGE' END,
               CASE WHEN NOT has_table_privilege(role.purge, tables.oid, 'SELECT') THEN 'stowage_purge SELECT' END,
               CASE WHEN NOT has_table_privilege(role.purge, tables.oid, 'UPDATE') THEN 'stowage_purge UPDATE' END,
               CASE WHEN NOT has_table_privilege(role.purge, tables.oid, 'DELETE') THEN 'stowage_purge DELETE' END,
               CASE WHEN NOT has_schema_privilege(role.dump, relnamespace, 'USAGE') THEN 'stowage_dump USAGE' END,
               CASE WHEN NOT has_table_privilege(role.dump, tables.oid, 'SELECT') THEN 'stowage_dump SELECT' END
           ], NULL) || sequences.lacking || schemas.lacking AS lacking,
           relrowsecurity AND NOT role.sees_all
               AND (relforcerowsecurity OR NOT pg_has_role(role.oid, relowner, 'USAGE')) AS hides
    FROM tables
    LEFT JOIN role ON true
    LEFT JOIN columns ON columns.attrelid = tables.oid
    LEFT JOIN indexes ON indexes.indrelid = tables.oid
    LEFT JOIN sequences ON sequences.attrelid = tables.oid
    LEFT JOIN schemas ON schemas.adrelid = tables.oid
)
SELECT relname::text, count(*), (array_agg(nspname::text ORDER BY nspname))[1:%(named)s],
       is_view, lacking, coalesce(hides, false), min(oid)
FROM found
GROUP BY relname, is_view, lacking, hides, columns, indexes
ORDER BY relname, count(*) DESC, min(nspname::text COLLATE "C")
"""

_COLUMNS = """
SELECT attrelid, attname::text,
       CASE WHEN type.typnamespace = class.relnamespace
            THEN regexp_replace(
                     format_type(atttypid, atttypmod),
                     '^' || regexp_replace(quote_ident(nspname), '(\\W)', '\\\\\\1', 'g') || '\\.', ''
                 )
            ELSE format_type(atttypid, atttypmod) END,
       NOT attnotnull, atthasdef OR attidentity <> '', attgenerated <> '',
       ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = atttypid ORDER BY enumsortorder)
FROM pg_attribute
JOIN pg_class AS class ON class.oid = attrelid
JOIN pg_namespace AS space ON space.oid = class.relnamespace
JOIN pg_type AS type ON type.oid = atttypid
WHERE attrelid = ANY(%(tables)s::oid[]) AND attnum > 0 AND NOT attisdropped
"""

_INDEXES = """
SELECT indrelid, attname::text, indpred IS NOT NULL, indisunique AND indnkeyatts = 1,
       CASE WHEN indisunique THEN ARRAY(
           SELECT named.attname::text FROM unnest((indkey::int2[])[0:indnkeyatts - 1]) AS part (attnum)
           JOIN pg_attribute AS named ON named.attrelid = indrelid AND named.attnum = part.attnum
       ) ELSE '{}' END
FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = ANY(%(tables)s::oid[]) AND indisvalid
"""


def read_shapes(
    connection: psycopg.Connection, schemas: Sequence[str], wanted: Mapping[str, Sequence[str]], named: int = 5
) -> tuple[list[Absent], list[Shape]]:
    """What of `wanted` (columns by table) is nowhere in which schemas, and the shapes that their tables have.

    Of each, so many schemas are `named`.
    """
    given = {
        "schemas": list(schemas),
        "wanted": Jsonb({table: list(columns) for table, columns in wanted.items()}),
        "named": named,
        "own": OWN_PREFIX,
    }
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', '', true)")
        absent = [
            Absent(table, count, tuple(named))
            for statement in (_ABSENT_SCHEMAS, _ABSENT_TABLES)
            for table, count, named in connection.execute(statement, given)
        ]
        found = connection.execute(_SHAPES, given).fetchall()
        tables = {"tables": [row[-1] for row in found]}
        columns, indexes = defaultdict[int, dict[str, ShapeColumn]](dict), defaultdict[int, list[Index]](list)
        for table, name, written, may_be_null, is_filled, is_made, labels in connection.execute(_COLUMNS, tables):
            columns[table][name] = ShapeColumn(written, may_be_null, is_filled, is_made, tuple(labels))
        for table, column, is_partial, is_key, unique in connection.execute(_INDEXES, tables):
            indexes[table].append(Index(column, is_partial, is_key, frozenset(unique)))
    return absent, [
        Shape(name, count, tuple(named), is_view, columns[table], tuple(indexes[table]), tuple(lacking), hides)
        for name, count, named, is_view, lacking, hides, table in found
    ]


_ROLE = "SELECT to_regrole('stowage_app') IS NOT NULL"


def has_roles(connection: psycopg.Connection) -> bool:
    """Whether Stowage's roles are there, whose rights a shape tells."""
    return connection.execute(_ROLE).fetchone() == (True,)
