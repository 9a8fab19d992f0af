"""Jobs: one, many in pages, what they did, what they came to, and their cancelling and retrying."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import (
    UNKNOWN_RUN,
    audited,
    caller,
    change_run,
    completed_export,
    database_full,
    ended_export,
    ended_job,
    fields,
    locked,
    read_export,
    read_job,
    refusal,
    start_backup,
    start_export,
    wait_until,
)

TENANTS = ["acme_x", "initech"]


@pytest.fixture(scope="module")
def some(stack: RunningStack) -> Iterator[dict[str, str]]:
    """Jobs of two tenants: completed and cancelled exports, a completed and a cancelled backup."""
    dynamodb = stack.aws("dynamodb")
    with Api(stack.api_url, stack.tokens["admin"]) as api:
        ids = {
            "export": completed_export(api, "acme_x", dataType="brands")["id"],
            "export of initech": completed_export(api, "initech")["id"],
            "backup": start_backup(api, "initech"),
        }
        assert ended_job(api, ids["backup"])["status"] == "completed"
        with database_full(stack, dynamodb):
            ids["cancelled export"] = start_export(api, "acme_x", dataType="brands")["id"]
            ids["cancelled backup"] = start_backup(api, "acme_x")
            for name in ("cancelled export", "cancelled backup"):
                assert api.post(f"/api/jobs/{ids[name]}/cancel").status_code == 202
        yield ids
    dynamodb.close()


@pytest.fixture
def owner(stack: RunningStack) -> Iterator[Api]:
    """An admin of the two tenants, and of them alone."""
    with caller(stack, tenants=TENANTS) as api:
        yield api


def all_pages(api: Api, query: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """Every job that the cursor leads to."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = api.get(f"/api/jobs?limit={limit}{query}{cursor}")
        assert page.status_code == 200, page.text
        assert len(page.json()["data"]) <= limit
        found += page.json()["data"]
        if page.json()["next_cursor"] is None:
            return found
        assert len(page.json()["data"]) == limit
        cursor = f"&cursor={page.json()['next_cursor']}"


def test_a_job_tells_what_it_does_and_what_came_of_it(some: dict[str, str], viewer: Api) -> None:
    job = read_job(viewer, some["export"])
    assert set(job) == {
        "id", "type", "project_id", "status", "progress", "attempts", "max_attempts", "last_error", "created_at",
        "started_at", "completed_at", "result", "trigger", "error_code", "request", "verification", "actions",
    }  # fmt: skip
    assert (job["type"], job["project_id"], job["status"]) == ("export", "acme_x", "completed")
    assert (job["attempts"], job["max_attempts"], job["last_error"]) == (1, 3, None)
    assert set(job["progress"]) == {"stage", "percent", "bytes", "rows", "message"}
    assert (job["progress"]["percent"], job["progress"]["rows"]) == (100, job["result"]["rows"])
    assert job["result"]["rows"] > 0
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]
    assert job["result"]["export_id"] == job["id"]
    [listed] = [entry for entry in all_pages(viewer, "&project_id=acme_x") if entry["id"] == job["id"]]
    assert listed == job


def test_a_job_is_never_seen_between_two_states(admin: Api) -> None:
    job_id = start_backup(admin, "initech")
    while True:
        job, listed = read_job(admin, job_id), admin.get("/api/jobs?project_id=initech&limit=1").json()["data"][0]
        for seen in (job, listed):
            assert (
                (seen["status"] == "completed") == (seen["progress"]["percent"] == 100) == (seen["result"] is not None)
            )
        if job["status"] == "completed":
            break
        assert job["status"] in ("pending", "running")


def test_a_list_spans_the_callers_tenants_newest_first(some: dict[str, str], owner: Api, other: Api) -> None:
    jobs = all_pages(owner)
    ids = [job["id"] for job in jobs]
    assert set(some.values()) <= set(ids)
    assert ids == sorted(ids, reverse=True)
    assert {job["project_id"] for job in jobs} == set(TENANTS)
    assert {job["project_id"] for job in all_pages(other)} <= {"globex"}


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_have_neither_gaps_nor_doubles(limit: int, some: dict[str, str], owner: Api) -> None:
    since = f"&since={read_job(owner, some['export'])['created_at']}"
    whole = [job["id"] for job in all_pages(owner, since)]
    assert len(whole) >= len(some)
    assert [job["id"] for job in all_pages(owner, since, limit)] == whole


