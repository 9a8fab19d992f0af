"""The COPY statements behind the export formats: how Postgres itself writes each cell.

Moving a rule from Python into these expressions, or back, decides the speed of an export: Postgres formats a row in
about a microsecond, Python would need ten. What costs least was measured: docs/decisions.md, "CSV: CRLF, quoted texts,
a space in times" and "XLSX: cells marked by Postgres, XML by bulk replacement".
"""

from collections.abc import Iterable

from psycopg import sql

from stowage.postgres.reads.moments import base64_text, json_list, moment_text
from stowage.postgres.reads.selection import Column, Selection
from stowage.postgres.tables.texts import first_characters

DECIMAL_DIGITS = 38
"""Digits of a decimal128."""
SHEET_DIGITS = 15
"""Digits that a number of a spreadsheet keeps."""
CELL_END, NUMBER, MOMENT, BOOLEAN, VALUE_END, NULL = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07"
"""The marks in and between cells of a worksheet (`copy_cells`); no text of it holds them, being JSON."""

_COPY_CSV = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, FORCE_QUOTE ({}))")
_COPY_PLAIN_CSV = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)")
# COPY's text format doubles backslashes; the CSV format leaves a value alone that holds no quote and no delimiter,
# and JSON holds neither of these two, because control characters are escaped in it.
_COPY_JSON = sql.SQL(
    r"COPY (SELECT row_to_json(line) FROM ({}) AS line) TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
)
_COPY_CELLS = sql.SQL(r"COPY ({}) TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02', NULL E'\x07')")

# A spreadsheet takes what begins so for a formula: tab, CR, = and @ always, + and - unless the whole is a number
# (stowage/exports/formats/formulas.py is the rule in words and has its inverse). The comparison lets nearly every value
# pass at once: none of those signs sorts behind A. The regular expression is for the few that need it.
_SAFE_TEXT = sql.SQL(r"""
CASE WHEN {0}::text COLLATE "C" >= 'A' THEN {0}::text
     WHEN ascii({0}::text) IN (9, 13, 61, 64) THEN '''' || {0}::text
     WHEN ascii({0}::text) IN (39, 43, 45) AND {0}::text ~
          E'^(''+[-+=@\t\r]|[-+](?!([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][-+]?[0-9]+)?$))' THEN '''' || {0}::text
     ELSE {0}::text END
""")

# RFC 3339 with a space, which its §5.6 allows for the sake of readability: the T would cost a quarter of the export's
# time (each way to it was measured: replace, overlay, to_json, to_char), and people read this form.
_SPACED = sql.SQL("({}::timestamptz AT TIME ZONE 'UTC')::text || 'Z'")
_TEXT = sql.SQL("{}::text")
_JSONB = sql.SQL("{}::jsonb")
_ALIASED = sql.SQL("{} AS {}")


def copy_csv(selection: Selection) -> sql.Composed:
    """Rows of CSV without a header: texts always quoted, so that null is empty and an empty text is `""`."""
    quoted = [sql.Identifier(column.name) for column in selection.columns if is_quoted(column)]
    cells = [_ALIASED.format(_csv_cell(column), sql.Identifier(column.name)) for column in selection.columns]
    return (_COPY_CSV if quoted else _COPY_PLAIN_CSV).format(selection.select(cells), sql.SQL(", ").join(quoted))


def is_quoted(column: Column) -> bool:
    """Whether a CSV quotes a column's cells: then an empty text and null stay two things."""
    return column.is_array or column.type in ("text", "json", "bytes", "uuid", "interval", "other")


def _spaced_moment(column: Column) -> sql.Composed:
    return moment_text(column.value, _SPACED.format(column.value))


