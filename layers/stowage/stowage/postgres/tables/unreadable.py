"""Tables that nobody declared and that a backup holds all the same: whether it may read them."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg

from stowage.entities.checking import Finding, Literals, wanted_columns

_UNREADABLE: LiteralString = """
SELECT relname, count(*), (array_agg(nspname::text ORDER BY nspname))[:%(named)s]
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY(%(schemas)s) AND relkind IN ('r', 'p') AND relname <> ALL(%(declared)s)
  AND to_regrole('stowage_dump') IS NOT NULL
  AND NOT has_table_privilege(to_regrole('stowage_dump'), pg_class.oid, 'SELECT')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass AND deptype = 'e')
GROUP BY relname ORDER BY relname
"""


def check_backups(
    connection: psycopg.Connection, literals: Literals, schemas: Sequence[str], named: int = 5
) -> list[Finding]:
    """The tables beside the declared ones that would end a backup; of each, so many schemas are `named`."""
    given = {"schemas": list(schemas), "declared": list(wanted_columns(literals)), "named": named}
    return [
        Finding(
            "error",
            None,
            f"stowage_dump lacks SELECT on {table}, so that backups fail; run `grant` for the schema",
            tenants,
            tuple(found),
        )
        for table, tenants, found in connection.execute(_UNREADABLE, given)
    ]
