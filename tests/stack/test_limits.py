"""Limits, on a stack deployed with low ones: so many exports a day, so many backups a minute, told before and after."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import requests

from tests.conftest import Api, LocalStack, RunningStack, make_home
from tests.stack.route_surface import caller, export_body, fields, refusal

TENANT = "initech"
EXPORTS = f"/api/guilds/{TENANT}/exports"
BACKUPS = "/api/backup/export"


@pytest.fixture(scope="module")
def limited() -> Iterator[RunningStack]:
    """A stack with two exports and one GDPR export a day, and three backups a minute."""
    home = make_home()
    started = LocalStack(
        home,
        STOWAGE_PARAMETER_ExportsPerDay="2",
        STOWAGE_PARAMETER_GdprExportsPerDay="1",
        STOWAGE_PARAMETER_BackupsPerMinute="3",
    )
    try:
        yield started.start()
    finally:
        started.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def somebody(stack: RunningStack, role: str = "operator") -> Iterator[Api]:
    with caller(stack, role=role, tenants=[TENANT, "acme2"]) as api:
        yield api


def limit_headers(response: requests.Response) -> tuple[int, int, int]:
    limit, remaining, reset = (int(response.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))
    return limit, remaining, reset


def test_a_days_exports_are_counted_down_and_then_refused(limited: RunningStack) -> None:
    with somebody(limited) as api:
        for left in (1, 0):
            response = api.post(EXPORTS, json=export_body())
            assert response.status_code == 202
            assert response.json()["quota"]["standard"]["remaining"] == left
            limit, remaining, reset = limit_headers(response)
            assert (limit, remaining) == (2, left)
            assert 0 < reset <= 86_400
        refused = api.post(EXPORTS, json=export_body())
        body = refusal(refused, 429, "rate_limited")
        limit, remaining, reset = limit_headers(refused)
        assert (limit, remaining) == (2, 0)
        assert abs(int(refused.headers["retry-after"]) - reset) <= 1
        listed = api.get(EXPORTS).json()
        assert listed["quota"]["standard"]["remaining"] == 0
        assert listed["quota"]["standard"]["resetAt"] in body["error"]
        assert "2" in body["error"]


def test_a_refused_export_leaves_nothing(limited: RunningStack) -> None:
    with somebody(limited) as api:
        for _ in range(2):
            assert api.post(EXPORTS, json=export_body()).status_code == 202
        before = api.get(EXPORTS).json()["pagination"]["total"]
        headers = {"idempotency-key": str(uuid4())}
        for _ in range(2):
            refusal(api.post(EXPORTS, json=export_body(), headers=headers), 429, "rate_limited")
        assert api.get(EXPORTS).json()["pagination"]["total"] == before


def test_a_bad_request_costs_nothing(limited: RunningStack) -> None:
    with somebody(limited) as api:
        for _ in range(3):
            assert fields(refusal(api.post(EXPORTS, json=export_body(format="doc")), 400, "invalid_request")) == [
                "format"
            ]
            refusal(api.post(EXPORTS, json=export_body(filters={"no": 1})), 400, "invalid_filter")
        assert api.get(EXPORTS).json()["quota"]["standard"]["remaining"] == 2


def test_every_answer_of_a_limited_export_tells_the_limit(limited: RunningStack) -> None:
    with somebody(limited) as api:
        key = {"idempotency-key": str(uuid4())}
        assert limit_headers(api.post(EXPORTS, json=export_body(), headers=key))[:2] == (2, 1)
        for response, status in (
            (api.post(EXPORTS, json=export_body(), headers=key), 202),
            (api.post(EXPORTS, json=export_body(format="json"), headers=key), 409),
            (api.post(EXPORTS, json=export_body(format="doc")), 400),
            (api.post(EXPORTS, json=export_body(dataType="x")), 400),
            (api.post(EXPORTS, json=export_body(filters={"no": 1})), 400),
            (api.post(EXPORTS + "?page=1", json=export_body()), 400),
            (api.post(EXPORTS, json=export_body(), headers={"idempotency-key": "k" * 256}), 400),
            (api.post(EXPORTS, json=export_body(dataType="audit")), 403),
            (api.post(EXPORTS, json=export_body(filters={"search": "a" * 300_000})), 413),
            (api.post(EXPORTS, data="{}", headers={"content-type": "text/plain"}), 415),
        ):
            assert (response.status_code, *limit_headers(response)[:2]) == (status, 2, 1)
        forbidden = api.post(EXPORTS, json=export_body(dataType="gdpr"))
        assert (forbidden.status_code, *limit_headers(forbidden)[:2]) == (403, 1, 1)
    with somebody(limited, role="viewer") as viewer:
        response = viewer.post(EXPORTS, json=export_body())
        assert (response.status_code, *limit_headers(response)[:2]) == (403, 2, 2)


def test_gdpr_exports_have_a_quota_of_their_own(limited: RunningStack) -> None:
    with somebody(limited, role="admin") as api:
        first = api.post(EXPORTS, json=export_body(dataType="gdpr"))
        assert first.status_code == 202
        quota = first.json()["quota"]
        assert (quota["gdpr"]["limit"], quota["gdpr"]["remaining"]) == (1, 0)
        assert quota["standard"]["remaining"] == 2
        assert limit_headers(first)[:2] == (1, 0)
        refusal(api.post(EXPORTS, json=export_body(dataType="gdpr")), 429, "rate_limited")
        assert api.post(EXPORTS, json=export_body()).status_code == 202


def test_a_quota_is_one_users_for_one_tenant(limited: RunningStack) -> None:
    with somebody(limited) as one, somebody(limited) as two:
        for _ in range(2):
            assert one.post(EXPORTS, json=export_body()).status_code == 202
        refusal(one.post(EXPORTS, json=export_body()), 429, "rate_limited")
        assert one.post("/api/guilds/acme2/exports", json=export_body()).status_code == 202
        assert two.post(EXPORTS, json=export_body()).status_code == 202


def test_both_mounts_share_the_quota(limited: RunningStack) -> None:
    with somebody(limited) as api:
        assert api.post(EXPORTS, json=export_body()).status_code == 202
        assert (
            api.post(EXPORTS.replace("/api/", "/api/v1/"), json=export_body()).json()["quota"]["standard"]["remaining"]
            == 0
        )
        refusal(api.post(EXPORTS, json=export_body()), 429, "rate_limited")


def test_a_repeated_export_is_answered_when_the_quota_is_used_up(limited: RunningStack) -> None:
    with somebody(limited) as api:
        headers = {"idempotency-key": str(uuid4())}
        first = api.post(EXPORTS, json=export_body(), headers=headers)
        assert api.post(EXPORTS, json=export_body()).status_code == 202
        refusal(api.post(EXPORTS, json=export_body()), 429, "rate_limited")
        again = api.post(EXPORTS, json=export_body(), headers=headers)
        assert (again.status_code, again.json()) == (202, first.json())


def start_of_a_minute() -> None:
    """Wait until the minute has some seconds left, so that the test does not cross its end."""
    if (left := 60 - time.time() % 60) < 8:
        time.sleep(left)


def test_backups_are_limited_by_the_minute_for_a_tenant_and_an_address(limited: RunningStack) -> None:
    start_of_a_minute()
    key = {"idempotency-key": str(uuid4())}
    with (
        caller(limited, tenants=[TENANT]) as one,
        caller(limited, tenants=["acme2"]) as two,
        caller(limited, tenants=[TENANT], role="operator") as operator,
    ):
        first = one.post(BACKUPS, json={}, headers=key)
        assert (first.status_code, *limit_headers(first)[:2]) == (202, 3, 2)
        # What starts no backup costs nothing, and tells the limit all the same.
        for response, status in (
            (one.post(BACKUPS, json={}, headers=key), 202),
            (one.post(BACKUPS, json={"format": "tar"}, headers=key), 409),
            (one.post(BACKUPS, json={"format": "zip"}), 400),
            (one.post(BACKUPS, json={"notify_email": "ops@example.com"}), 400),
            (one.post(BACKUPS, json={"project_id": "globex"}), 404),
            (operator.post(BACKUPS, json={}), 403),
        ):
            assert (response.status_code, *limit_headers(response)[:2]) == (status, 3, 2)
        for left in (1, 0):
            response = one.post(BACKUPS, json={}, headers={"x-forwarded-for": f"10.0.0.{left}"})
            assert response.status_code == 202
            limit, remaining, reset = limit_headers(response)
            assert (limit, remaining) == (3, left)
            assert 0 < reset <= 60
        before = one.get("/api/backup").json()["total"]
        refused = one.post(BACKUPS, json={}, headers={"x-forwarded-for": "10.9.9.9"})
        refusal(refused, 429, "rate_limited")
        assert limit_headers(refused)[:2] == (3, 0)
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert one.get("/api/backup").json()["total"] == before
        # The same request again is answered as it was.
        again = one.post(BACKUPS, json={}, headers=key)
        assert (again.status_code, again.json(), *limit_headers(again)[:2]) == (202, first.json(), 3, 0)
        # Another tenant from the same address is limited as well.
        refusal(two.post(BACKUPS, json={}), 429, "rate_limited")
        # Reading, estimating and exporting are not.
        assert one.get("/api/backup").status_code == 200
        assert one.post("/api/backup/estimate", json={}).status_code == 200
        assert one.post(EXPORTS, json=export_body()).status_code == 202


def test_a_viewer_sees_the_limits_too(limited: RunningStack) -> None:
    with caller(limited, role="viewer", tenants=[TENANT]) as viewer:
        quota = viewer.get(EXPORTS).json()["quota"]
        assert (quota["standard"]["limit"], quota["gdpr"]["limit"]) == (2, 1)
