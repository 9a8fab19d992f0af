"""GET /api/v1/stream/{entity}: an entity's changes in their order, without a gap, as JSON and as an event stream."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stowage import feed
from stowage.basics.errors import UnavailableError
from stowage.entities.declared import ENTITIES
from stowage.postgres.journal import following
from tests.conftest import Api
from tests.stack.office import Office, in_process, refusal

type Json = Any

ROUTE = "/api/v1/stream"
STREAM = {"accept": "text/event-stream"}


@pytest.fixture
def viewer(office: Office, direct: None) -> Api:
    return office.caller("viewer")


@pytest.fixture
def operator(office: Office, direct: None) -> Api:
    return office.caller("operator")


def page(api: Api, entity: str, after: str | None = None, **query: Json) -> Json:
    answer = api.get(f"{ROUTE}/{entity}", params=query | ({"after": after} if after else {}))
    assert answer.status_code == 200, answer.text
    return answer.json()


def cursor_now(api: Api, entity: str) -> str:
    [connected] = (told := page(api, entity))["events"]
    assert connected == {"type": "connected", "data": {"cursor": told["cursor"]}}
    assert told["hasMore"] is False
    return str(told["cursor"])


def told_by(text: str) -> list[dict[str, str]]:
    """The events of a stream's body, each with its fields."""
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]


