"""A browser's own EventSource reads an export's progress, and stops when there is nothing more to come."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import completed_export, database_full, read_export, start_export

LISTEN = """
([url, credentials]) => {
    window.told = {events: [], errors: 0, opened: 0, closed: null};
    const source = new EventSource(url, {withCredentials: credentials});
    source.onopen = () => { told.opened += 1; };
    source.onmessage = (event) => {
        told.events.push({id: event.lastEventId, at: performance.now(), ...JSON.parse(event.data)});
    };
    source.onerror = () => {
        told.errors += 1;
        if (source.readyState === EventSource.CLOSED) told.closed = performance.now();
    };
    window.source = source;
}
"""


@pytest.fixture
def page(browser: Browser, stack: RunningStack) -> Iterator[Page]:
    """A page of the API's own origin, signed in as an operator by the session cookie."""
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{stack.api_url}/api/v1/health")
    status = opened.evaluate(
        """async (token) => (await fetch('/api/session', {
            method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify({token}),
        })).status""",
        stack.tokens["operator"],
    )
    assert status == 200
    yield opened
    context.close()


def requests_of(page: Page, path: str) -> list[int]:
    """Grows by the status of each answer to this path."""
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if path in response.url else None)
    return statuses


def told(page: Page) -> Any:
    return page.evaluate("() => window.told")


def test_a_script_cannot_read_the_session_cookie(page: Page) -> None:
    assert page.evaluate("() => document.cookie") == ""
    me = page.evaluate("async () => (await fetch('/api/v1/me')).json()")
    assert (me["sub"], me["role"]) == ("operator@example.com", "operator")


def test_an_event_source_sees_an_export_complete_and_stops(
    page: Page, stack: RunningStack, admin: Api, dynamodb: Any
) -> None:
    with database_full(stack, dynamodb):
        record = page.evaluate(
            """async () => (await fetch('/api/guilds/acme2/exports', {
                method: 'POST', headers: {'content-type': 'application/json'},
                body: JSON.stringify({format: 'csv', mode: 'all', dataType: 'accounts'}),
            })).json()"""
        )
        path = f"/api/guilds/acme2/exports/{record['id']}/progress"
        statuses = requests_of(page, path)
        page.evaluate(LISTEN, [path, False])
        page.wait_for_timeout(500)
    page.wait_for_function("() => told.closed !== null", timeout=15_000)
    seen = told(page)
    events = seen["events"]
    assert [event["status"] for event in (events[0], events[-1])] == ["pending", "completed"]
    assert (events[-1]["progress"], events[-1]["recordCount"]) == (100, 97)
    assert len({event["id"] for event in events}) == len(events)
    link = events[-1]["downloadUrl"]
    assert link == read_export(admin, record["id"])["downloadUrl"].replace(stack.api_url, link.partition("/api/")[0])
    # One response told all; the reconnect, two seconds later, was told to stop.
    assert statuses == [200, 204]
    assert seen["closed"] - events[-1]["at"] > 1500
    page.wait_for_timeout(2500)
    assert statuses == [200, 204]
    assert told(page)["events"] == events


def test_a_dashboard_that_closes_at_the_first_interruption_has_seen_the_completion(page: Page, operator: Api) -> None:
    record = start_export(operator)
    path = f"/api/guilds/acme2/exports/{record['id']}/progress"
    page.evaluate(LISTEN, [path, False])
    page.evaluate("() => source.addEventListener('error', () => source.close())")
    page.wait_for_function("() => source.readyState === EventSource.CLOSED", timeout=25_000)
    assert told(page)["events"][-1]["status"] == "completed"
    assert told(page)["errors"] == 1


def test_a_page_of_a_foreign_origin_learns_nothing(browser: Browser, stack: RunningStack, admin: Api) -> None:
    record = completed_export(admin)
    url = f"{stack.api_url}/api/guilds/acme2/exports/{record['id']}/progress"
    context = browser.new_context()
    try:
        foreign = context.new_page()
        foreign.goto("data:text/html,<p>elsewhere</p>")
        foreign.evaluate(LISTEN, [url, True])
        foreign.wait_for_function("() => told.closed !== null", timeout=10_000)
        assert told(foreign)["events"] == []
    finally:
        context.close()


def test_a_download_link_saves_the_file_under_its_name(page: Page, admin: Api) -> None:
    record = completed_export(admin, filename="Übersicht 💾")
    with page.expect_download() as waiting:
        page.evaluate("(url) => { location.href = url; }", record["downloadUrl"])
    assert waiting.value.suggested_filename == "Übersicht 💾.csv"
    assert waiting.value.path().read_bytes().startswith(b"id,")


def test_an_event_source_that_comes_again_and_again_misses_no_change_and_tells_none_twice(
    page: Page, operator: Api
) -> None:
    page.evaluate(LISTEN, ["/api/v1/stream/tasks?project_id=globex", False])
    page.wait_for_function("() => told.events.length === 1")
    titles = [f"change {n}" for n in range(15)]
    for title in titles:
        made = operator.post("/api/v1/tasks", json={"title": title}, headers={"x-tenant-id": "globex"})
        assert made.status_code == 201
        page.wait_for_timeout(100)
    page.wait_for_function("(count) => told.events.length > count", arg=len(titles), timeout=20_000)
    connected, *events = told(page)["events"]
    assert connected["type"] == "connected"
    assert [event["task"]["title"] for event in events] == titles
    assert told(page)["opened"] > 2
