"""What the tests of the export formats look at: nasty rows, an export's bytes, and each format read back."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import openpyxl
import psycopg
import pyarrow.parquet
from psycopg import sql
from psycopg.rows import tuple_row
from pydantic import BaseModel

from local.sample.tenants import SAMPLE_TENANTS, make
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import Filters
from stowage.exports.formats import open_export
from stowage.exports.formats.formulas import restore
from stowage.postgres.session.connection import APP
from tests.stack.scratch_databases import connect, migrated_database

type Row = dict[str, Any]
LONGEST_CELL = 2**30


class Specimen(BaseModel):
    """A table of an adopter's own, of every type that a field may have."""

    words: str | None = None
    whole: int | None = None
    fraction: float | None = None
    flag: bool | None = None
    happenedAt: datetime | None = None


SPECIMENS = Entity("specimens", "specimen", "specimens", Specimen, label="words", id_prefix="spm_",
                   filters=("words", "whole", "fraction", "flag", "happenedAt"), search=("words",),
                   soft_delete=False)  # fmt: skip

CONTROLS = "".join(chr(code) for code in range(1, 32))
NASTY_WORDS = (
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    '"',
    '""',
    '"quoted"',
    "a,b;c",
    "line\nfeed",
    "carriage\rreturn",
    "both\r\nends",
    "\n",
    "\r",
    "tab\there",
    "'",
    "''",
    "'=1",
    "''=1",
    "'-5",
    "'text",
    "=1+1",
    "@SUM(A1)",
    "+49 30 1234",
    "+4930",
    "-5",
    "-5.",
    "-.5e-3",
    "-",
    "+",
    "--1",
    "-1,5",
    "-5\n",
    "\t=1",
    "\r=1",
    "<b>&amp;</b>",
    "]]>",
    "_x000D_",
    "_x0041_x0042_",
    "_\x01x0041_",
    "__x0041__",
    CONTROLS,
    f"a{CONTROLS}b",
    "\x01",
    "\x02\x03\x04\x05\x06\x07",
    '\x07"\x02',
    "back\\slash",
    '\\"',
    "\\n",
    "\\u0001",
    "a\\",
    "/",
    "\ufffe\uffff",
    "\ufeffmark",
    "🦓👩‍👩‍👧‍👦",
    "שלום مرحبا",
    "\u202egnp.exe",
    "\u2028\u2029",
    "\x7f\x85\xa0",
    "é",
    "é",
    "00123",
    "1e5",
    "TRUE",
    "2024-01-01T00:00:00+00:00",
    '+00:00","createdAt":"',
    '+00:00"}',
    "null",
    "[1]",
    '{"a":1}',
    "x" * 10_000,
    "é" * 32_767,
    "z" * 32_768,
    "🦓" * 16_383,
    "🦓" * 16_384,
    "=" + "long " * 60_000,
)

_SPECIMEN_TABLE = """
CREATE TABLE specimens (
    id text PRIMARY KEY, words text, whole bigint, fraction double precision, flag boolean, happened_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT '2024-03-01 10:20:30.123456Z',
    updated_at timestamptz NOT NULL DEFAULT '2024-03-02Z'
)
"""
_MOMENTS = (
    "2024-02-29T23:59:59.999999Z",
    "1900-03-01Z",
    "1899-12-31T12:00:00.5Z",
    "9999-12-30T23:59:59Z",
    "0001-01-01Z",
    None,
)
_NUMBERS = (0, 1, -1, 2**31, 999_999_999_999_999, 10**15, -(10**15), 2**63 - 1, -(2**63), None)
_FRACTIONS = (0.0, -0.5, 0.1, 1e300, 5e-324, 1 / 3, 123456789.123, None)


def fill_specimens(connection: psycopg.Connection) -> None:
    """Each nasty text, whole number, fraction and moment at least once."""
    connection.execute(_SPECIMEN_TABLE)
    rows = [
        (
            f"spm_{n}",
            words,
            _NUMBERS[n % len(_NUMBERS)],
            _FRACTIONS[n % len(_FRACTIONS)],
            (True, False, None)[n % 3],
            _MOMENTS[n % len(_MOMENTS)],
        )
        for n, words in enumerate([*NASTY_WORDS, None])
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO specimens (id, words, whole, fraction, flag, happened_at) VALUES (%s, %s, %s, %s, %s, %s)",
            rows,
        )