def stream(api: Api, entity: str, last: str | None = None) -> list[dict[str, str]]:
    answer = api.get(f"{ROUTE}/{entity}", headers=STREAM | ({"last-event-id": last} if last else {}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    retry, *events = told_by(answer.text)
    assert set(retry) == {"retry"}
    return events


def test_changes_are_told_in_their_order_with_the_record_as_it_became(viewer: Api, operator: Api) -> None:
    begin = cursor_now(viewer, "tasks")
    of_users = cursor_now(viewer, "users")
    made = operator.post("/api/v1/tasks", json={"id": "a/b", "title": "one"}).json()["data"]
    operator.post("/api/v1/users", json={"name": "Ada", "email": "a@x.example"})
    changed = operator.patch(f"/api/v1/tasks/{made['id']}", json={"title": "two"}).json()["data"]
    operator.delete(f"/api/v1/tasks/{made['id']}")
    told = page(viewer, "tasks", begin)
    assert [event["type"] for event in told["events"]] == ["task.created", "task.updated", "task.deleted"]
    assert told["hasMore"] is False
    for event, record in zip(told["events"], (made, changed, changed), strict=True):
        assert event["task"] == event["data"]
        assert (event["taskId"], event["data"]["id"], event["data"]["title"]) == (
            made["id"],
            made["id"],
            record["title"],
        )
        assert event["id"].startswith("evt_")
        assert set(event) == {"type", "id", "createdAt", "data", "task", "taskId"}
    assert told["events"][0]["data"] == made
    assert page(viewer, "tasks", begin) == told, "asking again gives the same events under the same ids"
    assert page(viewer, "tasks", told["cursor"])["events"] == []
    assert [event["type"] for event in page(viewer, "users", of_users)["events"]] == ["user.created"]


def test_pages_have_neither_gaps_nor_doubles(
    viewer: Api, operator: Api, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_EVENTS", 3)
    monkeypatch.setattr(following, "MOST_SCANNED", 4)
    cursor = cursor_now(viewer, "tasks")
    items = [{"id": f"t{n}", "title": f"{n}"} for n in range(10)]
    operator.post("/api/v1/import/tasks", json={"items": items})
    operator.post("/api/v1/import/brands", json={"items": [{"label": f"new {n}"} for n in range(9)]})
    operator.post("/api/v1/bulk/tasks/delete", json={"ids": ["t3", "t4"]})
    seen: list[tuple[str, str]] = []
    more, pages = True, 0
    while more:
        told = page(viewer, "tasks", cursor)
        seen += [(event["type"], event["taskId"]) for event in told["events"]]
        cursor, more, pages = told["cursor"], told["hasMore"], pages + 1
    assert seen[:10] == [("task.created", f"t{n}") for n in range(10)]
    assert sorted(seen[10:]) == [("task.deleted", "t3"), ("task.deleted", "t4")]
    assert pages > 4


def test_waiting_ends_with_the_change_and_asks_postgres_only_when_there_is_one(
    viewer: Api, office: Office, monkeypatch: pytest.MonkeyPatch, over_http: None
) -> None:
    waiting, writing = office.caller("viewer"), office.caller("operator")
    cursor = cursor_now(waiting, "tasks")
    began = time.monotonic()
    assert page(waiting, "tasks", cursor, wait=1)["events"] == []
    assert time.monotonic() - began >= 1
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(page, waiting, "tasks", cursor, wait=20)
        time.sleep(0.5)
        writing.post("/api/v1/tasks", json={"title": "x"})
        assert [event["type"] for event in found.result(15)["events"]] == ["task.created"]

    asked: list[int] = []
    look = feed.look
    monkeypatch.setattr(feed, "look", lambda *given: asked.append(1) or look(*given))
    monkeypatch.setattr(feed, "mark_version", lambda _: 7)
    now = cursor_now(waiting, "tasks")
    with in_process(office.stack):
        feed.Feed(office.tenant, ENTITIES["tasks"]).page(now, 1)
    assert len(asked) == 1


def test_a_cursor_whose_followers_are_gone_begins_anew(viewer: Api, operator: Api, office: Office) -> None:
    old = cursor_now(viewer, "tasks")
    for title in "ab":
        operator.post("/api/v1/tasks", json={"title": title})
    newer = page(viewer, "tasks", old)["cursor"]
    office.database.execute(
        "DELETE FROM stowage.changes WHERE tenant = %s AND seq = "
        "(SELECT min(seq) FROM stowage.changes WHERE tenant = %s)",
        (office.id, office.id),
    )
    refusal(viewer.get(f"{ROUTE}/tasks?after={old}"), 410, "cursor_gone")
    [reset] = stream(viewer, "tasks", old)
    assert (reset["event"], json.loads(reset["data"])["type"], reset["id"]) == ("reset", "reset", newer)
    assert page(viewer, "tasks", newer)["events"] == []
    # A database that was set back gives its numbers anew, to other operations.
    office.database.execute(
        "UPDATE stowage.changes SET operation = 'op_other' WHERE tenant = %s AND seq = "
        "(SELECT max(seq) FROM stowage.changes WHERE tenant = %s)", (office.id, office.id),
    )  # fmt: skip
    refusal(viewer.get(f"{ROUTE}/tasks?after={newer}"), 410, "cursor_gone")
    office.database.execute("DELETE FROM stowage.changes WHERE tenant = %s", (office.id,))
    office.database.execute("UPDATE stowage.positions SET seq = 1 WHERE tenant = %s", (office.id,))
    refusal(viewer.get(f"{ROUTE}/tasks?after={newer}"), 410, "cursor_gone")


@pytest.mark.parametrize(
    "after", ["x", "e30", "WyIxIiwidXNlcnMiLDAsIiJd", "WyIxIiwidGFza3MiLC0xLCIiXQ", "é", "A" * 2000]
)
def test_a_cursor_that_is_none_is_refused(viewer: Api, after: str) -> None:
    refusal(viewer.get(f"{ROUTE}/tasks", params={"after": after}), 400, "invalid_cursor")


def test_other_tenants_and_entities_have_feeds_of_their_own(
    viewer: Api, operator: Api, office: Office, other: Api
) -> None:
    cursor = cursor_now(viewer, "tasks")
    operator.post("/api/v1/tasks", json={"title": "mine"})
    for query in ("", f"?after={cursor}"):
        refusal(other.get(f"{ROUTE}/tasks{query}", headers={"x-tenant-id": office.id}), 404, "tenant_not_found")
    refusal(viewer.get(f"{ROUTE}/nothing"), 404, "not_found")
    refusal(viewer.get(f"{ROUTE}/tasks?wait=21"), 400, "invalid_request")
    # Another tenant's cursor names a place in the caller's own journal at most.
    own = other.get(f"{ROUTE}/tasks", params={"after": page(viewer, "tasks", cursor)["cursor"]})
    assert own.status_code == 410 or own.json()["events"] == []


def test_a_stream_begins_with_connected_and_goes_on_behind_the_last_event(
    viewer: Api, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LONGEST_WAIT", 0.3)
    [connected] = stream(viewer, "tasks")
    assert json.loads(connected["data"])["type"] == "connected"
    for title in "abc":
        operator.post("/api/v1/tasks", json={"title": title})
    events = stream(viewer, "tasks", connected["id"])
    assert [json.loads(event["data"])["data"]["title"] for event in events] == ["a", "b", "c"]
    assert [json.loads(event["data"])["data"]["title"] for event in stream(viewer, "tasks", events[1]["id"])] == ["c"]
    assert stream(viewer, "tasks", events[2]["id"]) == []
    operator.post("/api/v1/users", json={"name": "Ada", "email": "x"})
    [position] = stream(viewer, "tasks", events[2]["id"])
    assert position["event"] == "position", "so that a quiet entity's client does not fall behind what is kept"
    assert stream(viewer, "tasks", position["id"]) == []


def test_a_busy_database_tells_a_stream_to_come_later(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise UnavailableError("No room.", retry_after=1)

    monkeypatch.setattr(feed, "look", busy)
    answer = viewer.get(f"{ROUTE}/tasks", headers=STREAM)
    assert (answer.status_code, answer.text) == (200, "retry: 10000\n\n")
    assert viewer.get(f"{ROUTE}/tasks").status_code == 503


def test_records_too_large_for_an_answer_are_told_without_their_image(
    viewer: Api, operator: Api, office: Office
) -> None:
    cursor = cursor_now(viewer, "tasks")
    large = "x" * 900_000
    for name in "abc":
        operator.post("/api/v1/tasks", json={"id": name, "title": name, "description": large})
    seen, more = [], True
    while more:
        told = page(viewer, "tasks", cursor)
        seen += [event["taskId"] for event in told["events"]]
        assert all(event["data"]["description"] == large for event in told["events"])
        cursor, more = told["cursor"], told["hasMore"]
    assert seen == ["a", "b", "c"]
    operator.patch("/api/v1/tasks/a", json={"description": "y" * 2_000_000})
    [event] = page(viewer, "tasks", cursor)["events"]
    assert (event["type"], event["data"], event["truncated"]) == ("task.updated", None, True)


def test_nothing_is_missed_and_nothing_told_twice_while_many_write(
    office: Office, over_http: None, direct: None
) -> None:
    reader = office.caller("viewer")
    cursor = cursor_now(reader, "tasks")
    writers, each = 4, 12

    def write(writer: int) -> None:
        api = office.caller("operator")
        for n in range(each):
            assert api.post("/api/v1/tasks", json={"id": f"w{writer}-{n}", "title": "x"}).status_code == 201

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while len(seen) < writers * each and time.monotonic() < deadline:
        told = page(reader, "tasks", cursor, wait=5)
        seen += [event["taskId"] for event in told["events"]]
        cursor = told["cursor"]
    for thread in threads:
        thread.join()
    assert len(seen) == len(set(seen)) == writers * each
    for writer in range(writers):
        mine = [task for task in seen if task.startswith(f"w{writer}-")]
        assert mine == [f"w{writer}-{n}" for n in range(each)]
