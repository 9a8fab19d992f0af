"""Answers near the gateway's limit, through the front: nothing is changed without its answer reaching the caller."""

import time
from typing import Any

import psycopg
import pytest
import requests

from stowage.basics.sizes import is_deliverable
from tests.stack.office import Office, refusal

pytestmark = pytest.mark.usefixtures("direct")

FILE = {"filename": "k", "size": 1, "type": "csv"}
QUOTES = '"' * 1_500_000
"""In an answer of Lambda's each is four bytes: it is escaped twice."""


def urls(count: int, length: int) -> list[str]:
    return [f"https://x.example/{n:05}/".ljust(length, "p") for n in range(count)]


def quoted(count: int, length: int) -> list[str]:
    return [f"{n:05}".ljust(length, '"') for n in range(count)]


def told(response: requests.Response, status: int) -> Any:
    assert response.status_code == status, response.text[:300]
    assert is_deliverable(response.text)
    return response.json()


def state(office: Office) -> tuple[Any, ...]:
    """The posts, the tasks, and how much the journal knows."""
    with psycopg.connect(office.app_url) as connection:
        seq = connection.execute("SELECT max(seq) FROM stowage.changes WHERE tenant = %s", (office.id,)).fetchone()
    return office.rows("posts"), office.rows("tasks"), seq


def test_ten_thousand_long_ids_that_fail_are_told_without_sentences(office: Office) -> None:
    ids = urls(10_000, 430)
    result = told(office.caller().post(office.path("bulk/delete"), json={"ids": ids, "dataType": "posts"}), 207)
    assert (result["failed"], result["truncated"]) == (10_000, True)
    assert [item["id"] for item in result["results"]] == ids
    assert result["results"][0] == {"id": ids[0], "status": "error", "code": "not_found"}

    answer = told(office.caller().post("/api/v1/bulk/posts/delete", json={"ids": ids}), 207)["data"]
    assert (answer["failed"], answer["truncated"]) == (10_000, True)
    assert answer["failures"][9_999] == {"index": 9_999, "id": ids[9_999], "code": "not_found"}


def test_ids_that_no_answer_can_repeat_change_nothing(office: Office) -> None:
    office.accounts("a")
    ids = quoted(9_500, 160)
    office.posts("a", *ids[:100])
    before = state(office)
    refused = office.caller().post(office.path("bulk/delete"), json={"ids": ids, "dataType": "posts"})
    refusal(refused, 413, "too_large")
    assert state(office) == before


def test_what_succeeded_goes_before_what_failed(office: Office) -> None:
    office.accounts("a")
    ids = quoted(9_500, 160)
    office.posts("a", *ids[500:])
    result = told(office.caller().post(office.path("bulk/delete"), json={"ids": ids, "dataType": "posts"}), 207)
    assert (result["succeeded"], result["failed"], result["truncated"]) == (9_000, 500, True)
    assert [item["id"] for item in result["results"]] == ids[:500]
    assert office.live("posts") == set()


def test_failures_of_a_bulk_deletion_go_by_their_index_where_ids_have_no_room(office: Office) -> None:
    office.run("INSERT INTO tasks (id, title) VALUES ('t', 'x')")
    ids = [*quoted(9_800, 155), "t"]
    answer = told(office.caller().post("/api/v1/bulk/tasks/delete", json={"ids": ids}), 207)["data"]
    assert (answer["deleted"], answer["failed"], answer["truncated"]) == (1, 9_800, True)
    assert answer["failures"][9_799] == {"index": 9_799, "code": "not_found"}
    assert office.live("tasks") == set()


def test_failures_of_a_bulk_update_go_by_their_index_where_ids_have_no_room(office: Office) -> None:
    office.run("INSERT INTO tasks (id, title) VALUES ('t', 'x')")
    updates = [{"id": "t", "priority": "low"}, *({"id": each} for each in quoted(9_900, 150))]
    answer = told(office.caller().patch("/api/v1/bulk/tasks", json={"updates": updates}), 207)["data"]
    assert (answer["updated"], answer["failed"], answer["truncated"]) == (1, 9_900, True)
    assert answer["items"] == []
    assert answer["failures"][9_899] == {"index": 9_900, "code": "not_found"}
    assert office.rows("tasks")["t"]["priority"] == "low"


