"""A tenant's search path. A product with a schema for each customer says its tables' names without the
schema, in triggers, checks and the functions of indexes too; what of ours calls them has to find the
same.
"""

from collections.abc import Collection
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.postgres.session.own_rules import AFTERWARDS, INSTEAD, Rule, keep_after_triggers

# Ten thousand records and their images in the journal: with Postgres's own 4 MB they would go through temporary files.
# A table that ANALYZE saw while it was loaded has pages and next to no rows: Postgres then reads the records of a
# request once for each of the table's, which takes minutes for ten thousand. Without nested loops it hashes them.
_FOLLOW: LiteralString = f"""
SELECT set_config('search_path', %(path)s, true), set_config('work_mem', '32MB', true), {INSTEAD},
       {AFTERWARDS},
       CASE WHEN EXISTS (
           SELECT FROM pg_class WHERE reltuples >= 0 AND 10 * reltuples < relpages
               AND oid = ANY(ARRAY(SELECT to_regclass(name)::oid FROM unnest(%(tables)s::text[]) AS name))
       ) THEN set_config('enable_nestloop', 'off', true) END
"""


def follow_search_path(connection: psycopg.Connection, schema: str, tables: Collection[str]) -> list[Rule]:
    """Let the rest of the transaction find names in that schema, then in public, with memory for ten thousand records.
    The rules of these tables (`qualified`) that do something else instead, because one statement is enough; which of
    them have AFTER triggers is kept (`has_after_triggers`).
    """
    path = sql.Identifier(schema).as_string(connection)
    given = {"path": f"{path}, public", "tables": list(tables)}
    row = connection.execute(_FOLLOW, given).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    keep_after_triggers(connection, row[3])
    return [*map(tuple, row[2])]