def _csv_cell(column: Column) -> sql.Composable:
    if column.is_array:
        return _TEXT.format(json_list(column.type, column.value))
    match column.type:
        case "timestamp":
            return _spaced_moment(column)
        case "boolean" | "json" | "local_timestamp" | "date" | "time":
            return _TEXT.format(column.value)
        case "integer" | "number" | "numeric":
            return column.value
        case "bytes":
            return base64_text(column.value)
        case _:
            return _SAFE_TEXT.format(column.value)


def copy_json(selection: Selection) -> sql.Composed:
    """One JSON object a line, keys in the order of the columns; moments end in `+00:00`, those before year 1 in
    `+00:00 BC`.
    """
    cells = [_ALIASED.format(_json_value(column), sql.Identifier(column.name)) for column in selection.columns]
    return _COPY_JSON.format(selection.select(cells))


_MOMENT = sql.SQL("{}::timestamptz")


def _json_value(column: Column) -> sql.Composable:
    if column.is_array:
        return _JSONB.format(json_list(column.type, column.value))
    match column.type:
        case "timestamp":
            return _MOMENT.format(column.value)
        case "json":
            return _JSONB.format(column.value)  # json keeps its line feeds, jsonb has none
        case "bytes":
            return base64_text(column.value)
        case "integer" | "number" | "boolean" | "local_timestamp":
            return column.value
        case _:
            return _TEXT.format(column.value)


# Excel holds 32,767 UTF-16 units in a cell; a character outside the Basic Multilingual Plane takes two of them. A
# regular expression looks at short texts only: of 600 MB it would make more than Postgres can hold. The ellipsis of a
# text that is cut is written in JSON's way, because databases in other encodings than UTF-8 may not have it. SQL_ASCII
# counts bytes: there the bytes that go on with a character of UTF-8 are left out of the count, and those that begin one
# of four bytes taken twice; a text that is too long is cut to 32,766 bytes.
_SHEET_TEXT = sql.SQL(r"""
CASE WHEN octet_length({0}::text) <= 32767 THEN to_json({0}::text)::text
     WHEN current_setting('server_encoding') = 'SQL_ASCII' THEN
         CASE WHEN octet_length({0}::text) <= 3 * 32767
               AND octet_length({0}::text) - regexp_count({0}::text, '[\x80-\xBF]')
                   + regexp_count({0}::text, '[\xF0-\xFF]') <= 32767
              THEN to_json({0}::text)::text
              ELSE left(to_json({1})::text, -1) || '\u2026"' END
     WHEN char_length({0}::text) <= 32767
      AND char_length({0}::text) + regexp_count(left({0}::text, 32767), '[\U00010000-\U0010FFFF]') <= 32767
     THEN to_json({0}::text)::text
     WHEN left({0}::text, 32766) ~ '[\U00010000-\U0010FFFF]'
     THEN left(to_json(left({0}::text, 16383))::text, -1) || '\u2026"'
     ELSE left(to_json(left({0}::text, 32766))::text, -1) || '\u2026"' END
""")
# A number of a spreadsheet has 15 digits, is finite, and a moment of it lies between 1900 and 9999: others are texts.
_SHEET_INTEGER = sql.SQL(r"""
CASE WHEN {0} BETWEEN -999999999999999 AND 999999999999999 THEN E'\x03' || {0} || E'\x06'
     ELSE to_json({0}::text)::text END
""")
_SHEET_NUMBER = sql.SQL(r"""
CASE WHEN abs({0}) < 'Infinity' THEN E'\x03' || {0} || E'\x06' ELSE to_json({0}::text)::text END
""")
_SHEET_BOOLEAN = sql.SQL(r"E'\x05' || {0}::int || E'\x06'")
# The double that is nearest: of two that were computed in doubles, one microsecond in ten would be another.
_SHEET_MOMENT = sql.SQL(r"""
CASE WHEN {0} >= '1900-03-01' AND {0} < '9999-12-31'
     THEN E'\x04' || (extract(epoch FROM {0}::timestamptz) * 1.0000000000 / 86400 + 25569)::float8 || E'\x06'
     ELSE to_json({1})::text END
""")


