"""Ids of new records, made before the records are: then it is known which new row is whose.

What the database makes is asked of it beforehand, by the column's own default or identity, and given with the rows. An
`INSERT … RETURNING` gives rows in no promised order, and a trigger that leaves one out would shift the others.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.errors import MisconfiguredError
from stowage.basics.ids import new_record_ids, new_uuids
from stowage.entities.declaration import Entity, Field
from stowage.postgres.session.edit import Edit
from stowage.postgres.tables.expressions import Expression
from stowage.postgres.tables.relations import table_of

NUMBERS_PASSED_OVER = 2_000_000
"""So many numbers of a sequence are passed over one by one, which any role may do that takes them."""

# The sequence of an identity, or of `nextval` in a default, whoever owns it.
_SEQUENCE: LiteralString = """
SELECT used.objid FROM pg_depend AS used
WHERE used.classid = 'pg_class'::regclass AND used.refclassid = 'pg_class'::regclass
  AND used.refobjid = attrelid AND used.refobjsubid = attnum AND used.deptype = 'i'
UNION ALL
SELECT used.refobjid FROM pg_attrdef JOIN pg_depend AS used ON used.objid = pg_attrdef.oid
JOIN pg_sequence ON seqrelid = used.refobjid
WHERE adrelid = attrelid AND adnum = attnum
  AND used.classid = 'pg_attrdef'::regclass AND used.refclassid = 'pg_class'::regclass
"""
_COLUMN: LiteralString = "attrelid = to_regclass(%(table)s) AND attname = %(key)s AND NOT attisdropped"
_MAKER = f"""
SELECT CASE WHEN attidentity <> '' THEN format('nextval(%%L::regclass)', ({_SEQUENCE})::regclass)
       ELSE (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum) END
FROM pg_attribute WHERE {_COLUMN}
"""
_MAKE = sql.SQL("SELECT array_agg(({maker})::text) FROM generate_series(1, %s)")


def make_ids(connection: psycopg.Connection, edit: Edit, entity: Entity, count: int) -> list[str]:
    """So many ids of new records, by Stowage or by the database, as the entity's key says.

    MisconfiguredError `no_ids` where the database should make them, and the column has neither default nor identity.
    """
    if entity.key.made_by == "database":
        statement = _MAKE.format(maker=id_maker(connection, edit.schema, entity))
        return _made(connection, statement, count)
    if entity.key.type == "uuid":
        return new_uuids(count, edit.at)
    return new_record_ids(entity.id_prefix, count, edit.at)


def _made(connection: psycopg.Connection, statement: sql.Composed, count: int) -> list[Any]:
    row = connection.execute(statement, (count,)).fetchone()
    assert row is not None, "an aggregate gives one row"
    return row[0] or []


def id_maker(connection: psycopg.Connection, schema: str, entity: Entity) -> sql.Composable:
    """The expression that makes an id in the database, where the search path is the tenant's."""
    row = connection.execute(
        _MAKER, {"table": table_of(schema, entity).as_string(connection), "key": entity.column("id")}
    ).fetchone()
    if row is None or row[0] is None:
        raise MisconfiguredError(
            f"The database should make the ids of {entity.name}, but their column has neither default nor identity.",
            "no_ids",
        )
    return Expression(row[0])


_DEFAULTS: LiteralString = """
SELECT attname::text, pg_get_expr(adbin, adrelid)
FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = to_regclass(%s) AND attgenerated = '' AND attname = ANY(%s)
"""


def default_makers(
    connection: psycopg.Connection, schema: str, entity: Entity, columns: Sequence[str]
) -> dict[str, sql.Composable]:
    """The expressions that make the database's own defaults of these columns; those that have none are left out."""
    table = table_of(schema, entity).as_string(connection)
    found = connection.execute(_DEFAULTS, (table, list(columns))).fetchall() if columns else []
    return {column: Expression(maker) for column, maker in found}


def make_defaults(connection: psycopg.Connection, schema: str, entity: Entity, field: Field, count: int) -> list[Any]:
    """So many values of a field that the database makes by its default: texts, or of json what it holds."""
    makers = default_makers(connection, schema, entity, [field.column])
    if field.column not in makers:
        return [None] * count
    made = _made(connection, _MAKE.format(maker=makers[field.column]), count)
    is_json = field.type == "json" and not field.is_array
    return [json.loads(value) if is_json and value is not None else value for value in made]


# An id of the upper half of its numbers leaves a sequence where it is: else one large id would use it up.
_PASS_OVER = f"""
WITH used AS MATERIALIZED (
    SELECT sequence FROM pg_attribute, LATERAL ({_SEQUENCE} LIMIT 1) AS used (sequence) WHERE {_COLUMN}
),
known AS MATERIALIZED (
    SELECT sequence::regclass, seqmax, seqincrement,
           coalesce(pg_sequence_last_value(sequence), seqstart - seqincrement) AS last_value
    FROM used JOIN pg_sequence ON seqrelid = sequence
),
behind AS MATERIALIZED (
    SELECT sequence, (%(id)s - last_value - 1) / seqincrement + 1 AS steps FROM known
    WHERE seqincrement > 0 AND last_value < %(id)s AND %(id)s <= seqmax / 2
)
SELECT CASE
    WHEN steps <= %(most)s THEN (
        SELECT max(passed) FROM (SELECT nextval(sequence) AS passed FROM generate_series(1, steps)) AS each
    )
    WHEN has_sequence_privilege(sequence, 'UPDATE') THEN setval(sequence, %(id)s)
END
FROM behind
"""


def pass_over(connection: psycopg.Connection, schema: str, entity: Entity, ids: Iterable[str]) -> None:
    """Let the sequence that makes an entity's ids pass over those that were given, so that none comes a second time.

    Up to `NUMBERS_PASSED_OVER` ahead of it; beyond them where the role may set it (UPDATE on the sequence).
    """
    if entity.key.made_by == "database" and entity.key.type in ("integer", "bigint"):
        largest = max(map(int, ids), default=0)
        table = table_of(schema, entity).as_string(connection)
        if largest > 0:
            given = {"id": largest, "table": table, "key": entity.column("id"), "most": NUMBERS_PASSED_OVER}
            connection.execute(_PASS_OVER, given)
