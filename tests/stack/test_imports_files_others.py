"""Files as other programs write them, from the request to the records and the result files."""

import json
from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Any

import psycopg
import pytest

from stowage.imports.files.reading.rows import MOST_COLUMNS
from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import (
    ask,
    counts,
    csv_file,
    ended,
    fetched,
    imported,
    ndjson_file,
    result_rows,
    started,
    xlsx_file,
)
from tests.stack.office import Office, open_office
from tests.unit.workbook_parts import sheet, text_row, workbook


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    yield made
    made.close()


@pytest.fixture
def api(office: Office) -> Api:
    """An operator of the office."""
    return office.caller()


def names(office: Office) -> list[str]:
    return sorted(str(row["name"]) for row in office.rows("users").values())


WIDE = csv_file("name,email," + ",".join(f"x{n}" for n in range(300)), "W,w@x," + ",".join("1" * 300))


@pytest.mark.long(but=["mapped", "left out", "windows-1252", "tabs", "carriage returns", "UTF-16"])
@pytest.mark.parametrize(
    ("data", "asked", "found", "blank"),
    [
        (csv_file("name,email,,", "T2,t2@x,,"), {}, ["T2"], 0),
        (csv_file("name,email,,", "T2,t2@x,,"), {"mapping": {"": None}}, ["T2"], 0),
        (csv_file("name,email,", "T2,t2@x,kept"), {"mapping": {"": None}}, ["T2"], 0),
        (csv_file("name,email", "T1,t1@x", ",", "", ",", "  ,"), {}, ["T1"], 4),
        (WIDE, {"mapping": {f"x{n}": None for n in range(300)}}, ["W"], 0),
        (WIDE, {"ignoreUnknown": True}, ["W"], 0),
        ("name,email\nJosé,j@x\nAnn,a@x\n".encode("cp1252"), {"encoding": "windows-1252"}, ["Ann", "José"], 0),
        (csv_file("name\temail", "A\ta@x"), {"delimiter": "\t"}, ["A"], 0),
        (csv_file("sep=,", "name,email", "A,a@x"), {"delimiter": ","}, ["A"], 0),
        (b"name,email\rA,a@x\rB,b@x\r", {"delimiter": ","}, ["A", "B"], 0),
        ("name;email\r\nÅ;å@x\r\n".encode("utf-16"), {"encoding": "utf-16", "delimiter": ";"}, ["Å"], 0),
    ],
    ids=["trailing empty columns", "mapped", "left out", "commas", "300 columns", "ignored", "windows-1252", "tabs",
         "sep", "carriage returns", "UTF-16"],
)  # fmt: skip
def test_a_table_of_another_program_is_imported(
    office: Office, api: Api, data: bytes, asked: dict[str, Any], found: list[str], blank: int
) -> None:
    result = imported(api, "users", "csv", data, tenant=office.id, **asked)
    assert (result["failed"], result["blank"]) == (0, blank)
    assert names(office) == found


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (csv_file("name\temail", "A\ta@x"), '"delimiter": "\\t"'),
        (csv_file("sep=,", "name,email", "A,a@x"), '"delimiter": ","'),
        (b"name,email\rA,a@x\r", '"delimiter": ","'),
        (csv_file(",".join(f"x{n}" for n in range(100_000))), "100,000 columns"),
    ],
    ids=["tabs", "sep", "carriage returns", "100,000 columns"],
)
def test_without_being_told_how_it_is_refused_with_the_likely_cause(
    office: Office, api: Api, data: bytes, words: str
) -> None:
    job = ended(api, started(api, "users", "csv", data, tenant=office.id))
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert words in job["last_error"]


def test_bytes_of_another_encoding_fail_their_row_and_name_the_cause(office: Office, api: Api) -> None:
    result = imported(api, "users", "csv", "name,email\nJosé,j@x\nAnn,a@x\n".encode("cp1252"), tenant=office.id)
    assert counts(result) == {"created": 1, "failed": 1}
    assert b'""encoding"": ""windows-1252""' in fetched(result, "failed")


@pytest.mark.parametrize(
    ("type", "given", "field", "words"),
    [
        ("csv", {"encoding": "base64"}, "encoding", "expected one of utf-8"),
        ("csv", {"delimiter": ",,"}, "delimiter", "expected one character"),
        ("csv", {"delimiter": '"'}, "delimiter", "expected one character"),
        ("csv", {"delimiter": "\n"}, "delimiter", "expected one character"),
        ("csv", {"delimiter": ""}, "delimiter", "expected one character"),
        ("ndjson", {"delimiter": ","}, "delimiter", "a file of type ndjson has none"),
        ("xlsx", {"encoding": "utf-8"}, "encoding", "a file of type xlsx has none"),
        ("csv", {"ignoreUnknown": "yes"}, "ignoreUnknown", ""),
        ("csv", {"mapping": {f"x{n}": None for n in range(MOST_COLUMNS + 1)}}, "mapping", ""),
    ],
)
def test_what_no_file_has_is_refused(
    office: Office, api: Api, type: str, given: dict[str, Any], field: str, words: str
) -> None:
    answer = ask(api, "users", type, 100, office.id, **given)
    assert answer.status_code == 400
    [detail] = answer.json()["details"]
    assert detail["field"] == field
    assert words in detail["message"]