def test_a_page_stays_as_it_was_when_new_jobs_come(some: dict[str, str], owner: Api) -> None:
    first = owner.get("/api/jobs?limit=2").json()
    expected = owner.get(f"/api/jobs?limit=2&cursor={first['next_cursor']}").json()
    completed_export(owner, "initech")
    assert [job["id"] for job in owner.get(f"/api/jobs?limit=2&cursor={first['next_cursor']}").json()["data"]] == [
        job["id"] for job in expected["data"]
    ]


def test_somebody_of_every_tenant_sees_every_tenants_jobs(
    stack: RunningStack, some: dict[str, str], owner: Api
) -> None:
    since = f"&since={read_job(owner, some['export'])['created_at']}"
    with caller(stack, tenants=["*"], role="viewer") as everywhere:
        seen = all_pages(everywhere, since, 5)
        ids = [job["id"] for job in seen]
        assert ids == sorted(set(ids), reverse=True)
        assert [id_ for id_ in ids if id_ in some.values()] == sorted(some.values(), reverse=True)
        named = [all_pages(api, since + "&project_id=initech") for api in (everywhere, owner)]
        assert [job["id"] for job in named[0]] == [job["id"] for job in named[1]]


def test_a_list_is_filtered(some: dict[str, str], owner: Api) -> None:
    def names(query: str) -> set[str]:
        found = {job["id"] for job in all_pages(owner, query)}
        return {name for name, id_ in some.items() if id_ in found}

    assert names("&project_id=initech") == {"export of initech", "backup"}
    assert names("&type=export_backup") == {"backup", "cancelled backup"}
    assert names("&type=export") == {"export", "export of initech", "cancelled export"}
    assert names("&type=restore") == set()
    assert names("&status=cancelled") == {"cancelled export", "cancelled backup"}
    assert names("&status=completed&type=export&project_id=acme_x") == {"export"}
    assert names("&status=completed&type=export_backup&project_id=acme_x&since=2100-01-01") == set()
    headers = {"x-tenant-id": "initech"}
    by_header = [job["id"] for job in owner.get("/api/jobs?limit=100", headers=headers).json()["data"]]
    assert by_header == [job["id"] for job in all_pages(owner, "&project_id=initech")][:100]


def test_a_list_and_a_job_are_not_sent_again_to_who_has_them(some: dict[str, str], owner: Api) -> None:
    for path in (
        f"/api/jobs?project_id=initech&until={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        f"/api/jobs/{some['backup']}",
    ):
        first = owner.get(path)
        again = owner.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        assert owner.get(path, headers={"If-None-Match": '"other"'}).json() == first.json()
    with_other_rights = owner.get("/api/jobs?project_id=acme_x", headers={"If-None-Match": first.headers["etag"]})
    assert with_other_rights.status_code == 200


