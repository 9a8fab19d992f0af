"""Values as text and as JSON, the same in the API and in files. Moments are RFC 3339 in UTC where it can say them, else
as Postgres itself writes them.

RFC 3339 knows the years 0001 to 9999 (section 5.6: four digits, no sign). Earlier moments
(`0044-03-15 12:00:00+00 BC`), later ones (`10000-01-01 00:00:00+00`), `infinity` and `-infinity` are the same text in
the API and in every file but Parquet, and `stowage.basics.moments` reads them.
"""

from psycopg import sql

from stowage.entities.declaration import FieldType

_MOMENT = sql.SQL(
    "CASE WHEN {value} >= '0001-01-01' AND {value} < '10000-01-01' THEN {text} ELSE {value}::timestamptz::text END"
)


def moment_text(value: sql.Composable, text: sql.Composable) -> sql.Composed:
    """`text` for a moment that RFC 3339 can say, else Postgres's own; the session's time zone is UTC."""
    return _MOMENT.format(value=value, text=text)


_LOCAL = sql.SQL("CASE WHEN {value} >= '0001-01-01' AND {value} < '10000-01-01' THEN {text} ELSE {value}::text END")


def local_text(value: sql.Composable, text: sql.Composable) -> sql.Composed:
    """`text` for a time without a zone that ISO 8601 can say, else Postgres's own."""
    return _LOCAL.format(value=value, text=text)


_BASE64 = sql.SQL("replace(encode({}, 'base64'), E'\n', '')")


def base64_text(value: sql.Composable) -> sql.Composed:
    """Bytes as base64 in one line."""
    return _BASE64.format(value)


_LIST = sql.SQL("to_json({})")
_TEXTS = sql.SQL("to_json({}::text[])")
_BYTES = sql.SQL("""
(SELECT json_agg(replace(encode(stw_each, 'base64'), E'\n', '') ORDER BY stw_n)
 FROM unnest({0}) WITH ORDINALITY AS stw_list (stw_each, stw_n) HAVING {0} IS NOT NULL)
""")


def json_list(type: FieldType, value: sql.Composable) -> sql.Composed:
    """An array as a JSON list of what its values are by themselves; moments end in `+00:00`, and exact numbers and
    types that JSON does not know are texts.
    """
    if type == "bytes":
        return _BYTES.format(value)
    return (_TEXTS if type in ("numeric", "other", "interval") else _LIST).format(value)