def test_a_mapping_has_room_for_every_column(office: Office, api: Api) -> None:
    header = ["name", "email", *(f"x{n}" for n in range(MOST_COLUMNS - 2))]
    data = csv_file(",".join(header), "W,w@x" + "," * (MOST_COLUMNS - 2))
    result = imported(api, "users", "csv", data, tenant=office.id, mapping=dict.fromkeys(header[2:]))
    assert counts(result) == {"created": 1}


def test_failed_rows_of_another_delimiter_and_encoding_come_as_our_own_csv(office: Office, api: Api) -> None:
    data = 'name;email\r\nJosé;\r\n"a;b";\r\n'.encode("cp1252")
    first = imported(api, "users", "csv", data, tenant=office.id, encoding="windows-1252", delimiter=";")
    assert counts(first) == {"failed": 2}
    mended = fetched(first, "failed").replace(b'"a;b",', b'"a;b","x@x"').replace('é",'.encode(), 'é","j@x"'.encode())
    assert counts(imported(api, "users", "csv", mended, tenant=office.id)) == {"created": 2}
    assert names(office) == ["José", "a;b"]


# NDJSON


def test_failed_lines_are_json_whatever_they_held(office: Office, api: Api) -> None:
    lines = ['{"name": NaN}', '{"name": 1e999}', '{"name": "\\ud800", "email": "e"}', '{"name": 1, "name": 2}', "{"]
    data = ndjson_file(*lines) + b'{"name": "\xff", "email": "e"}\n{"\xed\xa0\x80": 1}\n'
    result = imported(api, "users", "ndjson", data, tenant=office.id)
    assert counts(result) == {"failed": len(lines) + 2}
    text = fetched(result, "failed").decode()
    failed = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert [line["_line"] for line in failed] == list(range(1, len(lines) + 3))
    assert not any("\ud800" <= character <= "\udfff" for line in failed for character in json.dumps(line))
    assert "\\ud" not in text.replace("\\\\", "")


def test_unknown_keys_are_left_out_where_the_request_says_so(office: Office, api: Api) -> None:
    data = ndjson_file({"name": "A", "email": "a", "x": 1}, {"name": "B", "email": "b", "Mail": "c"})
    asked = {"ignoreUnknown": True, "mapping": {"Mail": "email"}}
    result = imported(api, "users", "ndjson", data, tenant=office.id, **asked)
    assert counts(result) == {"created": 1, "failed": 1}
    assert "email: stands there twice" in fetched(result, "failed").decode()


# Workbooks


def test_an_error_in_a_column_that_is_left_out_does_not_matter(office: Office, api: Api) -> None:
    row = '<row><c t="str"><v>{0}</v></c><c t="{1}"><v>{2}</v></c><c t="e"><v>#REF!</v></c></row>'
    rows = row.format("A", "str", "a@x"), row.format("B", "e", "#N/A")
    data = workbook(sheet(text_row("name", "email", "Notes"), *rows))
    result = imported(api, "users", "xlsx", data, tenant=office.id, mapping={"Notes": None})
    assert counts(result) == {"created": 1, "failed": 1}
    [failed] = result_rows(result, "failed")
    assert (failed["_code"], failed["_error"]) == ("cell_error", "email: a cell holds the error #N/A.")
    assert (failed["name"], failed["email"], failed["Notes"]) == ("B", "#N/A", "#REF!")


def test_a_cell_becomes_what_its_field_holds(office: Office, api: Api) -> None:
    header = ["id", "title", "createdAt"]
    values: list[Any] = [
        date(2026, 3, 25),
        time(12, 30),
        timedelta(hours=36),
        491701234567,
        1e-7,
        date(1900, 1, 1),
    ]
    data = xlsx_file(header, *([f"t{n}", value, date(2026, 3, 25)] for n, value in enumerate(values)))
    result = imported(api, "tasks", "xlsx", data, tenant=office.id)
    assert counts(result) == {"created": len(values)}
    found = office.rows("tasks")
    assert [found[f"t{n}"]["title"] for n in range(len(values))] == [
        "2026-03-25", "12:30:00", "36:00:00", "491701234567", "0.0000001", "1900-01-01",
    ]  # fmt: skip
    assert found["t0"]["created_at"] == "2026-03-25T00:00:00+00:00"


def test_a_time_of_day_is_no_moment_and_the_failed_rows_come_back_as_they_were(office: Office, api: Api) -> None:
    header = ["title", "description", "createdAt", "status"]
    rows = [
        [date(2026, 3, 25), "a", time(12, 30), "todo"],
        ["@b", "b", date(2026, 3, 25), "no"],
    ]
    result = imported(api, "tasks", "xlsx", xlsx_file(header, *rows), tenant=office.id)
    time_of_day, status = result_rows(result, "failed")
    assert time_of_day["_error"] == "createdAt: expected a time such as 2026-01-31T09:00:00Z"
    assert (time_of_day["title"], time_of_day["createdAt"]) == ("2026-03-25", "12:30:00")
    assert (status["title"], status["createdAt"]) == ("'@b", "2026-03-25 00:00:00Z")


def test_rows_behind_the_header_with_nothing_in_them_are_counted(office: Office, api: Api) -> None:
    data = workbook(sheet(text_row("name", "email"), text_row(" ", ""), text_row("A", "a"), text_row("", "")))
    result = imported(api, "users", "xlsx", data, tenant=office.id)
    assert (result["total"], result["created"], result["blank"]) == (1, 1, 2)