def test_many_jobs_are_retried_or_cancelled_at_once(
    stack: RunningStack, owner: Api, other: Api, operator: Api, dynamodb: Any
) -> None:
    with database_full(stack, dynamodb):
        ids = [start_export(owner, "acme_x", dataType="brands")["id"] for _ in range(3)]
        for api, code in ((other, "not_found"), (operator, "not_your_run")):
            answer = api.post("/api/jobs/bulk", json={"action": "cancel", "ids": ids})
            assert (answer.status_code, answer.json()["data"]["failed"]) == (207, 3)
            assert {result["code"] for result in answer.json()["data"]["results"]} == {code}
        answer = owner.post("/api/jobs/bulk", json={"action": "cancel", "ids": [*ids[:2], UNKNOWN_RUN]})
        told = answer.json()["data"]
        assert (answer.status_code, told["total"], told["succeeded"], told["failed"]) == (207, 3, 2, 1)
        assert [(each["id"], each["status"], each["code"]) for each in told["results"]] == [
            (ids[0], "success", None), (ids[1], "success", None), (UNKNOWN_RUN, "error", "not_found"),
        ]  # fmt: skip
        since = read_job(owner, ids[0])["created_at"]
        chosen = {"project_id": "acme_x", "type": "export", "since": since}
        for action, expected in (("cancel", ids[2:]), ("retry", ids), ("cancel", ids)):
            answer = owner.post("/api/jobs/bulk", json={"action": action, "filter": chosen})
            told = answer.json()["data"]
            assert (answer.status_code, told["remaining"]) == (200, 0)
            assert [each["id"] for each in told["results"]] == sorted(expected, reverse=True)
        nothing = owner.post("/api/jobs/bulk", json={"action": "retry", "filter": {**chosen, "status": "completed"}})
        assert nothing.json()["data"] == {"total": 0, "succeeded": 0, "failed": 0, "results": [], "remaining": 0}
        refusal(other.post("/api/jobs/bulk", json={"action": "cancel", "filter": chosen}), 404, "tenant_not_found")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "action"),
        ({"action": "delete", "ids": ["a"]}, "action"),
        ({"action": "retry"}, ""),
        ({"action": "retry", "ids": ["a"], "filter": {}}, ""),
        ({"action": "retry", "ids": []}, "ids"),
        ({"action": "retry", "ids": ["a", "a"]}, "ids"),
        ({"action": "retry", "ids": [f"{n}" for n in range(501)]}, "ids"),
        ({"action": "retry", "filter": {"status": "done"}}, "filter.status"),
        ({"action": "retry", "filter": {"cursor": "x"}}, "filter.cursor"),
        ({"action": "retry", "filter": {"since": "never"}}, "filter.since"),
        ({"action": "retry", "filter": {"since": 0}}, "filter.since"),
    ],
)
def test_a_change_of_many_jobs_names_what_is_wrong_with_it(body: Any, named: str, owner: Api) -> None:
    assert named in fields(refusal(owner.post("/api/jobs/bulk", json=body), 400, "invalid_request"))


def test_since_is_the_first_moment_that_counts(some: dict[str, str], owner: Api) -> None:
    created = read_job(owner, some["cancelled export"])["created_at"]
    listed = {job["id"] for job in all_pages(owner, f"&since={created}")}
    assert some["cancelled export"] in listed
    assert some["export"] not in listed
    after = (datetime.fromisoformat(created) + timedelta(milliseconds=1)).isoformat(timespec="milliseconds")
    assert some["cancelled export"] not in {
        job["id"] for job in all_pages(owner, f"&since={after.replace('+00:00', 'Z')}")
    }
    today = {job["id"] for job in all_pages(owner, f"&since={created[:10]}")}
    assert some["export"] in today
    for long_ago in ("2000-01-01", "0001-01-01"):
        assert {job["id"] for job in all_pages(owner, f"&since={long_ago}")} >= today


def test_a_long_ago_is_answered_as_quickly_over_all_tenants(stack: RunningStack, some: dict[str, str]) -> None:
    with caller(stack, tenants=["*"]) as everywhere:
        response = everywhere.get("/api/jobs?since=0001-01-01T00:00:00Z&limit=100", timeout=10)
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("type=exports", "type", "invalid_request"),
        ("status=done", "status", "invalid_request"),
        ("since=yesterday", "since", "invalid_request"),
        ("since=2026-13-01", "since", "invalid_request"),
        ("since=", "since", "invalid_request"),
        ("since=9999-12-31T23:59:59-23:59", "since", "invalid_request"),
        ("since=0001-01-01T00:00:00%2B23:59", "since", "invalid_request"),
        ("since=10000-01-01T00:00:00Z", "since", "invalid_request"),
        ("since=999999999999999", "since", "invalid_request"),
        ("since=1e400", "since", "invalid_request"),
        ("since=nan", "since", "invalid_request"),
        ("cursor=%00", "cursor", "invalid_cursor"),
        (f"cursor={UNKNOWN_RUN.upper()}", "cursor", "invalid_cursor"),
        (f"cursor={UNKNOWN_RUN}%00", "cursor", "invalid_cursor"),
        (f"cursor=RUN%23{UNKNOWN_RUN}", "cursor", "invalid_cursor"),
        ("cursor=nonsense", "cursor", "invalid_cursor"),
        ("cursor=", "cursor", "invalid_cursor"),
        ("limit=0", "limit", "invalid_request"),
        ("limit=101", "limit", "invalid_request"),
        ("page=2", "page", "invalid_request"),
    ],
)
def test_a_bad_filter_is_refused_by_name(query: str, field: str, code: str, owner: Api) -> None:
    assert fields(refusal(owner.get(f"/api/jobs?{query}"), 400, code)) == [field]


