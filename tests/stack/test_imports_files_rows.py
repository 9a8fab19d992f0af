"""What becomes of the rows of a file: types, nulls, mapping, bad rows with reasons, conflicts, undo."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import (
    TENANT,
    counts,
    csv_file,
    fetched,
    imported,
    journal,
    ndjson_file,
    records,
    result_rows,
    xlsx_file,
)


@pytest.fixture
def mark() -> str:
    """What tells a test's own records from others."""
    return uuid4().hex[:10]


def titled(database: psycopg.Connection, mark: str) -> list[dict[str, Any]]:
    """The tasks of a test."""
    return records(database, "tasks", f"title LIKE '{mark}%'")


@pytest.mark.parametrize("type", ["csv", "ndjson", "xlsx"])
def test_every_type_is_imported_with_nulls_defaults_and_times(
    operator: Api, database: psycopg.Connection, mark: str, type: str
) -> None:
    header = ["id", "title", "description", "priority", "createdAt"]
    moment = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    rows: list[list[Any]] = [
        [f"tsk_{mark}_1", f"{mark} one", "", "high", moment],
        [f"tsk_{mark}_2", f'{mark} two, or "2"', None, None, None],
    ]
    if type == "csv":
        lines = [
            f'tsk_{mark}_1,{mark} one,"",high,2024-02-29 12:30:00Z',
            f'tsk_{mark}_2,"{mark} two, or ""2""",,,',
        ]
        data = csv_file(",".join(header), *lines)
    elif type == "ndjson":
        data = ndjson_file(
            *(dict(zip(header, row, strict=True)) | {"createdAt": "2024-02-29T12:30:00Z"} for row in rows)
        )
    else:
        data = xlsx_file(
            header,
            *([cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell for cell in row] for row in rows),
        )

    result = imported(operator, "tasks", type, data)

    assert counts(result) == {"created": 2}
    one, two = titled(database, mark)
    assert (one["id"], one["priority"], one["createdAt"]) == (f"tsk_{mark}_1", "high", moment)
    assert (two["title"], two["priority"], two["status"], two["description"]) == (rows[1][1], "medium", "todo", None)
    if type != "xlsx":  # where an empty cell is no cell
        assert one["description"] == ""
    assert one["assignee"] is two["assignee"] is None


def test_columns_are_mapped_and_left_out(operator: Api, database: psycopg.Connection, mark: str) -> None:
    data = csv_file("Name,Comment,priority", f"{mark} a,ignored,low")
    imported(operator, "tasks", "csv", data, mapping={"Name": "title", "Comment": None})
    [task] = titled(database, mark)
    assert (task["title"], task["description"], task["priority"]) == (f"{mark} a", None, "low")
    assert task["id"].startswith("tsk_")


def test_a_byte_order_mark_and_line_feeds_alone_are_read(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "tasks", "csv", f"\ufefftitle\n{mark} a\n\n{mark} b".encode())
    assert [task["title"] for task in titled(database, mark)].sort() == [f"{mark} a", f"{mark} b"].sort()
    assert len(titled(database, mark)) == 2


BAD_CSV = [
    ("{m} ok,todo,2024-01-01T00:00:00Z", None),
    (",todo,", ("invalid", "title: is required")),
    ("{m} x,later,", ("invalid", "status: expected 'todo', 'in_progress' or 'completed'")),
    ("{m} x,todo,yesterday", ("invalid", "createdAt: expected a time such as 2026-01-31T09:00:00Z")),
    (
        "{m} x,todo,2024-01-01 00:00:00",
        ("invalid", "createdAt: the time has no zone; write it as 2026-01-31T09:00:00Z"),
    ),
    ("{m} x,todo,20240101", ("invalid", "createdAt: the time has no zone; write it as 2026-01-31T09:00:00Z")),
    ("{m} x,todo", ("wrong_columns", "The row has 2 cells, the header 3.")),
    ('"{m}" x,todo,', ("invalid_csv", "A quote stands inside a cell; quotes within quotes are doubled.")),
    ("{m} n\0ul,todo,", ("invalid", "The row holds a NUL character or bytes that are no UTF-8.")),
    ('"",todo,', ("invalid", "title: expected at least 1 character")),
    ("{m} last,completed,", None),
]


