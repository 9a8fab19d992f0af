"""Reads the tables of a schema from the catalogue: a few statements over all of them, whatever their number."""

from collections import defaultdict

import psycopg

from stowage.entities.catalogue import Column, ForeignKey, Table, UniqueIndex

# Types are written with the schema as search path, so that those of its own have no schema in their names.
_PATH = "SELECT set_config('search_path', quote_ident(%(schema)s), true)"

_COLUMNS = """
SELECT class.relname::text, class.relkind IN ('v', 'm'), class.relrowsecurity,
       ARRAY(
           SELECT tgname::text FROM pg_trigger
           WHERE tgrelid = class.oid AND NOT tgisinternal ORDER BY tgname COLLATE "C"
       ),
       attribute.attname::text, format_type(attribute.atttypid, attribute.atttypmod), NOT attribute.attnotnull,
       pg_get_expr(standard.adbin, standard.adrelid),
       CASE WHEN attribute.attidentity <> '' THEN 'identity' WHEN attribute.attgenerated <> '' THEN 'generated'
            ELSE 'plain' END,
       ARRAY(
           SELECT enumlabel::text FROM pg_enum WHERE enumtypid = attribute.atttypid ORDER BY enumsortorder
       )
FROM pg_class AS class
JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef AS standard ON standard.adrelid = class.oid AND standard.adnum = attribute.attnum
WHERE class.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND class.relkind IN ('r', 'p', 'v', 'm')
  AND NOT class.relispartition
  AND NOT EXISTS (
      SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
  )
ORDER BY class.relname COLLATE "C", attribute.attnum
"""

_CONSTRAINTS = """
SELECT class.relname::text, rule.contype::text,
       ARRAY(
           SELECT attname::text FROM unnest(rule.conkey) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_attribute ON attrelid = rule.conrelid AND pg_attribute.attnum = part.attnum ORDER BY n
       ),
       other.relname::text, space.nspname::text, rule.confdeltype::text,
       ARRAY(
           SELECT attname::text FROM unnest(rule.confkey) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_attribute ON attrelid = rule.confrelid AND pg_attribute.attnum = part.attnum ORDER BY n
       ),
       CASE WHEN rule.contype = 'c' THEN pg_get_expr(rule.conbin, rule.conrelid) END
FROM pg_constraint AS rule
JOIN pg_class AS class ON class.oid = rule.conrelid
LEFT JOIN pg_class AS other ON other.oid = rule.confrelid
LEFT JOIN pg_namespace AS space ON space.oid = other.relnamespace
WHERE class.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND rule.contype IN ('p', 'f', 'c')
ORDER BY class.relname COLLATE "C", rule.contype, rule.conname COLLATE "C"
"""

_INDEXES = """
SELECT class.relname::text, entry.indisunique AND NOT entry.indisprimary, named.relname::text,
       ARRAY(
           SELECT attname::text FROM unnest(entry.indkey::int2[]) WITH ORDINALITY AS part (attnum, n)
           LEFT JOIN pg_attribute ON attrelid = entry.indrelid AND pg_attribute.attnum = part.attnum
           WHERE n <= entry.indnkeyatts ORDER BY n
       ),
       ARRAY(
           SELECT pg_get_indexdef(entry.indexrelid, n, true) FROM generate_series(1, entry.indnkeyatts) AS n ORDER BY n
       ),
       pg_get_expr(entry.indpred, entry.indrelid)
FROM pg_index AS entry
JOIN pg_class AS class ON class.oid = entry.indrelid
JOIN pg_class AS named ON named.oid = entry.indexrelid
WHERE class.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND entry.indisvalid
  AND (entry.indisunique OR entry.indpred IS NOT NULL)
ORDER BY class.relname COLLATE "C", named.relname COLLATE "C"
"""

_SCHEMA_EXISTS = "SELECT to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL"


def read_tables(connection: psycopg.Connection, schema: str) -> list[Table] | None:
    """The tables and views of a schema by name, extensions' and partitions left out; None where there is no schema."""
    given = {"schema": schema}
    with connection.transaction():
        connection.execute(_PATH, given)
        if connection.execute(_SCHEMA_EXISTS, given).fetchone() != (True,):
            return None
        columns = connection.execute(_COLUMNS, given).fetchall()
        constraints = connection.execute(_CONSTRAINTS, given).fetchall()
        indexes = connection.execute(_INDEXES, given).fetchall()
    heads = dict[str, tuple[bool, bool, tuple[str, ...]]]()
    columns_of, keys = defaultdict[str, list[Column]](list), dict[str, tuple[str, ...]]()
    foreign, checks = defaultdict[str, list[ForeignKey]](list), defaultdict[str, list[tuple[str, str]]](list)
    for table, is_view, has_security, triggers, name, written, is_nullable, default, kind, labels in columns:
        heads[table] = (is_view, has_security, tuple(triggers))
        columns_of[table].append(Column(name, written, is_nullable, default, kind, tuple(labels)))
    for table, kind, own, other, space, on_delete, target, expression in constraints:
        if kind == "p":
            keys[table] = tuple(own)
        elif kind == "f":
            foreign[table].append(ForeignKey(tuple(own), space, other, tuple(target), on_delete))
        elif len(own) == 1:
            checks[table].append((own[0], expression))
    uniques, predicates = defaultdict[str, list[UniqueIndex]](list), defaultdict[str, list[str]](list)
    for table, is_rule, name, parts, texts, predicate in indexes:
        if is_rule:
            uniques[table].append(UniqueIndex(name, tuple(parts), tuple(texts), predicate))
        if predicate is not None:
            predicates[table].append(predicate)
    return [
        Table(
            name,
            is_view,
            has_security,
            triggers,
            tuple(columns_of[name]),
            keys.get(name, ()),
            tuple(foreign[name]),
            tuple(uniques[name]),
            tuple(dict.fromkeys(predicates[name])),
            tuple(checks[name]),
        )
        for name, (is_view, has_security, triggers) in heads.items()
    ]