@contextmanager
def sample_database(server: str) -> Iterator[str]:
    """A migrated database with zoo (nasty strings, specimens), globex (trash, journal) and initech (empty)."""
    with migrated_database(server) as url:
        with connect(url) as connection:
            for tenant in SAMPLE_TENANTS:
                if tenant.slug in ("globex", "initech", "zoo"):
                    make(connection, tenant, tenant.sizes)
            connection.execute("SET search_path = tenant_zoo")
            fill_specimens(connection)
            for slug in ("globex", "initech", "zoo"):
                connection.execute("SELECT stowage.grant_tenant(%s)", (f"tenant_{slug}",))
        yield url


@dataclass
class Exported:
    """An export's whole file, and how many rows it said to have."""

    data: bytes
    rows: int


def export(url: str, slug: str, data_type: str, format: str, filters: Filters | None = None) -> Exported:
    """Run an export to its end, as the application's role."""
    source = open_export(connect(url, APP), f"tenant_{slug}", slug, data_type=data_type, format=format, filters=filters)
    try:
        data = b"".join(source.chunks())
        source.finish()
        return Exported(data, source.rows)
    finally:
        source.close()


def stored(url: str, slug: str, data_type: str, *, everything: bool = False) -> list[Row]:
    """What the database holds, by the fields' names, in the order of ids."""
    entity = ENTITIES[data_type]
    fields = [(field.name, sql.Identifier("record", field.column)) for field in entity.fields]
    if everything and entity.soft_delete:
        fields += [("deletedAt", sql.Identifier("record", "deleted_at"))]
        fields += [
            ("deletedBy", sql.Identifier("entry", "deleted_by")),
            ("purgeAt", sql.Identifier("entry", "purge_at")),
        ]
    condition = sql.SQL("WHERE record.deleted_at IS NULL" if entity.soft_delete and not everything else "")
    statement = sql.SQL(
        "SELECT {} FROM {} AS record LEFT JOIN stowage.trash_entries AS entry "
        "ON entry.tenant = {} AND entry.entity = {} AND entry.id = record.id::text {} "
        'ORDER BY record.id COLLATE "C"'
    ).format(
        sql.SQL(", ").join(column for _, column in fields),
        sql.Identifier(f"tenant_{slug}", entity.table),
        sql.Literal(slug),
        sql.Literal(entity.name),
        condition,
    )
    return _rows(url, statement, [name for name, _ in fields])


def journal(url: str, slug: str) -> list[Row]:
    """The tenant's journal."""
    names = ["seq", "at", "actor", "operation", "entity", "id", "type", "before", "after"]
    statement = sql.SQL("SELECT {} FROM stowage.changes WHERE tenant = {} ORDER BY seq").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Literal(slug)
    )
    return _rows(url, statement, names)


def _rows(url: str, statement: sql.Composed, names: list[str]) -> list[Row]:
    with connect(url) as connection, connection.cursor(row_factory=tuple_row) as cursor:
        connection.execute("SET timezone = 'UTC'")
        return [dict(zip(names, row, strict=True)) for row in cursor.execute(statement)]


# Reading a file back: each reader gives rows of Python values as the database would, where the format can carry them.


def read_csv(data: bytes, types: dict[str, str]) -> list[Row]:
    """Cells read by the standard library's reader, null told from an empty text by the quotes."""
    assert data.endswith(b"\r\n")
    text = data.decode("utf-8")
    csv.field_size_limit(LONGEST_CELL)
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert ",".join(header) + "\r\n" == text[: text.index("\n") + 1]
    nulls = _unquoted_empties(text)
    rows = []
    for number, line in enumerate(lines, 1):
        assert len(line) == len(header)
        cells = [None if (number, n) in nulls else cell for n, cell in enumerate(line)]
        rows.append({name: _from_csv(cell, types[name]) for name, cell in zip(header, cells, strict=True)})
    return rows


_CSV_CELL = re.compile(r'("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)')


