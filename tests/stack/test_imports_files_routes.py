"""Asking for a file import and starting it: who may, what is refused, what a repeated request does."""

from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import (
    TENANT,
    ask,
    csv_file,
    ended,
    fetched,
    imported,
    start,
    started,
    upload,
    uploaded,
    xlsx_file,
)
from tests.stack.route_surface import let_expire

TASKS = csv_file("title", "one")
UNKNOWN = "01a1f7ff-0000-7000-8000-000000000000"


def test_an_import_is_asked_for_uploaded_started_and_completes(operator: Api) -> None:
    asked = ask(operator, "tasks", "csv", len(TASKS)).json()
    assert set(asked) == {"success", "data"}
    assert set(asked["data"]) == {"id", "upload", "expiresAt"}
    assert asked["data"]["upload"]["fields"]["key"] == f"{TENANT}/imports/{asked['data']['id']}/file.csv"
    assert upload(asked["data"]["upload"], TASKS).status_code == 204

    answer = start(operator, "tasks", asked["data"]["id"])

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/jobs/{asked['data']['id']}"
    job = answer.json()["data"]
    assert (job["id"], job["type"], job["project_id"]) == (asked["data"]["id"], "import", TENANT)
    assert job["status"] == "pending"
    assert ended(operator, job["id"])["status"] == "completed"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"size": -1}, "size"),
        ({"size": 0}, "size"),
        ({"size": 5 * 1024**3 + 1}, "size"),
        ({"size": "10"}, "size"),
        ({"size": 10.0}, "size"),
        ({"size": True}, "size"),
        ({"mapping": {"Name": 1}}, "mapping.Name"),
        ({"type": "parquet"}, "type"),
        ({"filename": ""}, "filename"),
        ({"onConflict": "replace"}, "onConflict"),
        ({"mapping": {"Name": "nope"}}, "mapping.Name"),
        ({"mapping": {"A": "title", "B": "title"}}, "mapping.B"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_refused_by_field(
    operator: Api, change: dict[str, object], field: str
) -> None:
    body = {"filename": "t.csv", "size": 10, "type": "csv"} | change
    answer = operator.post("/api/v1/import/tasks/file", json=body, headers={"X-Tenant-Id": TENANT})
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"][0]["field"] == field


def test_an_unknown_entity_is_not_found(operator: Api) -> None:
    answer = ask(operator, "bulk", "csv", 10)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_entity")


def test_viewers_may_neither_ask_nor_start(operator: Api, viewer: Api) -> None:
    assert ask(viewer, "tasks", "csv", 10).status_code == 403
    import_id = uploaded(operator, "tasks", "csv", TASKS)
    assert start(viewer, "tasks", import_id).status_code == 403


def test_other_tenants_imports_do_not_exist(operator: Api, other: Api, anonymous: Api) -> None:
    import_id = uploaded(operator, "tasks", "csv", TASKS)
    assert ask(other, "tasks", "csv", 10).status_code == 404
    assert start(other, "tasks", import_id).status_code == 404
    assert start(other, "tasks", UNKNOWN).status_code == 404
    assert start(anonymous, "tasks", import_id).status_code == 401
    assert start(operator, "posts", import_id).status_code == 404, "it is of another entity"
    assert start(operator, "tasks", "no-id").status_code == 404


def test_nothing_uploaded_and_already_started_are_conflicts(operator: Api) -> None:
    import_id = ask(operator, "tasks", "csv", len(TASKS)).json()["data"]["id"]
    answer = start(operator, "tasks", import_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_uploaded")

    import_id = started(operator, "tasks", "csv", TASKS)
    answer = start(operator, "tasks", import_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_started")


def test_an_empty_file_is_refused_at_the_start_and_may_be_uploaded_again(operator: Api) -> None:
    asked = ask(operator, "tasks", "csv", len(TASKS)).json()["data"]
    upload(asked["upload"], b"")
    answer = start(operator, "tasks", asked["id"])
    assert (answer.status_code, answer.json()["code"]) == (400, "empty_file")
    upload(asked["upload"], TASKS)
    assert start(operator, "tasks", asked["id"]).status_code == 202


def test_a_file_over_the_declared_size_is_not_taken_by_storage(operator: Api) -> None:
    asked = ask(operator, "tasks", "csv", len(TASKS) - 1).json()["data"]
    assert upload(asked["upload"], TASKS).status_code == 400
    assert start(operator, "tasks", asked["id"]).json()["code"] == "nothing_uploaded"


def test_the_form_takes_no_other_key(operator: Api) -> None:
    form = ask(operator, "tasks", "csv", len(TASKS)).json()["data"]["upload"]
    form["fields"]["key"] = "globex/imports/other/file.csv"
    assert upload(form, TASKS).status_code == 403


def test_the_same_key_asks_and_starts_once(operator: Api) -> None:
    headers = {"X-Tenant-Id": TENANT, "Idempotency-Key": str(uuid4())}
    body = {"filename": "t.csv", "size": len(TASKS), "type": "csv"}
    first, second = (operator.post("/api/v1/import/tasks/file", json=body, headers=headers).json() for _ in range(2))
    assert first["data"]["id"] == second["data"]["id"]
    upload(second["data"]["upload"], TASKS)
    mismatch = operator.post("/api/v1/import/tasks/file", json=body | {"size": 1}, headers=headers)
    assert (mismatch.status_code, mismatch.json()["code"]) == (409, "idempotency_mismatch")

    answers = [start(operator, "tasks", first["data"]["id"], headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


def test_result_files_are_for_operators_and_carry_names(operator: Api, viewer: Api) -> None:
    result = imported(operator, "tasks", "csv", TASKS, filename="my tasks.csv")
    seen = viewer.get(f"/api/jobs/{result['import_id']}").json()["data"]["result"]
    assert seen["files"] == {"successful": None, "failed": None, "unprocessed": None}
    listed = operator.get("/api/jobs?project_id=acme_x&type=import").json()["data"]
    assert next(job for job in listed if job["id"] == result["import_id"])["result"]["files"]["failed"] is not None
    redirect = operator.get(result["files"]["failed"], allow_redirects=False)
    assert redirect.status_code == 302
    assert "my%20tasks-failed.csv" in redirect.headers["location"]


def test_result_files_have_expired_before_the_clock_has_come_by(
    operator: Api, stack: RunningStack, dynamodb: Any
) -> None:
    result = imported(operator, "tasks", "csv", TASKS)
    assert result["expired"] is False
    let_expire(stack, dynamodb, TENANT, result["import_id"])
    listed = operator.get(f"/api/jobs?project_id={TENANT}&type=import").json()["data"]
    for job in (operator.get(f"/api/jobs/{result['import_id']}").json()["data"], *listed):
        if job["id"] == result["import_id"]:
            assert job["result"]["expired"] is True
            assert job["result"]["files"] == {"successful": None, "failed": None, "unprocessed": None}


@pytest.mark.parametrize(
    ("type", "data", "code", "words"),
    [
        ("csv", b"\r\n", "broken_file", "no header"),
        ("csv", csv_file("title,colour", "a,b"), "wrong_header", "'colour' is no field of tasks"),
        ("csv", csv_file("status", "todo"), "wrong_header", "'title' is missing"),
        ("csv", csv_file("title,title", "a,b"), "wrong_header", "'title' stands there twice"),
        ("csv", csv_file("title;status", "a;todo"), "wrong_header", "separated by commas"),
        ("csv", "title\r\nä\r\n".encode("utf-16"), "broken_file", "UTF-16"),
        ("csv", xlsx_file(["title"], ["a"]), "broken_file", "workbook"),
        ("csv", b'title\r\n"never closed', "broken_file", "never closed"),
        ("csv", b'"ti"tle,status\r\na,todo\r\n', "broken_file", "quotes within quotes are doubled"),
        ("csv", b"ti\rtle\r\na\r\n", "broken_file", "carriage return"),
        ("csv", b'"title\r\na\r\n', "broken_file", "never closed"),
        ("xlsx", csv_file("title", "a"), "broken_file", "no Excel workbook"),
        ("xlsx", xlsx_file(["title"], ["a"])[:-200], "broken_file", "not a whole one"),
        ("xlsx", xlsx_file(["title", "colour"], ["a", "b"]), "wrong_header", "'colour'"),
        ("xlsx", xlsx_file([]), "broken_file", "no header"),
        ("xlsx", xlsx_file(["title"], ["a"], more={"Notes": [["remember"]]}), "broken_file", "another header"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_a_file_that_cannot_be_read_fails_for_good_and_says_why(
    operator: Api, type: str, data: bytes, code: str, words: str, stack: RunningStack
) -> None:
    job = ended(operator, started(operator, "tasks", type, data))
    assert job["status"] == "failed"
    assert words in job["last_error"]
    assert job["attempts"] == 1, "another attempt would end in the same way"
    assert job["result"] is None


def test_a_header_alone_imports_nothing(operator: Api) -> None:
    result = imported(operator, "tasks", "csv", csv_file("title"))
    assert result["total"] == 0
    assert fetched(result, "failed").startswith(b'"title"')