def test_stats_add_up_to_the_jobs_that_there_are(some: dict[str, str], owner: Api) -> None:
    stats = owner.get("/api/jobs/stats?days=3").json()["data"]
    jobs = all_pages(owner, f"&since={stats['days'][0]['day']}")
    counts = Counter(job["status"] for job in jobs)
    assert stats["total"] == len(jobs)
    for status in ("completed", "failed", "cancelled"):
        assert stats[status] == counts[status] == sum(day[status] for day in stats["days"])
    assert sum(day["unfinished"] for day in stats["days"]) == counts["pending"] + counts["running"]
    assert stats["bytes"] == sum(day["bytes"] for day in stats["days"])
    sizes = sum(job["result"].get("size_bytes", 0) for job in jobs if job["result"])
    # An import's files are counted too, and its job does not tell their sizes.
    imported = any(job["type"] == "import" for job in jobs)
    assert stats["bytes"] > sizes if imported else stats["bytes"] == sizes
    assert stats["success_rate"] == round(counts["completed"] / (counts["completed"] + counts["failed"]), 4)
    assert stats["median_ms"] > 0
    today = datetime.now(UTC).date()
    assert [day["day"] for day in stats["days"]] == [(today - timedelta(days=n)).isoformat() for n in (2, 1, 0)]


@pytest.mark.parametrize(
    "query",
    ["", "&type=export", "&type=restore", "&status=completed", "&status=cancelled&type=export_backup",
     "&status=pending", "&project_id=initech", "&project_id=initech&status=completed"],
)  # fmt: skip
def test_a_list_tells_how_many_jobs_it_has_in_all(query: str, some: dict[str, str], owner: Api) -> None:
    assert owner.get(f"/api/jobs?limit=1{query}").json()["total"] == len(all_pages(owner, query))


def test_a_list_tells_no_total_where_no_count_fits(stack: RunningStack, some: dict[str, str], owner: Api) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert owner.get(f"/api/jobs?limit=1&since={yesterday}").json()["total"] is None
    with caller(stack, tenants=["*"]) as everywhere:
        assert everywhere.get("/api/jobs?status=running").json()["total"] == 0
        assert everywhere.get("/api/jobs?status=cancelled").json()["total"] >= 2
        every, own = (api.get("/api/jobs/stats?days=90").json()["data"] for api in (everywhere, owner))
        assert every["total"] >= own["total"]
        assert every["cancelled"] >= own["cancelled"]
    with caller(stack, tenants=[*TENANTS, *(f"t{n}" for n in range(30))]) as of_many:
        assert of_many.get("/api/jobs?limit=1").json()["total"] is None


def test_stats_are_of_thirty_days_and_of_one_tenant_when_named(owner: Api) -> None:
    assert len(owner.get("/api/jobs/stats").json()["data"]["days"]) == 30
    assert len(owner.get("/api/jobs/stats?days=90").json()["data"]["days"]) == 90
    parts = [owner.get(f"/api/jobs/stats?project_id={tenant}").json()["data"]["total"] for tenant in TENANTS]
    assert sum(parts) == owner.get("/api/jobs/stats").json()["data"]["total"]


def test_stats_of_nobodys_jobs_have_no_success_rate(stack: RunningStack) -> None:
    with caller(stack, tenants=[]) as nobody:
        stats = nobody.get("/api/jobs/stats?days=1").json()["data"]
        assert (stats["total"], stats["bytes"], stats["median_ms"], stats["success_rate"]) == (0, 0, None, None)


@pytest.mark.parametrize("days", ["0", "91", "x"])
def test_stats_of_too_many_days_are_refused(days: str, owner: Api) -> None:
    assert fields(refusal(owner.get(f"/api/jobs/stats?days={days}"), 400, "invalid_request")) == ["days"]