def _unquoted_empties(text: str) -> set[tuple[int, int]]:
    """Row and column of each cell that is empty without quotes. Nothing but the grammar of RFC 4180 §2 matches."""
    found, row, column, position = set(), 0, 0, 0
    while position < len(text):
        match = _CSV_CELL.match(text, position)
        assert match, text[position : position + 80]
        if not match[1]:
            found.add((row, column))
        row, column = (row, column + 1) if match[2] == "," else (row + 1, 0)
        position = match.end()
    return found


def _from_csv(cell: str | None, type: str) -> Any:
    if cell is None:
        return None
    match type:
        case "text":
            return restore(cell)
        case "json":
            return json.loads(cell)
        case "integer":
            return int(cell)
        case "number":
            return float(cell)
        case "boolean":
            return {"true": True, "false": False}[cell]
    return _moment(cell)


def _moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def read_json(data: bytes, types: dict[str, str]) -> list[Row]:
    return [_from_json(row, types) for row in json.loads(data)]


def read_ndjson(data: bytes, types: dict[str, str]) -> list[Row]:
    assert data.endswith(b"\n") or not data
    return [_from_json(json.loads(line), types) for line in data.decode().split("\n")[:-1]]


def _from_json(row: Row, types: dict[str, str]) -> Row:
    assert list(row) == list(types)
    return {name: _moment(value) if value and types[name] == "timestamp" else value for name, value in row.items()}


def read_xlsx(data: bytes, types: dict[str, str]) -> list[Row]:
    """All sheets' rows, values as openpyxl types them; escapes of the form _xHHHH_ undone as Excel does."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    rows: list[Row] = []
    for sheet in book.worksheets:
        assert sheet.freeze_panes == "A2"
        header = next(sheet.iter_rows(max_row=1))
        assert all(cell.font.b for cell in header)
        assert [cell.value for cell in header] == list(types)
        rows += [
            {name: _from_sheet(cell) for name, cell in zip(types, cells, strict=True)}
            for cells in sheet.iter_rows(min_row=2, max_col=len(types))
        ]
    return rows


def _from_sheet(cell: Any) -> Any:
    if isinstance(cell.value, datetime):
        return cell.value.replace(tzinfo=UTC)
    if cell.data_type == "inlineStr" or isinstance(cell.value, str):
        return re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), cell.value or "")
    return cell.value


def as_in_a_sheet(row: Row, types: dict[str, str]) -> Row:
    """A stored row with what a workbook cannot hold changed as the documentation of the format says."""
    return {name: _sheet_value(value, types[name]) for name, value in row.items()}


_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _sheet_value(value: Any, type: str) -> Any:
    if value is None:
        return None
    match type:
        case "text":
            units = len(value) + sum(character > "\uffff" for character in value)
            if units > 32_767:
                value = value[: 16_383 if any(c > "\uffff" for c in value[:32_766]) else 32_766] + "…"
            return _NOT_IN_XML.sub("", value)
        case "integer":
            return value if abs(value) < 10**15 else str(value)
        case "timestamp":
            if datetime(1900, 3, 1, tzinfo=UTC) <= value < datetime(9999, 12, 31, tzinfo=UTC):
                return value
            return (
                f"{value:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
                + (f".{value:%f}".rstrip("0") if value.microsecond else "")
                + "Z"
            )
    return value


def nearly(found: Any, wanted: Any) -> bool:
    """Equal, moments to the millisecond: a workbook counts days in a double."""
    if isinstance(found, datetime) and isinstance(wanted, datetime):
        return abs(found - wanted) <= timedelta(milliseconds=1)
    return bool(found == wanted)


def read_parquet(data: bytes, types: dict[str, str]) -> list[Row]:
    arrow = {"text": "string", "json": "string", "integer": "int64", "number": "double", "boolean": "bool"}
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
    assert {f.name: str(f.type) for f in table.schema} == {
        n: arrow.get(t, "timestamp[us, tz=UTC]") for n, t in types.items()
    }
    rows: list[Row] = table.to_pylist()
    for row in rows:
        for name, kind in types.items():
            if kind == "json" and row[name] is not None:
                row[name] = json.loads(row[name])
    return rows


READERS = {"csv": read_csv, "json": read_json, "ndjson": read_ndjson, "xlsx": read_xlsx, "parquet": read_parquet}


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}
