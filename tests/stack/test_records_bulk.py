"""PATCH /api/v1/bulk/{entity} and its deletion: each record its own fields, and an answer for each that failed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from pydantic_core import to_json

from stowage.entities.declared import ENTITIES
from stowage.postgres.session.edit import Edit
from stowage.records import change_records
from tests.conftest import RunningStack
from tests.stack.record_surface import RecordApi, complaints, data, in_this_process, record_api, refused, statements

pytestmark = pytest.mark.usefixtures("direct")


@pytest.fixture(scope="module")
def records(stack: RunningStack) -> Iterator[RecordApi]:
    made = record_api(stack)
    yield made
    made.close()


def update(records: RecordApi, entity: str, *updates: Any) -> requests.Response:
    return records.operator.patch(f"/api/v1/bulk/{entity}", json={"updates": list(updates)})


def some(records: RecordApi, count: int, **fields: Any) -> list[str]:
    items = [{"title": f"Task {n}", "description": "d"} | fields for n in range(count)]
    answer = data(records.operator.post("/api/v1/import/tasks", json={"items": items}), 201)
    return [item["id"] for item in answer["items"]]


def test_each_record_gets_its_own_fields_and_comes_back_in_the_order_of_the_request(records: RecordApi) -> None:
    first, second, third = some(records, 3)
    answer = data(
        update(
            records,
            "tasks",
            {"id": third, "status": "completed", "description": None},
            {"id": first, "title": "One"},
            {"id": second, "title": "Task 1"},
        )
    )
    assert (answer["updated"], answer["failed"], answer["failures"]) == (3, 0, [])
    assert [item["id"] for item in answer["items"]] == [third, first, second]
    assert [(item["title"], item["status"], item["description"]) for item in answer["items"]] == [
        ("Task 2", "completed", None),
        ("One", "todo", "d"),
        ("Task 1", "todo", "d"),
    ]
    assert answer["items"][0] == records.read("tasks", third)


def test_the_journal_has_what_changed_of_each_record_and_then_the_whole_of_it(records: RecordApi) -> None:
    first, second, third = some(records, 3)
    answer = data(
        update(
            records,
            "tasks",
            {"id": first, "title": "One", "priority": "medium"},
            {"id": second, "description": None},
            {"id": third, "title": "Task 2"},
        )
    )
    *changed, whole = records.journal(operation=answer["operationId"])
    assert all(entry["before"].pop("updated_at") < entry["after"]["updated_at"] for entry in changed)
    assert {entry["id"]: entry["before"] for entry in changed} == {
        first: {"title": "Task 0"},
        second: {"description": "d"},
    }
    for entry in changed:
        record = records.read("tasks", entry["id"])
        own = {name: value for name, value in entry["after"].items() if not name.endswith("_at")}
        assert own == {name: value for name, value in record.items() if not name.endswith("At")}
    assert whole["after"] == {"kind": "update", "total": 3, "succeeded": 3, "failed": 0}


def test_what_cannot_be_changed_is_told_and_the_others_are(records: RecordApi) -> None:
    brand, elsewhere = records.brand(), records.brand()
    one, two, three, four, five = (records.account(brand, groupId=records.group(brand)) for _ in range(5))
    data(records.operator.delete(f"/api/v1/accounts/{five['id']}"))
    response = update(
        records,
        "accounts",
        {"id": one["id"], "followers": 7},
        {"id": "nothing", "followers": 7},
        {"id": two["id"], "username": one["username"]},
        {"id": three["id"], "brandId": elsewhere},
        {"id": four["id"], "followers": "7", "x": 1},
        {"id": five["id"], "followers": 7},
    )
    answer = data(response, 207)
    assert (answer["updated"], answer["failed"]) == (1, 5)
    assert [item["id"] for item in answer["items"]] == [one["id"]]
    assert [(failure["index"], failure["id"], failure["code"]) for failure in answer["failures"]] == [
        (1, "nothing", "not_found"),
        (2, two["id"], "conflict"),
        (3, three["id"], "invalid_reference"),
        (4, four["id"], "invalid"),
        (5, five["id"], "not_found"),
    ]
    assert answer["failures"][3]["error"] == "followers: expected a whole number; x: there is no such field."
    for account in (two, three, four):
        assert records.read("accounts", account["id"]) == account
    (whole,) = [entry for entry in records.journal(operation=answer["operationId"]) if entry["type"] == "operation"]
    assert whole["after"] == {"kind": "update", "total": 6, "succeeded": 1, "failed": 5}


def test_of_two_updates_to_the_same_name_the_first_is_made(records: RecordApi) -> None:
    label = f"Same {uuid4()}"
    first, second, third = records.brand(), records.brand(), records.brand()
    answer = data(update(records, "brands", *({"id": brand, "label": label} for brand in (first, second))), 207)
    assert [item["id"] for item in answer["items"]] == [first]
    assert [(failure["id"], failure["code"]) for failure in answer["failures"]] == [(second, "conflict")]
    swapped = update(
        records, "brands", {"id": first, "label": records.read("brands", third)["label"]}, {"id": third, "label": label}
    )
    assert [failure["code"] for failure in data(swapped, 207)["failures"]] == ["conflict", "conflict"]


def test_who_has_a_name_is_not_refused_because_another_asks_for_it(records: RecordApi) -> None:
    holder, other = (records.account(records.brand()) for _ in range(2))
    answer = data(
        update(
            records,
            "accounts",
            {"id": other["id"], "username": holder["username"]},
            {"id": holder["id"], "followers": 1},
        ),
        207,
    )
    assert [item["id"] for item in answer["items"]] == [holder["id"]]
    assert [(failure["id"], failure["code"]) for failure in answer["failures"]] == [(other["id"], "conflict")]


def test_a_check_of_the_database_fails_its_own_record_only(records: RecordApi) -> None:
    brand = records.brand()
    good, bad = records.account(brand), records.account(brand)
    answer = data(
        update(records, "accounts", {"id": good["id"], "followers": 1}, {"id": bad["id"], "followers": -1}), 207
    )
    assert [item["id"] for item in answer["items"]] == [good["id"]]
    assert [(failure["id"], failure["code"]) for failure in answer["failures"]] == [(bad["id"], "invalid")]


def test_failures_carry_the_id_as_it_was_sent(records: RecordApi) -> None:
    raw = f"https://example.com/{uuid4()}"
    encoded = records.make("tasks", id=raw, title="x")["id"]
    answer = data(update(records, "tasks", {"id": raw, "title": 5}), 207)
    assert answer["failures"][0]["id"] == raw
    assert data(update(records, "tasks", {"id": encoded, "title": "y"}))["items"][0]["id"] == encoded


def test_an_id_that_stands_there_twice_is_refused_whatever_its_items_are(records: RecordApi) -> None:
    raw = f"https://example.com/{uuid4()}"
    encoded = records.make("tasks", id=raw, title="x")["id"]
    for title in ("y", 5):
        refusal = update(records, "tasks", {"id": raw, "title": title}, {"id": encoded, "title": "z"})
        assert complaints(refused(refusal, 400, "duplicate_ids")) == {"updates[1].id": "is also that of updates[0]"}
    assert records.read("tasks", encoded)["title"] == "x"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"updates": []}, "updates"),
        ({"updates": [{"id": f"x{n}"} for n in range(10_001)]}, "updates"),
        ({"updates": [{"title": "x"}]}, "updates[0].id"),
        ({"updates": [{"id": "a"}, {"id": 5}]}, "updates[1].id"),
        ({"updates": [{"id": "a\0"}]}, "updates[0].id"),
        ({"updates": ["a"]}, "updates[0]"),
        ({"ids": ["a"]}, "ids"),
    ],
)
def test_a_body_that_names_no_records_is_refused_whole(records: RecordApi, body: Any, field: str) -> None:
    refusal = refused(records.operator.patch("/api/v1/bulk/tasks", json=body), 400, "invalid_request")
    assert field in complaints(refusal)


def test_ids_of_other_tenants_and_entities_are_not_found(records: RecordApi, database: Any) -> None:
    foreign = database.execute("SELECT id FROM tenant_globex.tasks LIMIT 1").fetchone()[0]
    brand = records.brand()
    answer = data(update(records, "tasks", {"id": foreign, "title": "mine"}, {"id": brand, "title": "mine"}), 207)
    assert [failure["code"] for failure in answer["failures"]] == ["not_found", "not_found"]
    deleted = records.operator.post("/api/v1/bulk/tasks/delete", json={"ids": [foreign, brand]})
    assert [failure["code"] for failure in data(deleted, 207)["failures"]] == ["not_found", "not_found"]
    assert database.execute("SELECT title <> 'mine' FROM tenant_globex.tasks WHERE id = %s", (foreign,)).fetchone()[0]


@pytest.mark.usefixtures("over_http")
def test_overlapping_updates_at_once_neither_deadlock_nor_lose_anything(records: RecordApi) -> None:
    ids = some(records, 300)

    def run(turn: int) -> int:
        given = ids if turn % 2 else ids[::-1]
        with records.caller() as api:
            updates = [{"id": record_id, "title": f"turn {turn}"} for record_id in given]
            return api.patch("/api/v1/bulk/tasks", json={"updates": updates}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(run, range(8))) == {200}
    changes = [entry for record_id in ids[::50] for entry in records.journal(id=record_id)]
    assert len(changes) == 6 * 9
    for record_id in ids[::50]:
        images = [(entry["before"] or {}).get("title") for entry in records.journal(id=record_id)][1:]
        after = [entry["after"]["title"] for entry in records.journal(id=record_id)]
        assert images == after[:-1], "each change begins with what the one before it left"


@pytest.mark.usefixtures("over_http")
def test_an_account_is_not_moved_into_a_group_that_moves_meanwhile(records: RecordApi) -> None:
    brand, elsewhere = records.brand(), records.brand()
    groups = [records.group(brand) for _ in range(6)]
    accounts = [records.account(brand)["id"] for _ in range(6)]

    def enter(n: int) -> int:
        with records.caller() as api:
            return api.patch(f"/api/v1/accounts/{accounts[n]}", json={"groupId": groups[n]}).status_code

    def move(n: int) -> int:
        with records.caller() as api:
            return api.patch(f"/api/v1/groups/{groups[n]}", json={"brandId": elsewhere}).status_code

    with ThreadPoolExecutor(4) as pool:
        entered = [pool.submit(enter, n) for n in range(6)]
        moved = [pool.submit(move, n) for n in range(6)]
        outcomes = {(one.result(), other.result()) for one, other in zip(entered, moved, strict=True)}
    assert outcomes <= {(200, 409), (400, 200)}


def test_a_bulk_update_is_undone_as_it_was(records: RecordApi) -> None:
    ids = some(records, 3)
    before = [records.read("tasks", record_id) for record_id in ids]
    answer = data(update(records, "tasks", {"id": ids[0], "title": "x"}, {"id": ids[1], "description": None}))
    data(records.operator.patch(f"/api/v1/tasks/{ids[1]}", json={"description": "mine"}))
    undo = records.operator.post("/api/v1/guilds/records/bulk/undo", json={"operationId": answer["operationId"]})
    assert undo.status_code == 207, undo.text
    assert [result.get("code") for result in undo.json()["results"]] == [None, "changed_since"]
    assert records.read("tasks", ids[0])["title"] == before[0]["title"]


def test_an_import_is_undone_into_the_trash(records: RecordApi) -> None:
    items = [{"title": "a"}, {"title": "b"}]
    answer = data(records.operator.post("/api/v1/import/tasks", json={"items": items}), 201)
    ids = [item["id"] for item in answer["items"]]
    data(records.operator.patch(f"/api/v1/tasks/{ids[1]}", json={"title": "kept"}))
    undo = records.operator.post("/api/v1/guilds/records/bulk/undo", json={"operationId": answer["operationId"]})
    assert [result.get("code") for result in undo.json()["results"]] == [None, "changed_since"]
    assert records.operator.get(f"/api/v1/tasks/{ids[0]}").status_code == 404
    assert records.read("tasks", ids[1])["title"] == "kept"


def test_a_bulk_deletion_tells_what_stays(records: RecordApi) -> None:
    brand, free = records.brand(), records.brand()
    records.account(brand)
    response = records.operator.post("/api/v1/bulk/brands/delete", json={"ids": [free, brand, "nothing"]})
    answer = data(response, 207)
    assert (answer["deleted"], answer["failed"]) == (1, 2)
    assert [(failure["index"], failure["code"]) for failure in answer["failures"]] == [
        (1, "has_children"),
        (2, "not_found"),
    ]
    ids = some(records, 2)
    answer = data(records.operator.post("/api/v1/bulk/tasks/delete", json={"ids": ids}))
    assert answer.keys() == {"operationId", "deleted"}
    again = data(records.operator.post("/api/v1/bulk/tasks/delete", json={"ids": ids}), 207)
    assert [failure["code"] for failure in again["failures"]] == ["already_deleted", "already_deleted"]
    for body in ({"ids": []}, {"ids": ["a", "a"]}, {"ids": ["a\0"]}, {"ids": [f"{n}" for n in range(10_001)]}, {}):
        refused(records.operator.post("/api/v1/bulk/tasks/delete", json=body), 400, "invalid_request")


def test_the_same_key_deletes_and_updates_once(records: RecordApi) -> None:
    ids = some(records, 2)
    headers = {"idempotency-key": str(uuid4())}
    bodies = [("PATCH", "/api/v1/bulk/tasks", {"updates": [{"id": ids[0], "title": "x"}]})]
    bodies.append(("POST", "/api/v1/bulk/tasks/delete", {"ids": ids}))
    for method, path, body in bodies:
        first = records.operator.request(method, path, json=body, headers=headers)
        again = records.operator.request(method, path, json=body, headers=headers)
        assert (first.status_code, first.text) == (200, again.text)


@pytest.mark.parametrize("fails", [False, True])
def test_ten_thousand_updates_take_as_many_statements_as_ten(
    records: RecordApi, stack: RunningStack, tmp_path: Path, fails: bool
) -> None:
    def run(size: int) -> None:
        ids = some(records, size)
        updates: list[dict[str, Any]] = [{"id": record_id, "title": f"new {n}"} for n, record_id in enumerate(ids)]
        if fails:
            for each in updates[::2]:
                each["assignee"] = "nobody"
            updates[1]["id"] = "nothing"
        body = to_json({"updates": updates})
        edit = Edit(tenant, "rae", "operator", datetime.now(UTC), str(uuid4()))
        sent.append(statements(lambda: change_records(edit, ENTITIES["tasks"], body), tmp_path))

    sent: list[int] = []
    with in_this_process(stack) as tenant:
        warm = Edit(tenant, "rae", "operator", datetime.now(UTC))
        change_records(warm, ENTITIES["tasks"], b'{"updates": [{"id": "x"}]}')
        run(10)
        run(10_000)
    assert sent[0] == sent[1]
    assert sent[0] <= (11 if not fails else 16), sent
