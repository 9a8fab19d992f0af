"""Moments as text: RFC 3339 in UTC where it can say them, else as Postgres itself writes them.

RFC 3339 knows the years 0001 to 9999 (section 5.6: four digits, no sign). Earlier moments
(`0044-03-15 12:00:00+00 BC`), later ones (`10000-01-01 00:00:00+00`), `infinity` and `-infinity` are the same text in
the API and in every file but Parquet, and `stowage.basics.moments` reads them.
"""

from psycopg import sql

_MOMENT = sql.SQL(
    "CASE WHEN {value} >= '0001-01-01' AND {value} < '10000-01-01' THEN {text} ELSE {value}::timestamptz::text END"
)


def moment_text(value: sql.Composable, text: sql.Composable) -> sql.Composed:
    """`text` for a moment that RFC 3339 can say, else Postgres's own; the session's time zone is UTC."""
    return _MOMENT.format(value=value, text=text)
