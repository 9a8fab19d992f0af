"""Statements with parameters whose names and literals hold percent signs, as a column `share%` does.

psycopg takes each percent sign of such a statement for a placeholder's
(https://www.psycopg.org/psycopg3/docs/basic/params.html), those of `sql.Identifier` and
`sql.Literal` too.
"""

from collections.abc import Iterator
from typing import Any, Self, override

import psycopg
from psycopg import sql
from psycopg.abc import Params


class Cursor[Row](psycopg.Cursor[Row]):
    """psycopg's own, for names and literals with any characters."""

    @override
    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        if params is not None and isinstance(query, sql.Composable):
            query = "".join(_pieces(query, self.connection))
        return super().execute(query, params, **options)


def _pieces(query: sql.Composable, connection: psycopg.Connection[Any]) -> Iterator[str]:
    for part in query if isinstance(query, sql.Composed) else [query]:
        if isinstance(part, sql.SQL):
            yield part.as_string()
        elif isinstance(part, sql.Composed):
            yield from _pieces(part, connection)
        elif isinstance(part, sql.Placeholder):
            yield part.as_string(connection)
        else:
            yield part.as_string(connection).replace("%", "%%")
