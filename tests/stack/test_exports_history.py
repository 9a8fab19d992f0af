"""An export history in pages, and estimates that start nothing."""

import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from stowage.basics.paging import paginate
from tests.conftest import Api, RunningStack
from tests.stack.route_surface import caller, completed_export, export_body, fields, refusal, start_export

TENANT = "zoo"
HISTORY = f"/api/guilds/{TENANT}/exports"


def test_a_history_is_in_pages_newest_first(admin: Api) -> None:
    made = [start_export(admin, TENANT, dataType="brands")["id"] for _ in range(5)]
    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["pagination"]["page"] < pages[-1]["pagination"]["total_pages"]:
        response = admin.get(f"{HISTORY}?page={len(pages) + 1}&limit=2")
        assert response.status_code == 200
        pages.append(response.json())
        assert len(pages) < 200
    listed = [record["id"] for page in pages for record in page["exports"]]
    assert listed[:5] == made[::-1]
    assert listed == sorted(set(listed), reverse=True)
    total = len(listed)
    for number, page in enumerate(pages, 1):
        assert page["pagination"] == {"page": number, "limit": 2, "total": total, "total_pages": -(-total // 2)}
    times = [record["createdAt"] for page in pages for record in page["exports"]]
    assert times == sorted(times, reverse=True)
    beyond = admin.get(f"{HISTORY}?page={len(pages) + 1}&limit=2").json()
    assert (beyond["exports"], beyond["pagination"]["total"]) == ([], total)
    assert admin.get(f"{HISTORY}?limit=100").json()["exports"][0]["id"] == made[-1]


def test_a_listed_record_is_the_record_itself(admin: Api) -> None:
    record = completed_export(admin, TENANT, dataType="brands")
    [listed] = [entry for entry in admin.get(f"{HISTORY}?limit=5").json()["exports"] if entry["id"] == record["id"]]
    assert listed == record


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2), (40, 2)])
def test_pages_are_counted_up(total: int, pages: int) -> None:
    assert paginate(1, 20, total).total_pages == pages


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"), ("page=-1", "page"), ("page=x", "page"), ("page=", "page"), ("page=1.5", "page"),
        (f"page={10**30}", "page"), ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"),
        ("offset=1", "offset"), ("status=failed", "status"),
    ],
)  # fmt: skip
def test_a_page_out_of_bounds_is_refused(query: str, field: str, admin: Api) -> None:
    assert fields(refusal(admin.get(f"{HISTORY}?{query}"), 400, "invalid_request")) == [field]


def test_a_history_is_its_tenants_only(admin: Api) -> None:
    ours = start_export(admin, TENANT, dataType="brands")["id"]
    for tenant in ("acme", "acme2", "acme_x", "globex", "initech"):
        listed = admin.get(f"/api/guilds/{tenant}/exports?limit=100").json()["exports"]
        assert ours not in [record["id"] for record in listed]


def test_quotas_are_the_callers_own(stack: RunningStack) -> None:
    with caller(stack, tenants=[TENANT], role="operator") as one, caller(stack, tenants=[TENANT]) as two:
        before = one.get(HISTORY).json()["quota"]
        assert before["standard"]["remaining"] == before["standard"]["limit"]
        midnight = datetime.fromisoformat(before["standard"]["resetAt"])
        assert 0 < (midnight - datetime.now(UTC)).total_seconds() <= 86_400
        assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
        start_export(one, TENANT, dataType="brands")
        after = one.get(HISTORY).json()["quota"]
        assert after["standard"]["remaining"] == before["standard"]["remaining"] - 1
        assert after["gdpr"] == before["gdpr"]
        assert two.get(HISTORY).json()["quota"] == before


def test_an_estimate_is_near_and_starts_nothing(admin: Api, database: psycopg.Connection) -> None:
    before = admin.get("/api/guilds/acme/exports?limit=1").json()
    response = admin.post("/api/guilds/acme/exports/estimate", json=export_body(dataType="posts"))
    assert response.status_code == 200
    estimate = response.json()
    assert set(estimate) == {"rows", "bytes", "lane", "seconds"}
    [rows] = database.execute("SELECT count(*) FROM tenant_acme.posts WHERE deleted_at IS NULL").fetchone() or (0,)
    assert 0.8 * rows < estimate["rows"] < 1.2 * rows
    assert estimate["lane"] == "inline"
    assert estimate["seconds"] > 0
    assert admin.get("/api/guilds/acme/exports?limit=1").json() == before


def test_an_estimate_foresees_the_file(admin: Api) -> None:
    estimate = admin.post("/api/guilds/globex/exports/estimate", json=export_body(dataType="posts")).json()
    record = completed_export(admin, "globex", dataType="posts")
    size = admin.get(f"/api/jobs/{record['id']}").json()["data"]["result"]["size_bytes"]
    assert 0.4 * size < estimate["bytes"] < 2.5 * size
    assert 0.8 * record["recordCount"] <= estimate["rows"] <= 1.2 * record["recordCount"]


def test_an_estimate_follows_the_filters_and_the_format(admin: Api) -> None:
    def estimate(**given: Any) -> dict[str, Any]:
        response = admin.post("/api/v1/guilds/acme/exports/estimate", json=export_body(**given))
        assert response.status_code == 200, response.text
        return dict(response.json())

    whole = estimate(dataType="posts")
    part = estimate(dataType="posts", filters={"createdAfter": "2100-01-01"})
    assert part["rows"] < whole["rows"] / 10
    assert estimate(dataType="brands", format="parquet")["lane"] == "worker"
    assert estimate(dataType="gdpr")["rows"] > whole["rows"]
    assert estimate(dataType="audit")["rows"] >= 0


def test_an_estimate_costs_no_quota(stack: RunningStack) -> None:
    with caller(stack, role="operator") as one:
        assert one.post("/api/guilds/acme2/exports/estimate", json=export_body()).status_code == 200
        quota = one.get("/api/guilds/acme2/exports").json()["quota"]["standard"]
        assert quota["remaining"] == quota["limit"]


def test_a_new_export_is_in_the_history_at_once(admin: Api) -> None:
    for _ in range(5):
        made = start_export(admin, TENANT, dataType="brands")["id"]
        assert admin.get(f"{HISTORY}?limit=1").json()["exports"][0]["id"] == made
        assert admin.get(f"/api/jobs?project_id={TENANT}&limit=1").json()["data"][0]["id"] == made
        time.sleep(0.002)
