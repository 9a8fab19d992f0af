"""POST /api/v1/import/{entity}: all or nothing, the good ones, and an answer for each of the others."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests
from pydantic_core import to_json

from stowage.basics.ids import encode_id
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.postgres.session.edit import Edit
from tests.conftest import RunningStack
from tests.stack.record_surface import (
    RecordApi,
    complaints,
    data,
    in_this_process,
    record_api,
    refused,
    statements,
)

pytestmark = pytest.mark.usefixtures("direct")

SKIP = {"skipInvalid": True, "returnFailures": True}


@pytest.fixture(scope="module")
def records(stack: RunningStack) -> Iterator[RecordApi]:
    made = record_api(stack)
    yield made
    made.close()


def send(records: RecordApi, entity: str, items: Any, **options: bool) -> requests.Response:
    body = {"items": items, "options": options} if options else {"items": items}
    return records.operator.post(f"/api/v1/import/{entity}", json=body)


def count(records: RecordApi, entity: str = "tasks") -> int:
    return int(records.operator.get(f"/api/v1/{entity}?limit=1").json()["pagination"]["total"])


def test_items_come_back_saved_in_their_order(records: RecordApi) -> None:
    items = [{"title": f"Nº {n}", "priority": "high"} for n in range(50)]
    answer = data(send(records, "tasks", items), 201)
    assert answer.keys() == {"operationId", "created", "failed", "items"}
    assert (answer["created"], answer["failed"]) == (50, 0)
    assert [item["title"] for item in answer["items"]] == [f"Nº {n}" for n in range(50)]
    assert [item["id"] for item in answer["items"]] == sorted(item["id"] for item in answer["items"])
    assert answer["items"][7] == records.read("tasks", answer["items"][7]["id"])


def test_an_import_is_one_operation_of_the_journal(records: RecordApi) -> None:
    answer = data(send(records, "tasks", [{"title": "a"}, {"title": "b"}]), 201)
    *made, whole = records.journal(operation=answer["operationId"])
    assert [entry["id"] for entry in made] == [item["id"] for item in answer["items"]]
    assert [entry["type"] for entry in made] == ["created", "created"]
    assert (whole["type"], whole["entity"], whole["id"]) == ("operation", "tasks", answer["operationId"])
    assert whole["after"] == {"kind": "import", "total": 2, "succeeded": 2, "failed": 0}
    seqs = [entry["seq"] for entry in (*made, whole)]
    assert seqs == list(range(seqs[0], seqs[0] + 3))


def test_one_bad_item_saves_nothing_and_every_complaint_is_told(records: RecordApi) -> None:
    brand, taken, good, twice = records.brand(), *(f"u{uuid4()}" for _ in range(3))
    records.account(brand, username=taken)
    items: list[Any] = [
        {"username": good, "platform": "x", "brandId": brand},
        {"username": taken, "platform": "x", "brandId": brand},
        {"username": "lost", "platform": "x", "brandId": "nothing"},
        {"username": good, "platform": "x", "brandId": brand},
        {"username": 5, "platform": "x", "brandId": brand, "extra": 1},
        {"username": "minus", "platform": "x", "brandId": brand, "followers": -1},
        {"username": "no-group", "platform": "x", "brandId": brand, "groupId": records.group(records.brand())},
        "nothing of the kind",
        {"username": f"ids {twice}", "platform": "x", "brandId": brand, "id": twice},
        {"username": f"ids too {twice}", "platform": "x", "brandId": brand, "id": twice},
    ]
    before = (records.seqs(), count(records, "accounts"))
    refusal = refused(send(records, "accounts", items), 400, "invalid_items")
    assert complaints(refusal) == {
        "items[1].username": "another account has this platform and username",
        "items[2].brandId": "there is no brand with this id",
        "items[3].username": "items[0] has the same platform and username",
        "items[4].username": "expected a text",
        "items[4].extra": "there is no such field",
        "items[5].followers": "expected at least 0",
        "items[6].groupId": "this group belongs to another brand",
        "items[7]": "send a JSON object",
        "items[9].id": "items[8] has the same id",
    }
    assert refusal["detailCount"] == 9
    assert refusal["error"] == "8 of the 10 items are not as they must be; nothing was saved."
    assert (records.seqs(), count(records, "accounts")) == before

    answer = data(send(records, "accounts", items, **SKIP), 201)
    assert (answer["created"], answer["failed"]) == (2, 8)
    assert [item["username"] for item in answer["items"]] == [good, f"ids {twice}"]
    assert [(failure["index"], failure["code"]) for failure in answer["failures"]] == [
        (1, "conflict"),
        (2, "invalid_reference"),
        (3, "conflict"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "invalid_reference"),
        (7, "invalid"),
        (9, "conflict"),
    ]
    assert answer["failures"][0] == {
        "index": 1,
        "item": items[1],
        "code": "conflict",
        "error": "Another account has this platform and username.",
    }
    assert all(failure["error"].endswith(".") for failure in answer["failures"])
    (whole,) = [entry for entry in records.journal(operation=answer["operationId"]) if entry["type"] == "operation"]
    assert whole["after"] == {"kind": "import", "total": 10, "succeeded": 2, "failed": 8}


def test_of_items_with_the_same_id_the_first_is_saved_and_the_others_are_told(records: RecordApi) -> None:
    raw = f"dup/{uuid4()}"
    encoded = encode_id(raw)
    items = [{"id": record_id, "label": f"{raw} {n}"} for n, record_id in enumerate((raw, raw, encoded))]
    before = (records.seqs(), count(records, "brands"))
    refusal = refused(send(records, "brands", items), 400, "invalid_items")
    assert complaints(refusal) == {"items[1].id": "items[0] has the same id", "items[2].id": "items[0] has the same id"}
    assert (records.seqs(), count(records, "brands")) == before

    answer = data(send(records, "brands", items, **SKIP), 201)
    assert (answer["created"], answer["failed"]) == (1, 2)
    assert [(item["id"], item["label"]) for item in answer["items"]] == [(encoded, f"{raw} 0")]
    assert [(failure["index"], failure["code"]) for failure in answer["failures"]] == [(1, "conflict"), (2, "conflict")]
    assert count(records, "brands") == before[1] + 1
    made, whole = records.journal(operation=answer["operationId"])
    assert (made["id"], made["type"], whole["type"]) == (raw, "created", "operation")


def test_an_item_with_the_id_of_one_that_is_none_is_saved(records: RecordApi) -> None:
    record_id = str(uuid4())
    answer = data(send(records, "tasks", [{"id": record_id, "title": 5}, {"id": record_id, "title": "x"}], **SKIP), 201)
    assert [item["id"] for item in answer["items"]] == [record_id]
    assert [failure["index"] for failure in answer["failures"]] == [0]


def test_failures_are_only_counted_unless_asked_for(records: RecordApi) -> None:
    answer = data(send(records, "tasks", [{"title": "x"}, {}], skipInvalid=True), 201)
    assert (answer["created"], answer["failed"]) == (1, 1)
    assert "failures" not in answer
    assert data(send(records, "tasks", [{"title": "x"}], **SKIP), 201)["failures"] == []


def test_an_item_like_one_that_is_not_saved_is_saved_itself(records: RecordApi) -> None:
    label, brand = f"L{uuid4()}", records.brand()
    items = [{"label": label, "brandId": "nothing"}, {"label": label, "brandId": brand}]
    items += [{"label": label, "brandId": brand}]
    answer = data(send(records, "groups", items, **SKIP), 201)
    assert [failure["index"] for failure in answer["failures"]] == [0, 2]
    assert answer["failures"][1]["error"] == "items[1] has the same brandId and label."


def test_an_import_of_nothing_good_is_an_operation_too(records: RecordApi) -> None:
    answer = data(send(records, "tasks", [{}, {"title": 1}], **SKIP), 201)
    assert (answer["created"], answer["failed"], answer["items"]) == (0, 2, [])
    (whole,) = records.journal(operation=answer["operationId"])
    assert whole["after"] == {"kind": "import", "total": 2, "succeeded": 0, "failed": 2}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": {}}, "items"),
        ({"items": None}, "items"),
        ({"items": [{"title": "x"}] * 10_001}, "items"),
        ({"items": [{"title": "x"}], "dryRun": True}, "dryRun"),
        ({"items": [{"title": "x"}], "options": {"skipInvalid": "yes"}}, "options.skipInvalid"),
        ({"items": [{"title": "x"}, {}], "options": {"skip": True}}, "options.skip"),
    ],
)
def test_a_body_that_is_none_is_refused_whole(records: RecordApi, body: Any, field: str) -> None:
    refusal = refused(records.operator.post("/api/v1/import/tasks", json=body), 400, "invalid_request")
    assert field in complaints(refusal)


def test_a_thousandth_item_is_named_and_a_hundred_complaints_are_told(records: RecordApi) -> None:
    items = [{"title": "x"}] * 1000 + [{"title": "x", "status": "later"}]
    assert list(complaints(refused(send(records, "tasks", items), 400, "invalid_items"))) == ["items[1000].status"]
    refusal = refused(send(records, "tasks", [{"titel": "x"}] * 2000), 400, "invalid_items")
    assert len(refusal["details"]) == 100
    assert refusal["detailCount"] == 4000


def test_what_looks_like_sql_is_text(records: RecordApi) -> None:
    nasty = ["'; DROP TABLE tasks; --", "%s", "%(id)s", "{}", "\\", "$1", '"', "\u202e", "😀", "a\nb"]
    items = [{"title": text, "description": text, "id": f"{text}{uuid4()}"} for text in nasty]
    answer = data(send(records, "tasks", items), 201)
    assert [item["title"] for item in answer["items"]] == nasty
    nul = refused(send(records, "tasks", [{"title": "a\0", "id": "b\0"}]), 400, "invalid_items")
    assert complaints(nul) == {
        "items[0].title": "must not hold a NUL character",
        "items[0].id": "must not hold a NUL character",
    }


def test_the_same_key_imports_once(records: RecordApi) -> None:
    body, headers = {"items": [{"title": str(uuid4())}]}, {"idempotency-key": str(uuid4())}
    first = records.operator.post("/api/v1/import/tasks", json=body, headers=headers)
    before = records.seqs()
    again = records.operator.post("/api/v1/import/tasks", json=body, headers=headers)
    assert (first.status_code, again.status_code, first.text) == (201, 201, again.text)
    assert records.seqs() == before
    other = records.operator.post("/api/v1/import/tasks", json={"items": [{"title": "x"}]}, headers=headers)
    refused(other, 409, "idempotency_mismatch")


@pytest.mark.usefixtures("over_http")
def test_of_two_who_import_the_same_at_once_one_saves_it(records: RecordApi) -> None:
    brand, mark = records.brand(), uuid4().hex
    items = [{"username": f"{mark}{n}", "platform": "x", "brandId": brand} for n in range(500)]

    def run(turn: int) -> requests.Response:
        with records.caller() as api:
            given = items if turn % 2 else items[::-1]
            return api.post("/api/v1/import/accounts", json={"items": given})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]
    found = records.operator.get("/api/v1/accounts", params={"brandId": brand, "limit": 1}).json()
    assert found["pagination"]["total"] == 500


@pytest.mark.usefixtures("over_http")
def test_two_who_import_overlapping_items_at_once_save_each_once(records: RecordApi) -> None:
    brand, mark = records.brand(), uuid4().hex

    def run(turn: int) -> Any:
        given = [
            {"username": f"{mark}{n}", "platform": "x", "brandId": brand} for n in range(turn * 100, turn * 100 + 300)
        ]
        with records.caller() as api:
            options = {"skipInvalid": True}
            return data(api.post("/api/v1/import/accounts", json={"items": given, "options": options}), 201)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(run, range(3)))
    assert sum(answer["created"] for answer in answers) == 500
    assert sum(answer["created"] + answer["failed"] for answer in answers) == 900


@pytest.mark.usefixtures("over_http")
def test_a_parent_that_goes_to_the_trash_meanwhile_gets_no_children(records: RecordApi) -> None:
    brand = records.brand()

    def add(n: int) -> requests.Response:
        with records.caller() as api:
            item = {"username": f"{brand}{n}", "platform": "x", "brandId": brand}
            return api.post("/api/v1/import/accounts", json={"items": [item]})

    with ThreadPoolExecutor(5) as pool:
        adding = [pool.submit(add, n) for n in range(8)]
        deleted = records.operator.delete(f"/api/v1/brands/{brand}").status_code
        statuses = {future.result().status_code for future in adding}
    assert statuses <= {201, 400}
    alive = records.operator.get("/api/v1/accounts", params={"brandId": brand}).json()["pagination"]["total"]
    assert alive == 0 if deleted == 200 else alive > 0


def test_a_database_that_is_cut_off_in_between_has_all_or_nothing(records: RecordApi) -> None:
    brand, mark = records.brand(), uuid4().hex
    items = [{"username": f"{mark}{n}", "platform": "x", "brandId": brand} for n in range(10_000)]
    cut = 0

    def run(_: int) -> int:
        with records.caller() as api:
            return api.post("/api/v1/import/accounts", json={"items": items}).status_code

    with ThreadPoolExecutor(1) as pool, psycopg.connect(records.stack.database_url, autocommit=True) as owner:
        importing = pool.submit(run, 0)
        while not importing.done() and not cut:
            rows = owner.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'stowage_app' AND state = 'active' AND query ~ %s",
                ("json_populate_recordset",),
            ).fetchall()
            for (pid,) in rows:
                time.sleep(0.05)
                os.kill(pid, signal.SIGTERM)
                cut = pid
            time.sleep(0.002)
        status = importing.result()
    total = records.operator.get("/api/v1/accounts", params={"brandId": brand}).json()["pagination"]["total"]
    assert cut, "the import was too fast to be cut"
    assert total == (10_000 if status == 201 else 0)
    journalled = len(
        [entry for entry in records.journal(entity="accounts") if (entry["after"] or {}).get("brand_id") == brand]
    )
    assert journalled == total


def test_an_answer_beyond_five_megabytes_has_ids_only(records: RecordApi) -> None:
    text = "\x01" * 130
    items = [{"title": "x", "description": text} for _ in range(4_300)]
    response = send(records, "tasks", items)
    answer = data(response, 201)
    assert len(response.content) < 5_000_000
    assert "truncated" not in answer
    items = [{"title": "x", "description": f"{text}{text}{text[:40]}"} for _ in range(2_300)]
    items += [{"title": "y"}] * 7_000
    response = send(records, "tasks", [*items, {"title": 5}], **SKIP)
    answer = data(response, 201)
    assert len(response.content) < 5_000_000
    assert (answer["created"], answer["failed"], answer["truncated"]) == (9_300, 1, True)
    assert answer["items"][0].keys() == {"id"}
    assert records.read("tasks", answer["items"][9_299]["id"])["title"] == "y"
    assert answer["failures"] == [{"index": 9_300, "code": "invalid"}]


@pytest.mark.parametrize("fails", [False, True])
def test_ten_thousand_items_take_as_many_statements_as_ten(
    records: RecordApi, stack: RunningStack, tmp_path: Path, fails: bool
) -> None:
    def run(size: int) -> None:
        brand, mark = records.brand(), uuid4().hex
        items = [{"username": f"{mark}{n}", "platform": "x", "brandId": brand} for n in range(size)]
        if fails:
            for item in items[::2]:
                item["brandId"] = "nothing"
        body = to_json({"items": items, "options": SKIP})
        edit = Edit(tenant, "rae", "operator", datetime.now(UTC), str(uuid4()))
        sent.append(statements(lambda: import_items(edit, ENTITIES["accounts"], body), tmp_path))

    sent: list[int] = []
    with in_this_process(stack) as tenant:
        warm = Edit(tenant, "rae", "operator", datetime.now(UTC))
        import_items(warm, ENTITIES["tasks"], b'{"items": [{"title": "warm"}]}')
        run(10)
        run(10_000)
    assert sent[0] == sent[1]
    assert sent[0] <= (11 if not fails else 20), sent
