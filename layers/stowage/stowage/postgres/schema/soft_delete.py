"""The migration that gives a trash to a table of an adopter's own that has none (docs/entities.md)."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from stowage.entities.language import TRASH_IN_ROW


@dataclass(frozen=True)
class UniqueRule:
    """A unique constraint, or a unique index that is none, over plain columns of every row of a table."""

    name: str
    columns: tuple[str, ...]
    is_constraint: bool
    referenced: bool


_UNIQUE_RULES = """
SELECT class.relname,
       ARRAY(
           SELECT attname::text FROM unnest(index.indkey::int2[]) WITH ORDINALITY AS key (attnum, n)
           JOIN pg_attribute ON attrelid = index.indrelid AND pg_attribute.attnum = key.attnum
           WHERE n <= index.indnkeyatts
           ORDER BY n
       ),
       rule.oid IS NOT NULL,
       EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conindid = index.indexrelid)
FROM pg_index AS index
JOIN pg_class AS class ON class.oid = index.indexrelid
LEFT JOIN pg_constraint AS rule ON rule.conindid = index.indexrelid AND rule.contype = 'u'
WHERE index.indrelid = to_regclass(%s)
  AND index.indisunique AND NOT index.indisprimary AND index.indpred IS NULL AND index.indexprs IS NULL
ORDER BY class.relname
"""

_HAS_EARLIER = """
SELECT count(*) = %s FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attname = ANY(%s)
"""


def has_earlier_trash(connection: psycopg.Connection, schema: str, table: str) -> bool:
    """Whether an earlier version's trash lies in a table's rows."""
    name = sql.Identifier(schema, table).as_string(connection)
    given = (len(TRASH_IN_ROW), name, list(TRASH_IN_ROW))
    return connection.execute(_HAS_EARLIER, given).fetchone() == (True,)


_MOVE = """\
-- An earlier version's trash lies in these rows. It moves beside them; the third name is the entity's.
SELECT stowage.move_trash({}, {}, {});
"""


def moving_migration(schema: str, table: str) -> str:
    """SQL that moves an earlier version's trash out of a table."""
    return _MOVE.format(*(sql.Literal(each).as_string(None) for each in (schema, table, table)))


_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"


def read_unique_rules(connection: psycopg.Connection, schema: str, table: str) -> list[UniqueRule] | None:
    """The unique rules of a table that count every row, its primary key apart; None when there is no such table."""
    name = sql.Identifier(schema, table).as_string(connection)
    found = connection.execute(_EXISTS, (name,)).fetchone()
    if found is None or not found[0]:
        return None
    rows = connection.execute(_UNIQUE_RULES, (name,)).fetchall()
    return [UniqueRule(str(rule), tuple(columns), *flags) for rule, columns, *flags in rows]


_COLUMNS = """\
ALTER TABLE {table} ADD COLUMN deleted_at timestamptz;
CREATE INDEX {by_deletion} ON {table} (deleted_at, {key}) WHERE deleted_at IS NOT NULL;
CREATE INDEX {cut_ids} ON {table} (({key}::text) COLLATE "C") WHERE strpos({key}::text, '?') > 0;
"""

_NO_RULES_READ = """
-- A unique rule that counts rows in the trash blocks their replacements. Each one becomes a partial index, for example:
--     ALTER TABLE {table} DROP CONSTRAINT … ;
--     CREATE UNIQUE INDEX … ON {table} (…) WHERE deleted_at IS NULL;
-- With --url this command reads the table and writes them out.
"""

_RULE = """
-- Unique among the rows that are not in the trash.
{drop}
CREATE UNIQUE INDEX {name} ON {table} ({columns}) WHERE deleted_at IS NULL;
"""

_REFERENCED_RULE = """
-- {name} counts rows in the trash too, and so blocks their replacements; foreign keys refer to it, so it is left alone.
"""


def soft_delete_migration(
    table: str, schema: str | None = None, rules: list[UniqueRule] | None = None, *, key: str = "id"
) -> str:
    """SQL that adds the trash's column and indexes to a table, and makes its unique rules count live rows only.

    Without a schema the table is named alone, for a migration that runs once per tenant with a search path. `rules`
    None: not read, so the SQL only says what to look for.
    """
    name = _quoted(schema, table) if schema else _quoted(table)
    text = _COLUMNS.format(
        table=name,
        key=_quoted(key),
        by_deletion=_quoted(f"{table}_deleted_at"),
        cut_ids=_quoted(f"{table}_cut_ids"),
    )
    if rules is None:
        return text + _NO_RULES_READ.format(table=name)
    for rule in rules:
        if rule.referenced:
            text += _REFERENCED_RULE.format(name=_quoted(rule.name))
            continue
        index = _quoted(schema, rule.name) if schema else _quoted(rule.name)
        drop = (
            f"ALTER TABLE {name} DROP CONSTRAINT {_quoted(rule.name)};"
            if rule.is_constraint
            else f"DROP INDEX {index};"
        )
        columns = ", ".join(_quoted(column) for column in rule.columns)
        text += _RULE.format(drop=drop, name=_quoted(rule.name), table=name, columns=columns)
    return text


def _quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string(None)
