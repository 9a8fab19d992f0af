"""Each format, read back in full by somebody else's reader, holds what the database holds, cell by cell."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest

from stowage.entities.declared import ENTITIES
from stowage.exports.formats import FORMATS, estimate
from stowage.exports.formats.csv import with_crlf
from stowage.exports.formats.xlsx import xlsx_file
from stowage.postgres.reads.copy import Snapshot
from stowage.postgres.reads.selection import select
from tests.stack.export_surface import (
    READERS,
    SPECIMENS,
    Row,
    as_in_a_sheet,
    export,
    journal,
    nearly,
    read_xlsx,
    sample_database,
    stored,
    unzip,
)
from tests.stack.scratch_databases import connect, server_url

JOURNAL_TYPES = {
    "seq": "integer",
    "at": "timestamp",
    "actor": "text",
    "operation": "text",
    "entity": "text",
    "id": "text",
    "type": "text",
    "before": "json",
    "after": "json",
}
TRASH_TYPES = {"deletedAt": "timestamp", "deletedBy": "text", "purgeAt": "timestamp"}


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with sample_database(server_url(request)) as url:
        yield url


@pytest.fixture(autouse=True)
def specimens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTITIES, "specimens", SPECIMENS)


def types_of(data_type: str) -> dict[str, str]:
    if data_type == "audit":
        return JOURNAL_TYPES
    return {field.name: field.type for field in ENTITIES[data_type].fields}


def assert_same(found: list[Row], wanted: list[Row], format: str, types: dict[str, str]) -> None:
    key = "seq" if "seq" in types else "id"
    found = sorted(found, key=lambda row: row[key])
    if format == "xlsx":
        wanted = sorted((as_in_a_sheet(row, types) for row in wanted), key=lambda row: row[key])
    assert len(found) == len(wanted)
    for number, (row, other) in enumerate(zip(found, wanted, strict=True)):
        for name, kind in types.items():
            value = row[name]
            if format == "xlsx" and kind == "json" and value is not None:
                value = json.loads(value)
            same = nearly(value, other[name]) if format == "xlsx" else value == other[name]
            assert same, (number, name, value, other[name])
            if format != "xlsx":
                assert type(value) is type(other[name]) or kind == "number", (name, value)


@pytest.mark.long(
    but=["specimens-*", "accounts-csv", "posts-parquet", "tasks-xlsx", "users-json", "brands-ndjson", "groups-xlsx"]
)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data_type", ["brands", "groups", "accounts", "posts", "tasks", "users", "specimens"])
def test_every_cell_of_the_nasty_tenant_comes_back_as_the_database_holds_it(
    database: str, data_type: str, format: str
) -> None:
    wanted = stored(database, "zoo", data_type)
    exported = export(database, "zoo", data_type, format)
    assert exported.rows == len(wanted) > 0
    assert_same(READERS[format](exported.data, types_of(data_type)), wanted, format, types_of(data_type))


@pytest.mark.parametrize("format", FORMATS)
def test_the_journal_comes_in_its_order_with_images_as_json(database: str, format: str) -> None:
    wanted = journal(database, "globex")
    assert len(wanted) > 10
    found = READERS[format](export(database, "globex", "audit", format).data, JOURNAL_TYPES)
    assert [row["seq"] for row in found] == [row["seq"] for row in wanted]
    assert_same(found, wanted, format, JOURNAL_TYPES)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_entity_is_a_whole_file_without_rows(database: str, format: str) -> None:
    exported = export(database, "initech", "posts", format)
    assert exported.rows == 0
    assert READERS[format](exported.data, types_of("posts")) == []


@pytest.mark.long(but=["csv", "parquet"])
@pytest.mark.parametrize("format", FORMATS)
def test_rows_in_the_trash_are_not_exported(database: str, format: str) -> None:
    trashed = {row["id"] for row in stored(database, "globex", "posts", everything=True) if row["deletedAt"]}
    found = {row["id"] for row in READERS[format](export(database, "globex", "posts", format).data, types_of("posts"))}
    assert trashed
    assert not trashed & found


@pytest.mark.long(but=["ndjson", "xlsx"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_gdpr_export_holds_every_entity_with_its_trash_and_the_journal(
    database: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ENTITIES, "specimens")
    exported = export(database, "globex", "gdpr", format)
    files = unzip(exported.data)
    assert list(files) == [f"{name}.{format}" for name in (*ENTITIES, "audit")]
    total = 0
    for name in ENTITIES:
        types = types_of(name) | TRASH_TYPES
        wanted = stored(database, "globex", name, everything=True)
        assert_same(READERS[format](files[f"{name}.{format}"], types), wanted, format, types)
        total += len(wanted)
    wanted = journal(database, "globex")
    assert_same(READERS[format](files[f"audit.{format}"], JOURNAL_TYPES), wanted, format, JOURNAL_TYPES)
    assert exported.rows == total + len(wanted)


def test_rows_past_a_sheets_end_go_on_in_further_sheets(database: str) -> None:
    wanted = stored(database, "globex", "posts")

    def sheets(rows: int, size: int) -> tuple[list[str], list[Row]]:
        snapshot = Snapshot(connect(database))
        data = b"".join(
            xlsx_file(snapshot, select("tenant_globex", "globex", "posts"), sheet_rows=rows, sheet_bytes=size)
        )
        snapshot.close()
        names = [name for name in unzip(data) if "worksheets" in name]
        return names, read_xlsx(data, types_of("posts"))

    for limit, count in ((len(wanted), 1), (len(wanted) - 1, 2), (400, math.ceil(len(wanted) / 400))):
        names, rows = sheets(limit, 2**40)
        assert len(names) == count
        assert_same(rows, wanted, "xlsx", types_of("posts"))
    names, rows = sheets(10**6, 100_000)
    assert len(names) > 1
    assert_same(rows, wanted, "xlsx", types_of("posts"))


@pytest.mark.parametrize(
    ("value", "csv", "xlsx", "json"),
    [
        ("fraction = 'NaN'", "NaN", "NaN", "NaN"),
        ("fraction = '-Infinity'", "-Infinity", "-Infinity", "-Infinity"),
        ("happened_at = 'infinity'", "infinity", "infinity", "infinity"),
        ("happened_at = '-infinity'", "-infinity", "-infinity", "-infinity"),
        *(
            (f"happened_at = '{moment}'", text, text, text)
            for moment, text in (
                ("0044-03-15 BC", "0044-03-15 00:00:00+00 BC"),
                ("0001-12-31 23:59:59.999999Z BC", "0001-12-31 23:59:59.999999+00 BC"),
                ("4713-01-01 BC", "4713-01-01 00:00:00+00 BC"),
                ("10000-01-01Z", "10000-01-01 00:00:00+00"),
                ("294276-12-31 12:30:00.5Z", "294276-12-31 12:30:00.5+00"),
            )
        ),
    ],
)
def test_values_that_have_no_type_in_a_file_are_told_as_text(
    database: str, value: str, csv: str, xlsx: str, json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(database) as connection:
        connection.execute("DELETE FROM tenant_initech.brands")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tenant_initech.specimens (LIKE tenant_zoo.specimens INCLUDING ALL)"
        )
        connection.execute("TRUNCATE tenant_initech.specimens")
        connection.execute("INSERT INTO tenant_initech.specimens (id) VALUES ('one')")
        connection.execute(f"UPDATE tenant_initech.specimens SET {value}".encode())
        connection.execute("SELECT stowage.grant_tenant('tenant_initech')")
    assert csv.encode() in export(database, "initech", "specimens", "csv").data
    assert f'"{json}"'.encode() in export(database, "initech", "specimens", "ndjson").data
    row = read_xlsx(export(database, "initech", "specimens", "xlsx").data, types_of("specimens"))[0]
    assert xlsx in row.values()


def test_parquet_holds_moments_of_every_year_and_no_infinity(database: str) -> None:
    last = "294247-01-10 04:00:54.775807Z"
    moments = {"a": "0044-03-15Z BC", "b": "10000-01-01Z", "c": "4713-01-01Z BC", "d": last}
    beyond = {
        "e": "infinity",
        "f": "-infinity",
        "g": "294247-01-10 04:00:54.775808Z",
        "h": "294276-12-31 23:59:59.999999Z",
    }
    with connect(database) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tenant_initech.specimens (LIKE tenant_zoo.specimens INCLUDING ALL)"
        )
        connection.execute("TRUNCATE tenant_initech.specimens")
        for name, moment in (moments | beyond).items():
            connection.execute("INSERT INTO tenant_initech.specimens (id, happened_at) VALUES (%s, %s)", (name, moment))
        connection.execute("SELECT stowage.grant_tenant('tenant_initech')")
        epochs = connection.execute(
            "SELECT (extract(epoch FROM happened_at) * 1000000)::bigint FROM tenant_initech.specimens"
            " WHERE id = ANY(%s) ORDER BY id",
            ([*moments],),
        ).fetchall()
    data = export(database, "initech", "specimens", "parquet").data
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).sort_by("id")
    assert table["happenedAt"].cast("int64").to_pylist() == [*(epoch for (epoch,) in epochs), *[None] * len(beyond)]


def test_texts_of_a_csv_are_quoted_and_line_feeds_inside_them_kept() -> None:
    rows: Any = [memoryview(b'1,"a\nb",\n'), memoryview(b'2,"",\n')]
    assert with_crlf(rows) == b'1,"a\nb",\r\n2,"",\r\n'
    assert with_crlf(rows[1:]) == b'2,"",\r\n'
    assert with_crlf([]) == b""


@pytest.mark.long(but=["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("format", FORMATS)
def test_an_estimate_is_of_the_right_order(database: str, format: str) -> None:
    with connect(database) as connection:
        connection.execute("ANALYZE tenant_globex.posts")
        found = estimate(connection, "tenant_globex", "globex", "posts", None, format)
    exported = export(database, "globex", "posts", format)
    assert found.rows == pytest.approx(exported.rows, rel=0.2)
    assert len(exported.data) / 3 < found.bytes < len(exported.data) * 3
