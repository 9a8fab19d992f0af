"""Unique rules that only the catalog tells of: indexes of expressions, partial ones, exclusion constraints.

What a declaration says is unique is asked about with its columns (`stowage.postgres.tables.relations`). Other rules are
asked about as the database itself would: with the index's expressions, operators, collations and condition. They are
evaluated where no other relation's columns can be meant by their unqualified names.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.tables.expressions import Expression
from stowage.postgres.tables.relations import id_of, table_of
from stowage.postgres.tables.trashed import live_value


@dataclass(frozen=True)
class UniqueRule:
    """A unique index or an exclusion constraint, by its name.

    `keys` are expressions over the table's columns, `operators` say when two records are alike in each; a record counts
    where `condition` holds of it. `columns` are those that the rule looks at. `nulls_alike`: NULLS NOT DISTINCT.
    `generated` are the generated columns among them, each with the expression that it is made by; `table` is the
    table's name as SQL has it.
    """

    name: str
    table: LiteralString
    keys: tuple[LiteralString, ...]
    generated: Mapping[str, LiteralString]
    operators: tuple[LiteralString, ...]
    condition: LiteralString
    columns: frozenset[str]
    nulls_alike: bool


_RULES = """
SELECT asked.n, class.relname::text,
       ARRAY(
           SELECT coalesce(
               (SELECT format('((%%s) COLLATE %%I.%%I)', pg_get_indexdef(indexrelid, k, false), nspname, collname)
                FROM pg_collation JOIN pg_namespace ON pg_namespace.oid = collnamespace
                WHERE pg_collation.oid = index.indcollation[k - 1]),
               format('(%%s)', pg_get_indexdef(indexrelid, k, false))
           )
           FROM generate_series(1, indnkeyatts) AS k ORDER BY k
       ),
       ARRAY(
           SELECT (
               SELECT format('OPERATOR(%%I.%%s)', nspname, oprname)
               FROM pg_operator JOIN pg_namespace ON pg_namespace.oid = oprnamespace
               WHERE pg_operator.oid = coalesce(conexclop[k], (
                   SELECT amopopr FROM pg_opclass JOIN pg_amop ON amopfamily = opcfamily
                   WHERE pg_opclass.oid = index.indclass[k - 1] AND amopstrategy = 3
                     AND amoplefttype = opcintype AND amoprighttype = opcintype
               ))
           )
           FROM generate_series(1, indnkeyatts) AS k ORDER BY k
       ),
       coalesce(pg_get_expr(indpred, indrelid), '(true)'),
       ARRAY(
           SELECT attname::text FROM pg_attribute
           WHERE attrelid = indrelid AND attnum > 0 AND (
               attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1]) OR EXISTS (
                   SELECT FROM pg_depend
                   WHERE classid = 'pg_class'::regclass AND objid = indexrelid
                     AND refclassid = 'pg_class'::regclass AND refobjid = indrelid AND refobjsubid = attnum
                     AND indexprs IS NOT NULL
               ) OR cardinality(generated) > 0
           )
       ),
       indnullsnotdistinct,
       CASE WHEN conexclop IS NULL AND indexprs IS NULL THEN ARRAY(
           SELECT attname::text FROM pg_attribute
           WHERE attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])
       ) END,
       generated, ARRAY(
           SELECT format('CAST((%%s) AS %%s)', pg_get_expr(adbin, adrelid), format_type(atttypid, atttypmod))
           FROM unnest(generated) WITH ORDINALITY AS named (name, n)
           JOIN pg_attribute ON attrelid = indrelid AND attname = named.name
           JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
           ORDER BY named.n
       )