def _sheet_text(value: sql.Composable) -> sql.Composed:
    return _SHEET_TEXT.format(value, first_characters(_TEXT.format(value), 32_766))


def copy_cells(selection: Selection) -> sql.Composed:
    """Rows of cells of a worksheet: texts as JSON strings, other values between the marks of their type and
    `VALUE_END`, `NULL` alone for null, `CELL_END` between two cells. A moment is in days since 1899-12-30, as
    spreadsheets count.

    to_json is what makes control characters visible at little cost, so that the marks are unambiguous.
    """
    return _COPY_CELLS.format(selection.select(_sheet_cell(column) for column in selection.columns))


def _sheet_cell(column: Column) -> sql.Composable:
    if column.is_array:
        return _sheet_text(json_list(column.type, column.value))
    match column.type:
        case "integer":
            return _SHEET_INTEGER.format(column.value)
        case "numeric" if column.precision is not None and column.precision <= SHEET_DIGITS:
            return _SHEET_NUMBER.format(column.value)
        case "date" | "local_timestamp":
            return _SHEET_MOMENT.format(column.value, _TEXT.format(column.value))
        case "bytes":
            return _sheet_text(base64_text(column.value))
        case "number":
            return _SHEET_NUMBER.format(column.value)
        case "boolean":
            return _SHEET_BOOLEAN.format(column.value)
        case "timestamp":
            return _SHEET_MOMENT.format(column.value, _spaced_moment(column))
        case _:
            return _sheet_text(column.value)


# A bigint of microseconds since 1970 ends there; Postgres' own moments go on to the end of the year 294276.
_MICROSECONDS = sql.SQL("""
CASE WHEN isfinite({0}) AND {0} <= '294247-01-10 04:00:54.775807+00'
     THEN (extract(epoch FROM {0}::timestamptz) * 1000000)::bigint END
""")
_DECIMAL = sql.SQL("nullif({}, 'NaN')")
_DAYS = sql.SQL("CASE WHEN isfinite({0}) THEN {0} - '1970-01-01'::date END")
_MICROSECONDS_OF_DAY = sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint")
_BIGINT = sql.SQL("{}::bigint")
_DOUBLE = sql.SQL("{}::float8")


def is_decimal(column: Column) -> bool:
    """Whether a decimal of Parquet holds a column's exact numbers; where not, they are texts."""
    return column.precision is not None and column.precision <= DECIMAL_DIGITS and not column.is_array


_IS_NESTED = sql.SQL("coalesce(bool_or(array_ndims({}) > 1), false)")


def have_nested(selection: Selection, columns: Iterable[Column]) -> sql.Composed:
    """One row that says of these columns of arrays whether any of their values has several dimensions."""
    return selection.select(_IS_NESTED.format(column.value) for column in columns)


def copy_values(selection: Selection) -> sql.Composed:
    """Rows of CSV for a reader that knows the types: moments in microseconds since 1970 (null for infinity, and past
    the year 294247), dates in
    days since then, decimals without NaN (null), booleans
    `t` and `f`, a null empty and an empty text `""`.
    """
    return _COPY_PLAIN_CSV.format(selection.select(_value(column) for column in selection.columns))


def _value(column: Column) -> sql.Composable:
    if column.is_array:
        return _TEXT.format(json_list(column.type, column.value))
    match column.type:
        case "integer":
            return _BIGINT.format(column.value)
        case "number":
            return _DOUBLE.format(column.value)
        case "timestamp" | "local_timestamp":
            return _MICROSECONDS.format(column.value)
        case "date":
            return _DAYS.format(column.value)
        case "time":
            return _MICROSECONDS_OF_DAY.format(column.value)
        case "bytes":
            return base64_text(column.value)
        case "numeric" if is_decimal(column):
            return _DECIMAL.format(column.value)
        case "boolean":
            return column.value
        case _:
            return _TEXT.format(column.value)
