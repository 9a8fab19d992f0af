"""Statements with parameters whose names and literals hold percent signs, as a column `share%` does.

psycopg takes each percent sign of such a statement for a placeholder's
(https://www.psycopg.org/psycopg3/docs/basic/params.html), those of `sql.Identifier` and
`sql.Literal` too.
"""

from typing import Any, Self, override

import psycopg
from psycopg import sql
from psycopg.abc import Params


class Cursor[Row](psycopg.Cursor[Row]):
    """psycopg's own, for names and literals with any characters."""

    @override
    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        if params is not None and isinstance(query, sql.Composable):
            query = self._doubled(query)
        return super().execute(query, params, **options)

    def _doubled(self, query: sql.Composable) -> bytes:
        match query:
            case sql.Composed():
                return b"".join([self._doubled(part) for part in query])
            case sql.SQL() | sql.Placeholder():
                return query.as_bytes(self)
            case _:
                return query.as_bytes(self).replace(b"%", b"%%")