def test_a_timeline_tells_stages_attempts_proof_and_cost(some: dict[str, str], viewer: Api) -> None:
    job = read_job(viewer, some["backup"])
    timeline = viewer.get(f"/api/jobs/{some['backup']}/timeline").json()["data"]
    assert set(timeline) == {"stages", "attempts", "manifest", "cost_usd"}
    first, second, *_, last = timeline["stages"]
    assert first == {"stage": "created", "at": job["created_at"], "attempt": None}
    assert second == {"stage": "planning", "at": job["started_at"], "attempt": 1}
    assert last == {"stage": "completed", "at": job["completed_at"], "attempt": 1}
    [attempt] = timeline["attempts"]
    assert (attempt["n"], attempt["error"]) == (1, None)
    assert job["started_at"] <= attempt["started_at"] <= attempt["ended_at"] == job["completed_at"]
    assert timeline["manifest"]["sha256"] == job["result"]["sha256"]
    ran = datetime.fromisoformat(attempt["ended_at"]) - datetime.fromisoformat(attempt["started_at"])
    # Fargate's prices of an hour of one CPU and of a GB, for the template's size of the worker.
    assert timeline["cost_usd"] == pytest.approx(ran.total_seconds() * (0.04048 + 2 * 0.004445) / 3600, abs=1e-6)


def test_a_timeline_of_what_never_started_is_short(some: dict[str, str], viewer: Api) -> None:
    timeline = viewer.get(f"/api/jobs/{some['cancelled export']}/timeline").json()["data"]
    assert [stage["stage"] for stage in timeline["stages"]] == ["created", "cancelled"]
    assert (timeline["attempts"], timeline["manifest"], timeline["cost_usd"]) == ([], None, 0)


def test_a_run_that_never_started_says_why_it_ended_as_one_that_did(
    some: dict[str, str], admin: Api, database: psycopg.Connection
) -> None:
    with locked(database, "acme_x", "tasks"):
        running = start_export(admin, "acme_x", dataType="tasks")["id"]
        wait_until(lambda: read_job(admin, running)["status"] == "running")
        assert admin.post(f"/api/jobs/{running}/cancel").status_code == 202
        ended_job(admin, running, 5)
    for export_id in (running, some["cancelled export"]):
        record = read_export(admin, export_id, "acme_x")
        assert (record["status"], record["errorMessage"]) == ("cancelled", "The run was cancelled.")
        job = read_job(admin, export_id)
        assert (job["last_error"], job["progress"]["message"]) == (record["errorMessage"],) * 2
        progress = admin.get(f"/api/guilds/acme_x/exports/{export_id}/progress").json()
        assert progress["message"] == record["errorMessage"]


def test_what_has_ended_is_not_cancelled(some: dict[str, str], admin: Api) -> None:
    for name in ("export", "backup", "cancelled export", "cancelled backup"):
        before = read_job(admin, some[name])
        refusal(admin.post(f"/api/jobs/{some[name]}/cancel"), 409, "already_finished")
        assert read_job(admin, some[name]) == before


def test_only_failed_and_cancelled_jobs_are_retried(
    stack: RunningStack, some: dict[str, str], admin: Api, dynamodb: Any
) -> None:
    for name in ("export", "backup"):
        before = read_job(admin, some[name])
        refusal(admin.post(f"/api/jobs/{some[name]}/retry"), 409, "not_retryable")
        assert read_job(admin, some[name]) == before
    with database_full(stack, dynamodb):
        waiting = start_export(admin, "initech")["id"]
        refusal(admin.post(f"/api/jobs/{waiting}/retry"), 409, "not_retryable")


def test_a_cancelled_job_is_retried_to_its_end(stack: RunningStack, admin: Api, dynamodb: Any) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin, "initech")["id"]
        assert admin.post(f"/api/jobs/{export_id}/cancel").json()["data"]["status"] == "cancelled"
        response = admin.post(f"/api/jobs/{export_id}/retry")
        assert response.status_code == 202
        job = response.json()["data"]
        assert (job["id"], job["status"], job["completed_at"], job["last_error"]) == (export_id, "pending", None, None)
    assert ended_export(admin, export_id, "initech")["status"] == "completed"
    audited(stack, "initech", export_id, "export.cancelled", "export.retried", "export.completed")


