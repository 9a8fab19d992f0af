"""A tenant's search path. A product with a schema for each customer says its tables' names without the
schema, in triggers, checks and the functions of indexes too; what of ours calls them has to find the
same.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

# Ten thousand records and their images in the journal: with Postgres's own 4 MB they would go through temporary files.
_FOLLOW: LiteralString = "SELECT set_config('search_path', %s, %s), set_config('work_mem', '32MB', true)"


def follow_search_path(connection: psycopg.Connection, schema: str, *, for_good: bool = False) -> None:
    """Let the rest of the transaction find names in that schema, then in public, with memory for ten thousand records.

    `for_good`: the path holds for all of the session, of a connection that serves no other tenant.
    """
    path = sql.Identifier(schema).as_string(connection)
    connection.execute(_FOLLOW, (f"{path}, public", not for_good))