def test_items_whose_escapes_have_no_room_come_back_as_ids(office: Office) -> None:
    items = [{"title": '"' * 1_500} for _ in range(1_000)]
    answer = told(office.caller().post("/api/v1/import/tasks", json={"items": items}), 201)["data"]
    assert (answer["created"], answer["truncated"]) == (1_000, True)
    assert {item["id"] for item in answer["items"]} == office.live("tasks")
    updates = [{"id": item["id"], "description": "\\" * 1_400} for item in answer["items"]]
    answer = told(office.caller().patch("/api/v1/bulk/tasks", json={"updates": updates}), 200)["data"]
    assert (answer["updated"], answer["truncated"]) == (1_000, True)
    assert [item.keys() for item in answer["items"][:1]] == [{"id"}]


def test_failures_of_an_import_that_repeat_their_items_leave_them_out(office: Office) -> None:
    items = [{"title": '"' * 1_500, "status": "later"} for _ in range(1_000)]
    options = {"skipInvalid": True, "returnFailures": True}
    response = office.caller().post("/api/v1/import/tasks", json={"items": items, "options": options})
    answer = told(response, 201)["data"]
    assert (answer["failed"], answer["truncated"]) == (1_000, True)
    assert answer["failures"][0] == {"index": 0, "code": "invalid"}


def test_a_page_of_large_records_is_one_of_ids(office: Office) -> None:
    office.run(
        "INSERT INTO tasks (id, title, description) "
        "SELECT 'a/' || to_char(n, 'FM000'), 'x', repeat('y', 100000) FROM generate_series(1, 100) n"
    )
    page = told(office.caller("viewer").get("/api/v1/tasks?limit=100&sort=id"), 200)
    assert (page["truncated"], page["pagination"]["total"]) == (True, 100)
    assert page["data"][0] == {"id": "~YS8wMDE"}
    assert len(page["data"]) == 100
    page = told(office.caller("viewer").get("/api/v1/tasks?limit=40&sort=id"), 200)
    assert "truncated" not in page
    assert len(page["data"]) == 40
    assert len(page["data"][0]["description"]) == 100_000
    told(office.caller("viewer").get("/api/v1/tasks/~YS8wMDE"), 200)


def test_a_page_whose_escapes_have_no_room_is_one_of_ids(office: Office) -> None:
    office.run("INSERT INTO tasks (id, title) SELECT 't' || n, repeat('\"', 100000) FROM generate_series(1, 20) n")
    page = told(office.caller("viewer").get("/api/v1/tasks?sort=-id&limit=2"), 200)
    assert page["data"][0]["title"] == '"' * 100_000
    page = told(office.caller("viewer").get("/api/v1/tasks?sort=-id"), 200)
    assert page["truncated"] is True
    assert page["data"][:2] == [{"id": "t9"}, {"id": "t8"}]


@pytest.mark.parametrize("large", [QUOTES, "z" * 3_000_000], ids=["escapes", "text"])
def test_a_record_does_not_grow_beyond_what_can_be_shown(office: Office, large: str) -> None:
    told(office.caller().post("/api/v1/tasks", json={"id": "t", "title": large}), 201)
    before = state(office)
    refused = office.caller().patch("/api/v1/tasks/t", json={"description": large})
    assert "exports" in refusal(refused, 413, "too_large")["error"]
    assert state(office) == before
    told(office.caller().get("/api/v1/tasks/t"), 200)
    office.run("UPDATE tasks SET description = title")
    assert "exports" in refusal(office.caller().get("/api/v1/tasks/t"), 413, "too_large")["error"]


