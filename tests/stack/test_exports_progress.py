"""Progress is polled: JSON with an ETag, held for a change, or as an event stream that ends by itself."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import (
    completed_export,
    database_full,
    fields,
    locked,
    read_export,
    refusal,
    start_export,
    wait_until,
)

STREAM = {"accept": "text/event-stream"}


def url_of(export_id: str, tenant: str = "acme2") -> str:
    return f"/api/guilds/{tenant}/exports/{export_id}/progress"


def events_of(body: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids and the data of an event stream's events."""
    first, *events, last = body.split("\n\n")
    assert (first, last) == ("retry: 2000", "")
    ids, data = [], []
    for event in events:
        id_line, data_line = event.split("\n")
        assert id_line.startswith("id: ")
        assert data_line.startswith("data: ")
        ids.append(id_line.removeprefix("id: "))
        data.append(json.loads(data_line.removeprefix("data: ")))
    return ids, data


@contextmanager
def later(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """`act` happens after so many seconds, in another thread, and is over when this is left."""
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_completed_exports_progress(admin: Api, viewer: Api) -> None:
    record = completed_export(admin)
    for mount in ("/api", "/api/v1"):
        for caller in (admin, viewer):
            response = caller.get(f"{mount}/guilds/acme2/exports/{record['id']}/progress")
            assert response.status_code == 200
            progress = response.json()
            assert progress.pop("bytes") > 1000
            assert progress.pop("message")
            assert progress == {"progress": 100, "status": "completed", "recordCount": 97, "pollAfterMs": None}


def test_a_waiting_exports_progress(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin)["id"]
        progress = admin.get(url_of(export_id)).json()
        assert progress == {
            "progress": 0,
            "status": "pending",
            "recordCount": 0,
            "bytes": 0,
            "message": "Waiting for a free slot.",
            "pollAfterMs": 2000,
        }


def test_the_etag_of_an_unchanged_state_gives_304_without_a_body(admin: Api) -> None:
    url = url_of(completed_export(admin)["id"])
    first = admin.get(url)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = admin.get(url, headers={"if-none-match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    for known in ('"other"', 'W/"other"', tag.strip('"')):
        response = admin.get(url, headers={"if-none-match": known})
        assert (response.status_code, response.json(), response.headers["etag"]) == (200, first.json(), tag)


def test_a_poll_waits_for_a_change_and_no_longer(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin)["id"]
        tag = admin.get(url_of(export_id)).headers["etag"]

        def cancel() -> None:
            assert admin.post(f"/api/guilds/acme2/exports/{export_id}/cancel").status_code == 202

        began = time.monotonic()
        with later(1, cancel):
            response = requests.get(
                stack.api_url + url_of(export_id) + "?wait=20",
                headers={"authorization": admin.headers["authorization"], "if-none-match": tag},
                timeout=30,
            )
        assert 0.9 < time.monotonic() - began < 5
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
        assert response.headers["etag"] != tag


def test_a_poll_ends_with_its_time_when_nothing_changes(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin)["id"]
        for known, status in ((None, 200), (admin.get(url_of(export_id)).headers["etag"], 304)):
            began = time.monotonic()
            response = admin.get(url_of(export_id) + "?wait=1", headers={"if-none-match": known} if known else {})
            assert response.status_code == status
            assert 1 <= time.monotonic() - began < 3


def test_a_poll_of_an_ended_export_does_not_wait(admin: Api) -> None:
    url = url_of(completed_export(admin)["id"])
    tag = admin.get(url).headers["etag"]
    began = time.monotonic()
    assert admin.get(url + "?wait=20").status_code == 200
    assert admin.get(url + "?wait=20", headers={"if-none-match": tag}).status_code == 304
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("wait", ["-1", "21", "1.5", "soon", ""])
def test_a_wait_is_of_0_to_20_seconds(wait: str, admin: Api) -> None:
    export_id = completed_export(admin, "initech")["id"]
    response = admin.get(f"{url_of(export_id, 'initech')}?wait={wait}")
    assert fields(refusal(response, 400, "invalid_request")) == ["wait"]


def test_the_event_stream_of_an_ended_export_tells_its_state_and_ends(admin: Api, viewer: Api) -> None:
    record = completed_export(admin)
    response = admin.get(url_of(record["id"]), headers=STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    ids, data = events_of(response.text)
    assert len(ids) == 1
    assert set(data[0]) == {"progress", "status", "recordCount", "message", "downloadUrl"}
    assert (data[0]["progress"], data[0]["status"], data[0]["recordCount"]) == (100, "completed", 97)
    assert requests.get(data[0]["downloadUrl"], timeout=20).status_code == 200
    _, seen = events_of(viewer.get(url_of(record["id"]), headers=STREAM).text)
    assert seen == [data[0] | {"downloadUrl": None}]


def test_a_reconnect_after_the_terminal_event_is_told_to_stop(admin: Api) -> None:
    url = url_of(completed_export(admin)["id"])
    [last], _ = events_of(admin.get(url, headers=STREAM).text)
    stop = admin.get(url, headers=STREAM | {"last-event-id": last})
    assert (stop.status_code, stop.content) == (204, b"")
    for earlier in ("0", str(int(last) - 1), "nonsense"):
        again = admin.get(url, headers=STREAM | {"last-event-id": earlier})
        assert (again.status_code, events_of(again.text)[0]) == (200, [last])


def test_one_stream_shows_an_export_from_its_start_to_its_completion(admin: Api, database: psycopg.Connection) -> None:
    with locked(database, "acme_x", "groups"):
        record = start_export(admin, "acme_x", dataType="groups")
        url = url_of(record["id"], "acme_x")
        wait_until(lambda: read_export(admin, record["id"], "acme_x")["status"] == "processing")
        answers: list[requests.Response] = []
        reader = threading.Thread(target=lambda: answers.append(admin.get(url, headers=STREAM)))
        reader.start()
        time.sleep(0.5)
    reader.join()
    ids, data = events_of(answers[0].text)
    assert data[0]["status"] == "processing"
    assert (data[-1]["status"], data[-1]["progress"], data[-1]["recordCount"]) == ("completed", 100, 4)
    assert [int(id_) for id_ in ids] == sorted({int(id_) for id_ in ids})
    percents = [event["progress"] for event in data]
    assert percents == sorted(percents)
    assert {event["downloadUrl"] for event in data[:-1]} == {None}
    assert data[-1]["downloadUrl"].startswith("http")


def test_a_reconnect_is_not_told_again_what_it_knows(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin)["id"]
        waiting = admin.get(url_of(export_id)).headers["etag"].strip('"')

        def cancel() -> None:
            assert admin.post(f"/api/guilds/acme2/exports/{export_id}/cancel").status_code == 202

        with later(0.7, cancel):
            response = requests.get(
                stack.api_url + url_of(export_id),
                headers=STREAM | {"authorization": str(admin.headers["authorization"]), "last-event-id": waiting},
                timeout=30,
            )
        ids, data = events_of(response.text)
        assert waiting not in ids
        assert [event["status"] for event in data] == ["cancelled"]


def test_a_backups_progress_is_no_exports(admin: Api) -> None:
    backups = admin.get("/api/backup?project_id=acme2&limit=1").json()["data"]
    if not backups:
        response = admin.post("/api/backup/export", json={"project_id": "acme2"})
        backups = [{"id": response.json()["data"]["job_id"]}]
    refusal(admin.get(url_of(backups[0]["id"])), 404, "not_found")
    refusal(admin.get(f"/api/guilds/acme2/exports/{backups[0]['id']}"), 404, "not_found")
    refusal(admin.delete(f"/api/guilds/acme2/exports/{backups[0]['id']}"), 404, "not_found")
    refusal(admin.post(f"/api/guilds/acme2/exports/{backups[0]['id']}/cancel"), 404, "not_found")
