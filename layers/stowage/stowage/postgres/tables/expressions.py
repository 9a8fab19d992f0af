"""SQL that a catalog gives, in statements of ours."""

from typing import override

from psycopg import sql
from psycopg.abc import AdaptContext


class Expression(sql.Composable):
    """SQL of the catalog's, written by whoever owns the table; it may stand in statements with and without
    parameters.
    """

    _obj: str

    @override
    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        return self._obj.encode()