def test_a_running_backup_is_cancelled_and_made_anew(
    stack: RunningStack, admin: Api, database: psycopg.Connection
) -> None:
    with locked(database, "acme_x", "users"):
        job_id = start_backup(admin, "acme_x")
        wait_until(lambda: read_job(admin, job_id)["status"] == "running")
        refusal(admin.post(f"/api/jobs/{job_id}/retry"), 409, "not_retryable")
        response = admin.post(f"/api/jobs/{job_id}/cancel")
        assert response.status_code == 202
        cancelled = ended_job(admin, job_id, 5)
        assert (cancelled["status"], cancelled["result"]) == ("cancelled", None)
    assert admin.post(f"/api/jobs/{job_id}/retry").status_code == 202
    again = ended_job(admin, job_id)
    assert (again["status"], again["attempts"]) == ("completed", 1)
    attempts = admin.get(f"/api/jobs/{job_id}/timeline").json()["data"]["attempts"]
    assert [attempt["n"] for attempt in attempts] == [1, 2]
    assert attempts[0]["error"]
    assert attempts[1]["error"] is None


def test_a_retried_run_takes_as_long_as_it_ran_since(
    stack: RunningStack, admin: Api, database: psycopg.Connection, dynamodb: Any
) -> None:
    with locked(database, "acme_x", "users"):
        job_id = start_backup(admin, "acme_x")
        wait_until(lambda: read_job(admin, job_id)["status"] == "running")
        assert admin.post(f"/api/jobs/{job_id}/cancel").status_code == 202
        ended_job(admin, job_id, 5)
    with database_full(stack, dynamodb):
        yesterday = "2026-01-01T00:00:00.000Z"
        change_run(stack, dynamodb, "acme_x", job_id, started_at=yesterday, completed_at=yesterday)
        assert admin.post(f"/api/jobs/{job_id}/retry").json()["data"]["started_at"] is None
        retried_at = datetime.now(UTC)
    job = ended_job(admin, job_id)
    assert job["status"] == "completed"
    ran = datetime.fromisoformat(job["completed_at"]) - datetime.fromisoformat(job["started_at"])
    assert datetime.fromisoformat(job["started_at"]) > retried_at
    assert admin.get(f"/api/backup/{job_id}").json()["data"]["duration_ms"] == round(ran.total_seconds() * 1000)


def test_a_retried_run_counts_in_the_stats_by_what_it_ran_since(
    stack: RunningStack, admin: Api, owner: Api, dynamodb: Any
) -> None:
    with database_full(stack, dynamodb):
        export_id = start_export(admin, "initech")["id"]
        assert admin.post(f"/api/jobs/{export_id}/cancel").status_code == 202
        change_run(stack, dynamodb, "initech", export_id, started_at="2026-01-01T00:00:00.000Z")
        assert admin.post(f"/api/jobs/{export_id}/retry").status_code == 202
    assert ended_export(admin, export_id, "initech")["status"] == "completed"
    jobs = all_pages(owner, f"&status=completed&since={datetime.now(UTC).date()}")
    assert export_id in [job["id"] for job in jobs]
    took = [datetime.fromisoformat(job["completed_at"]) - datetime.fromisoformat(job["started_at"]) for job in jobs]
    stats = owner.get("/api/jobs/stats?days=1").json()["data"]
    assert stats["median_ms"] == round(median(1000 * each.total_seconds() for each in took))
    assert max(took) < timedelta(hours=1)


def test_an_operator_retries_and_cancels_his_own_jobs_only(
    stack: RunningStack, operator: Api, admin: Api, dynamodb: Any, some: dict[str, str]
) -> None:
    for name in ("cancelled export", "cancelled backup"):
        before = read_job(admin, some[name])
        code = "role_too_low" if name == "cancelled backup" else "not_your_run"
        refusal(operator.post(f"/api/jobs/{some[name]}/retry"), 403, code)
        refusal(operator.post(f"/api/jobs/{some[name]}/cancel"), 403, "not_your_run")
        assert read_job(admin, some[name]) == before
    with database_full(stack, dynamodb):
        own = start_export(operator, "initech")["id"]
        assert operator.post(f"/api/jobs/{own}/cancel").status_code == 202
        assert operator.post(f"/api/jobs/{own}/retry").status_code == 202
        assert admin.post(f"/api/jobs/{own}/cancel").status_code == 202


def test_an_unknown_job_is_a_404(admin: Api) -> None:
    for method, path in (("GET", ""), ("GET", "/timeline"), ("POST", "/cancel"), ("POST", "/retry")):
        refusal(admin.request(method, f"/api/jobs/{UNKNOWN_RUN}{path}"), 404, "not_found")