def test_bad_rows_are_told_with_line_and_reason_and_the_good_ones_are_there(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    lines = [line.replace("{m}", mark) for line, _ in BAD_CSV]
    result = imported(operator, "tasks", "csv", csv_file("title,status,createdAt", *lines))

    assert counts(result) == {"created": 2, "failed": len(BAD_CSV) - 2}
    found = {int(row["_line"]): (row["_code"], row["_error"]) for row in result_rows(result, "failed")}
    assert found == {line: why for line, (_, why) in enumerate(BAD_CSV, 2) if why}
    assert {task["title"] for task in titled(database, mark)} == {f"{mark} ok", f"{mark} last"}
    good = result_rows(result, "successful")
    assert [row["_line"] for row in good] == ["2", "12"]
    assert {row["_id"] for row in good} == {task["id"] for task in titled(database, mark)}


@pytest.mark.long(but=["csv-fail", "ndjson-update", "xlsx-fail"])
@pytest.mark.parametrize("on_conflict", ["fail", "update"])
@pytest.mark.parametrize("type", ["csv", "ndjson", "xlsx"])
def test_a_number_beyond_64_bits_fails_its_row_alone(
    operator: Api, database: psycopg.Connection, mark: str, type: str, on_conflict: str
) -> None:
    brand = records(database, "brands")[0]["id"]
    header = ["username", "platform", "brandId", "followers"]
    rows: list[list[Any]] = [
        [f"{mark}{n}", "zoo", brand, followers] for n, followers in enumerate([1, 2**63 - 1, 2**63, -(2**70), 2])
    ]
    if type == "csv":
        data = csv_file(*(",".join(map(str, row)) for row in [header, *rows]))
    elif type == "ndjson":
        data = ndjson_file(*(dict(zip(header, row, strict=True)) for row in rows))
    else:
        data = xlsx_file(header, *([*row[:3], str(row[3])] for row in rows))

    result = imported(operator, "accounts", type, data, onConflict=on_conflict)

    assert counts(result) == {"created": 3, "failed": 2}
    if type == "ndjson":
        failed = [json.loads(line) for line in fetched(result, "failed").splitlines()]
    else:
        failed = result_rows(result, "failed")
    assert [row["username"] for row in failed] == [f"{mark}2", f"{mark}3"]
    assert {row["_code"] for row in failed} == {"invalid"}
    assert all(row["_error"].startswith("followers: ") for row in failed)
    found = records(database, "accounts", f"username LIKE '{mark}%'")
    assert sorted(account["followers"] for account in found) == [1, 2, 2**63 - 1]


@pytest.mark.long(but=["'5'", "True", "2.5"])
@pytest.mark.parametrize("followers", ["5", True, 2.0, 2.5, "many", [1]], ids=repr)
def test_ndjson_is_as_strict_as_the_api(
    operator: Api, database: psycopg.Connection, mark: str, followers: object
) -> None:
    account = {
        "username": mark, "platform": "zoo", "brandId": records(database, "brands")[0]["id"], "followers": followers
    }  # fmt: skip
    api = operator.post("/api/v1/accounts", json=account, headers={"X-Tenant-Id": TENANT})
    assert api.status_code == 400, api.text
    result = imported(operator, "accounts", "ndjson", ndjson_file(account))
    assert counts(result) == {"failed": 1}
    [failed] = [json.loads(line) for line in fetched(result, "failed").splitlines()]
    assert failed["_error"] == f"followers: {api.json()['details'][0]['message']}"


@pytest.mark.long(but=["5-5", "1_000-None", "nan-None"])
@pytest.mark.parametrize(
    ("cell", "read"),
    [("5", 5), (" 5 ", 5), ("1_000", None), ("5.5", None), ("0x10", None), ("true", None), ("nan", None)],
)
def test_numbers_of_csv_are_read_as_others_write_them(
    operator: Api, database: psycopg.Connection, mark: str, cell: str, read: int | None
) -> None:
    brand = records(database, "brands")[0]["id"]
    data = csv_file("username,platform,brandId,followers", f"{mark},zoo,{brand},{cell}")
    result = imported(operator, "accounts", "csv", data)
    found = [account["followers"] for account in records(database, "accounts", f"username = '{mark}'")]
    assert found == ([] if read is None else [read])
    assert result["failed"] == (read is None)


def test_truth_values_of_a_workbook_are_no_numbers(operator: Api, database: psycopg.Connection, mark: str) -> None:
    brand = records(database, "brands")[0]["id"]
    data = xlsx_file(
        ["username", "platform", "brandId", "followers"],
        [f"{mark}1", "zoo", brand, True],
        [f"{mark}2", "zoo", brand, 7.0],
    )
    result = imported(operator, "accounts", "xlsx", data)
    [failed] = result_rows(result, "failed")
    assert (failed["username"], failed["_error"]) == (f"{mark}1", "followers: expected a number")
    assert counts(result) == {"created": 1, "failed": 1}


def test_offsets_that_only_the_database_would_refuse_are_read(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "tasks", "csv", csv_file("title,createdAt", f"{mark},2024-03-01T20:00:00+20:00"))
    [task] = titled(database, mark)
    assert task["createdAt"] == datetime(2024, 3, 1, tzinfo=UTC)


def test_ids_of_files_are_raw_and_as_long_as_the_apis(operator: Api, database: psycopg.Connection, mark: str) -> None:
    encoded_form = f"~{mark}"
    data = csv_file("id,title", f"{encoded_form},{mark} a", f"{mark}{'é' * 600},{mark} b", f'"",{mark} c')
    result = imported(operator, "tasks", "csv", data)
    assert [task["id"] for task in titled(database, mark)] == [encoded_form]
    assert [row["_code"] for row in result_rows(result, "failed")] == ["invalid", "invalid"]


def test_bad_lines_of_ndjson_are_told_as_they_were(operator: Api, database: psycopg.Connection, mark: str) -> None:
    data = (
        ndjson_file(
            {"title": f"{mark} ok"},
            "{broken",
            [1],
            {"title": f"{mark} x", "colour": "red"},
            {"title": f"{mark} \ud800"},
            {"title": None},
        )
        + b'{"title": "'
        + mark.encode()
        + b' \xff"}\n'
    )
    result = imported(operator, "tasks", "ndjson", data)
    assert counts(result) == {"created": 1, "failed": 6}
    lines = [json.loads(line) for line in fetched(result, "failed").splitlines()]
    assert [line["_line"] for line in lines] == [2, 3, 4, 5, 6, 7]
    assert lines[0]["_text"] == "{broken"
    assert lines[2]["_error"] == "colour: there is no such field"
    assert lines[2]["colour"] == "red"
    assert lines[4]["_error"] == "title: is required"


def test_a_failed_file_is_fixed_and_uploaded_again(operator: Api, database: psycopg.Connection, mark: str) -> None:
    data = csv_file("title,status", f"{mark} a,todo", f"{mark} b,later")
    first = imported(operator, "tasks", "csv", data)
    fixed = fetched(first, "failed").replace(b"later", b"completed")
    second = imported(operator, "tasks", "csv", fixed)
    assert counts(second) == {"created": 1}
    assert {task["title"]: task["status"] for task in titled(database, mark)} == {
        f"{mark} a": "todo",
        f"{mark} b": "completed",
    }


def test_a_workbooks_failed_rows_are_uploaded_again_as_csv(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    data = xlsx_file(
        ["title", "status", "createdAt"],
        [f"{mark} a", "later", datetime(2024, 1, 1)],  # noqa: DTZ001 (a workbook's clock has no zone)
        [f"={mark}", "no", None],
    )
    first = imported(operator, "tasks", "xlsx", data)
    rows = result_rows(first, "failed")
    assert [row["_line"] for row in rows] == ["2", "3"]
    fixed = fetched(first, "failed").replace(b'"later"', b'"todo"').replace(b'"no"', b'"todo"')
    imported(operator, "tasks", "csv", fixed)
    [task] = titled(database, mark)
    assert task["createdAt"] == datetime(2024, 1, 1, tzinfo=UTC)


def test_references_are_checked_inside_the_tenant(operator: Api, database: psycopg.Connection, mark: str) -> None:
    brand = records(database, "brands")[0]["id"]
    data = csv_file(
        "username,platform,brandId",
        f"{mark}a,zoo,{brand}",
        f"{mark}b,zoo,brd_of_nobody",
    )
    result = imported(operator, "accounts", "csv", data)
    assert counts(result) == {"created": 1, "failed": 1}
    [failed] = result_rows(result, "failed")
    assert (failed["_code"], failed["_error"]) == ("invalid_reference", "brandId: there is no brand with this id.")


# Conflicts


def brand_file(*labels: str, ids: str | None = None) -> bytes:
    """Brands, with ids where asked for."""
    if ids is None:
        return csv_file("label", *labels)
    return csv_file("id,label", *(f"{ids}{n},{label}" for n, label in enumerate(labels)))


def brands(database: psycopg.Connection, mark: str) -> dict[str, str]:
    """The brands of a test."""
    return {
        brand["id"]: brand["label"]
        for brand in records(database, "brands", f"id LIKE '{mark}%' OR label LIKE '{mark}%'")
    }


def test_by_default_a_record_that_is_there_fails_its_row(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "brands", "csv", brand_file(f"{mark} a", ids=mark))
    result = imported(operator, "brands", "csv", brand_file(f"{mark} other", f"{mark} a", f"{mark} new", ids=mark))
    assert counts(result) == {"created": 1, "failed": 2}
    failed = result_rows(result, "failed")
    assert [row["_code"] for row in failed] == ["conflict", "conflict"]
    assert [row["_line"] for row in failed] == ["2", "3"]
    assert brands(database, mark) == {f"{mark}0": f"{mark} a", f"{mark}2": f"{mark} new"}


def test_skip_leaves_what_is_there_and_says_so(operator: Api, database: psycopg.Connection, mark: str) -> None:
    imported(operator, "brands", "csv", brand_file(f"{mark} a", ids=mark))
    data = brand_file(f"{mark} other", f"{mark} a", f"{mark} new", ids=mark)
    result = imported(operator, "brands", "csv", data, onConflict="skip")
    assert counts(result) == {"created": 1, "skipped": 2}
    assert [row["_status"] for row in result_rows(result, "successful")] == ["skipped", "skipped", "created"]
    assert brands(database, mark) == {f"{mark}0": f"{mark} a", f"{mark}2": f"{mark} new"}


def test_update_changes_what_is_there_by_id(
    operator: Api, stack: RunningStack, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "brands", "csv", brand_file(f"{mark} a", f"{mark} b", ids=mark))
    data = brand_file(f"{mark} A", f"{mark} b", f"{mark} c", ids=mark)
    result = imported(operator, "brands", "csv", data, onConflict="update")
    assert counts(result) == {"created": 1, "updated": 2}
    assert brands(database, mark) == {f"{mark}{n}": f"{mark} {label}" for n, label in enumerate("Abc")}
    changes = {change["id"]: change for change in journal(stack, TENANT, result["operation_id"])}
    assert changes[f"{mark}0"]["before"]["label"] == f"{mark} a"
    assert changes[f"{mark}0"]["after"]["label"] == f"{mark} A"
    assert f"{mark}1" not in changes, "nothing of it changed"
    assert changes[result["operation_id"]]["after"]["succeeded"] == 3


def test_update_finds_a_record_by_its_unique_fields_where_a_row_has_no_id(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    brand = records(database, "brands")[0]["id"]
    header = "username,platform,brandId,displayName,followers"
    imported(operator, "accounts", "csv", csv_file(header, f"{mark},zoo,{brand},old,5"))
    data = csv_file(header, f"{mark},zoo,{brand},new,", f"{mark}2,zoo,{brand},,")
    result = imported(operator, "accounts", "csv", data, onConflict="update")
    assert counts(result) == {"created": 1, "updated": 1}
    found = {account["username"]: account for account in records(database, "accounts", f"username LIKE '{mark}%'")}
    assert found[mark]["displayName"] == "new"
    assert found[mark]["followers"] == 5, "an empty cell of a field that cannot be null leaves it"
    assert found[f"{mark}2"]["followers"] == 0


@pytest.mark.long(but=["fail", "update"])
@pytest.mark.parametrize("on_conflict", ["fail", "skip", "update"])
def test_rows_with_the_same_id_are_taken_one_after_the_other(
    operator: Api, database: psycopg.Connection, mark: str, on_conflict: str
) -> None:
    data = csv_file("id,title", *(f"tsk_{mark},{mark} {n}" for n in range(3)))
    result = imported(operator, "tasks", "csv", data, onConflict=on_conflict)
    [task] = titled(database, mark)
    expected = {
        "fail": ({"created": 1, "failed": 2}, 0),
        "skip": ({"created": 1, "skipped": 2}, 0),
        "update": ({"created": 1, "updated": 2}, 2),
    }
    assert (counts(result), task["title"]) == (expected[on_conflict][0], f"{mark} {expected[on_conflict][1]}")


def test_an_update_that_would_take_anothers_unique_fields_fails_alone(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "brands", "csv", brand_file(f"{mark} a", f"{mark} b", ids=mark))
    data = csv_file("id,label", f"{mark}0,{mark} b", f"{mark}1,{mark} c", f"{mark}2,{mark} d")
    result = imported(operator, "brands", "csv", data, onConflict="update")
    assert counts(result) == {"created": 1, "updated": 1, "failed": 1}
    assert brands(database, mark) == {f"{mark}0": f"{mark} a", f"{mark}1": f"{mark} c", f"{mark}2": f"{mark} d"}


def test_a_record_in_the_trash_keeps_its_id(operator: Api, database: psycopg.Connection, mark: str) -> None:
    imported(operator, "tasks", "csv", csv_file("id,title", f"tsk_{mark},{mark}"))
    database.execute(
        f"UPDATE tenant_{TENANT}.tasks SET deleted_at = now() WHERE id = %s",
        (f"tsk_{mark}",),
    )
    result = imported(operator, "tasks", "csv", csv_file("id,title", f"tsk_{mark},{mark}"), onConflict="update")
    [failed] = result_rows(result, "failed")
    assert failed["_code"] == "conflict"
    assert "perhaps in the trash" in failed["_error"]


def test_an_import_is_one_operation_that_undo_takes_back(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    imported(operator, "tasks", "csv", csv_file("id,title", f"tsk_{mark}_0,{mark} old"))
    data = csv_file("id,title", f"tsk_{mark}_0,{mark} changed", f"tsk_{mark}_1,{mark} new")
    result = imported(operator, "tasks", "csv", data, onConflict="update")

    listed = operator.get(f"/api/guilds/{TENANT}/bulk/operations").json()["operations"]
    mine = next(each for each in listed if each["id"] == result["operation_id"])
    assert (mine["kind"], mine["total"], mine["succeeded"], mine["failed"]) == ("import", 2, 2, 0)

    answer = operator.post(f"/api/guilds/{TENANT}/bulk/undo", json={"operationId": result["operation_id"]})
    assert answer.status_code == 200, answer.text
    assert [task["title"] for task in titled(database, mark)] == [f"{mark} old"]