FROM unnest(%s::text[]) WITH ORDINALITY AS asked (name, n)
JOIN pg_index AS index ON indrelid = to_regclass(asked.name)
JOIN pg_class AS class ON class.oid = indexrelid
LEFT JOIN pg_constraint AS rule ON conindid = indexrelid AND contype = 'x'
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = indrelid AND attgenerated <> '' AND (
            attnum = ANY (indkey) OR EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = indexrelid
                  AND refclassid = 'pg_class'::regclass AND refobjid = indrelid AND refobjsubid = attnum
            )
        )
    )
) AS looked_at (generated)
WHERE indislive AND NOT indisprimary AND (indisunique OR rule.oid IS NOT NULL)
ORDER BY asked.n, class.relname
"""


def undeclared_rules(
    connection: psycopg.Connection, schema: str, entities: Iterable[Entity]
) -> dict[str, list[UniqueRule]]:
    """The unique rules of entities' tables that their declarations do not tell of, by the entity's name."""
    each = list({declared.name: declared for declared in entities}.values())
    names = [table_of(schema, declared).as_string(connection) for declared in each]
    found: dict[str, list[UniqueRule]] = {declared.name: [] for declared in each}
    rows = connection.execute(_RULES, (names,))
    for n, rule, keys, operators, condition, columns, nulls_alike, plain, generated, made_by in rows:
        declared = each[n - 1]
        known = [{declared.column(field) for field in rule} for rule in declared.unique]
        if (
            plain is None
            or set(plain) - {*declared.owner} not in known
            or condition not in _live(declared)
            or nulls_alike
        ):
            found[declared.name].append(
                UniqueRule(
                    rule,
                    names[n - 1],
                    tuple(keys),
                    dict(zip(generated, made_by, strict=True)),
                    tuple(operators),
                    condition,
                    frozenset(columns),
                    nulls_alike,
                )
            )
    return found


def _live(declared: Entity) -> Sequence[str]:
    """How the catalog may write that a record is not in the trash."""
    if not declared.soft_delete:
        return ("(true)",)
    column = declared.trash.column
    name = column if re.fullmatch(r"[a-z_][a-z0-9_]*", column) else f'"{column}"'
    if declared.trash.may_be_null:
        return (f"({name} IS NOT TRUE)",)
    return (f"(NOT {name})", f"({name} = false)") if declared.trash.is_flag else (f"({name} IS NULL)",)


_IS_IN_THE_WAY = sql.SQL("""
EXISTS (
    SELECT FROM (SELECT {keys}, {condition} AS stw_counts FROM {row} AS stw_row) AS stw_wanted, {table} AS stw_other
    WHERE stw_counts AND stw_other.{id} <> {row_id} AND {alike} AND {others}
)
""")
_ALIKE = {
    False: sql.SQL("{key} {operator} {wanted}"),
    True: sql.SQL("({key} {operator} {wanted} OR num_nonnulls({key}, {wanted}) = 0)"),
}


def is_in_the_way(
    table: sql.Composable,
    declared: Entity,
    rule: UniqueRule,
    row: sql.Composable,
    alias: str,
    others: sql.Composable | None = None,
) -> sql.Composed:
    """Whether another record of a table, or of rows like its, keeps `row` out by that rule.

    `row` is an item of a FROM clause: the record as it is to be, with the table's columns. The surrounding statement
    calls it `alias`. `others`, a condition of `stw_other`, says which records count: those of which the rule's own
    condition holds, unless given.
    """
    names = [sql.Identifier(f"stw_key_{n}") for n in range(len(rule.keys))]
    keys = [Expression(key) for key in rule.keys]
    condition = Expression(rule.condition)
    return _IS_IN_THE_WAY.format(
        keys=sql.SQL(", ").join(sql.SQL("{} AS {}").format(key, name) for key, name in zip(keys, names, strict=True)),
        condition=condition,
        row=with_generated(rule, row),
        table=table,
        id=id_of(declared),
        row_id=id_of(declared, alias),
        alike=sql.SQL(" AND ").join(
            _ALIKE[rule.nulls_alike].format(key=key, operator=Expression(operator), wanted=name)
            for key, operator, name in zip(keys, rule.operators, names, strict=True)
        ),
        others=others or condition,
    )


_WITH_GENERATED = sql.SQL("""
(SELECT (stw_filled.stw_whole).* FROM (
     SELECT jsonb_populate_record(NULL::{table}, to_jsonb(stw_row.*) || jsonb_build_object({made})) AS stw_whole
     FROM {row} AS stw_row OFFSET 0
 ) AS stw_filled)
""")


def with_generated(rule: UniqueRule, row: sql.Composable) -> sql.Composable:
    """An item of a FROM clause: `row`, its generated columns, as far as the rule looks at them, made anew."""
    if not rule.generated:
        return row
    made = [sql.SQL("{}, {}").format(sql.Literal(name), Expression(by)) for name, by in rule.generated.items()]
    return _WITH_GENERATED.format(table=Expression(rule.table), row=row, made=sql.SQL(", ").join(made))


_OUT_OF_TRASH = sql.SQL("jsonb_populate_record({row}.*, {live}::jsonb || {named})")
_NAMED = sql.SQL("jsonb_build_object({column}, {name})")


def out_of_trash(
    declared: Entity, row: str, column: str | None = None, name: sql.Composable | None = None
) -> sql.Composed:
    """A record of the trash as it would be outside it, an item of a FROM clause; with another `name` in a column."""
    named = _NAMED.format(column=sql.Literal(column), name=name) if name else sql.Literal("{}")
    live = json.dumps(live_value(declared))
    return _OUT_OF_TRASH.format(row=sql.Identifier(row), live=sql.Literal(live), named=named)