def test_a_record_of_any_size_is_told_and_never_read_whole(office: Office) -> None:
    office.run(
        "INSERT INTO tasks (id, title, description) SELECT id, 'x', repeat('y', size) "
        "FROM (VALUES ('small', 1), ('large', 6000000), ('huge', 65000000)) AS given (id, size)"
    )
    caller, before = office.caller("admin"), office.run("SELECT id, xmin::text FROM tasks ORDER BY id")
    began = time.monotonic()
    for record_id in ("large", "huge"):
        assert "exports" in refusal(caller.get(f"/api/v1/tasks/{record_id}"), 413, "too_large")["error"]
        for headers in ({}, {"if-match": '"x"'}):
            changed = caller.patch(f"/api/v1/tasks/{record_id}", json={"title": "y"}, headers=headers)
            refusal(changed, 413, "too_large")
    page = told(caller.get("/api/v1/tasks?sort=id"), 200)
    assert (page["truncated"], page["data"]) == (True, [{"id": "huge"}, {"id": "large"}, {"id": "small"}])
    huge = {"updates": [{"id": "huge", "title": "y"}]}
    [failure] = told(caller.patch("/api/v1/bulk/tasks", json=huge), 207)["data"]["failures"]
    assert (failure["id"], failure["code"]) == ("huge", "too_large")
    assert time.monotonic() - began < 5, "a record of that size alone takes as long to write out"
    assert office.run("SELECT id, xmin::text FROM tasks ORDER BY id") == before

    some = {"updates": [{"id": "small", "title": "y"}, {"id": "large", "title": "y"}, *huge["updates"]]}
    changed = told(caller.patch("/api/v1/bulk/tasks", json=some), 207)["data"]
    assert (changed["updated"], changed["failed"], changed["truncated"]) == (2, 1, True)
    assert (changed["items"], changed["failures"]) == (
        [{"id": "small"}, {"id": "large"}], [{"index": 2, "id": "huge", "code": "too_large"}],
    )  # fmt: skip
    told(caller.delete("/api/v1/tasks/large"), 200)
    entries = told(caller.get("/api/v1/tasks/large/history"), 200)
    assert (entries["truncated"], entries["data"][0]["after"]) == (True, None)
    assert [item["id"] for item in told(caller.get(office.path("trash?type=task")), 200)["items"]] == ["large"]
    told(caller.post(office.path("trash/large/restore"), json={"dataType": "tasks"}), 200)


def test_the_trash_shows_long_names_cut(office: Office) -> None:
    office.run(
        "INSERT INTO tasks (id, title, deleted_at) "
        "SELECT 't' || n, repeat('n', 100000), now() FROM generate_series(1, 100) n"
    )
    response = office.caller("viewer").get(office.path("trash?type=tasks&limit=100"))
    assert {item["name"] for item in told(response, 200)["items"]} == {"n" * 2_000 + "…"}
    restored = told(office.caller().post(office.path("trash/t1")), 200)
    assert restored["item"]["name"] == "n" * 2_000 + "…"
    assert office.rows("tasks")["t1"]["title"] == "n" * 100_000


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/tasks", {"k" * 4_400_000: 1, "title": "x"}),
        ("POST", "/api/v1/import/tasks", {"items": [{"k" * 40_000 + str(n): 1 for n in range(110)}]}),
        ("PATCH", "/api/v1/tasks/t", {"k" * 4_400_000: 1}),
        ("POST", "/api/guilds/{id}/bulk/delete", {"ids": ["a"], "dataType": "accounts", "k" * 4_400_000: 1}),
        ("POST", "/api/guilds/{id}/trash/a", {"dataType": "k" * 4_400_000}),
        ("POST", "/api/v1/import/tasks/file", FILE | {"k" * 4_400_000: 1}),
        ("POST", "/api/v1/import/tasks/file", FILE | {"mapping": {"k" * 400_000: None}}),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_refusal_does_not_repeat_what_has_no_end(office: Office, method: str, path: str, body: Any) -> None:
    response = office.caller().request(method, path.replace("{id}", office.id), json=body)
    assert response.status_code == 400, response.text[:300]
    assert len(response.content) < 250_000
