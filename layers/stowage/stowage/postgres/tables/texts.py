"""Texts that are cut by the database, whatever its encoding."""

from psycopg import sql

# A database in SQL_ASCII counts bytes, so it may cut within a character of UTF-8: the last one goes, whole or not.
_FIRST = sql.SQL(r"""
CASE WHEN current_setting('server_encoding') = 'SQL_ASCII' AND length({0}) > {1}
     THEN regexp_replace(left({0}, {1}), '[\xC0-\xFF][\x80-\xBF]*$', '') ELSE left({0}, {1}) END
""")


def first_characters(text: sql.Composable, most: int) -> sql.Composed:
    """The first characters of a text, in SQL_ASCII as many as these bytes hold whole."""
    return _FIRST.format(text, sql.Literal(most))
