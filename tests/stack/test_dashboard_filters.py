"""The filters of the dashboards, in lists and exports: a referenced record's fields, the group, days from and to."""

import csv
import io
from typing import Any

import psycopg
import pytest
import requests

from stowage.basics.ids import decode_id
from tests.conftest import Api
from tests.stack.route_surface import completed_export, fields, refusal

pytestmark = pytest.mark.usefixtures("direct")

type Json = Any

TENANT = "acme2"

OF_POSTS = """
SELECT post.id FROM tenant_acme2.posts post LEFT JOIN tenant_acme2.accounts account ON account.id = post.account_id
WHERE post.deleted_at IS NULL AND
"""
OF_ACCOUNTS = "SELECT id FROM tenant_acme2.accounts account WHERE deleted_at IS NULL AND "

FILTERS: dict[str, tuple[str, Json, str]] = {
    "a field of the account": ("posts", {"platform": "tiktok"}, "account.platform = 'tiktok'"),
    "several values of it": (
        "posts", {"platform": "tiktok,youtube", "brandId": "brd_0001"},
        "account.platform IN ('tiktok', 'youtube') AND account.brand_id = 'brd_0001'",
    ),
    "the group of the account": ("posts", {"accountGroupId": "grp_0003"}, "account.group_id = 'grp_0003'"),
    "a group of accounts": ("accounts", {"accountGroupId": "grp_0003"}, "account.group_id = 'grp_0003'"),
    "from a day": ("accounts", {"startDate": "2025-12-01"}, "account.created_at >= '2025-12-01Z'"),
    "to a day, which counts": (
        "accounts", {"startDate": "2025-11-01", "endDate": "2025-12-20"},
        "account.created_at >= '2025-11-01Z' AND account.created_at < '2025-12-21Z'",
    ),
    "to a moment": (
        "posts", {"endDate": "2025-12-15T12:00:00Z"}, "post.created_at <= '2025-12-15 12:00Z'",
    ),
    "all of them": (
        "posts",
        {"accountGroupId": "grp_0003", "platform": "youtube", "startDate": "2024-01-01", "endDate": "2026-12-31"},
        "account.group_id = 'grp_0003' AND account.platform = 'youtube'"
        " AND post.created_at >= '2024-01-01Z' AND post.created_at < '2027-01-01Z'",
    ),
}  # fmt: skip

WRONG: dict[str, tuple[str, Json]] = {
    "a field that the account has, and no filter of posts is": ("posts", {"username": "x"}),
    "a group where there are no accounts": ("tasks", {"accountGroupId": "grp_0003"}),
    "a field of what accounts do not refer to": ("accounts", {"accountId": "acc_1"}),
    "a day that is none": ("accounts", {"startDate": "2026-02-30"}),
    "a word": ("posts", {"endDate": "tomorrow"}),
    "a day without dashes": ("posts", {"endDate": "20260131"}),
    "a week": ("accounts", {"startDate": "2026-W05"}),
    "the last day that there is": ("accounts", {"endDate": "9999-12-31"}),
    "a NUL in a group": ("accounts", {"accountGroupId": "a\0"}),
}


def listed(api: Api, entity: str, query: Json) -> set[str]:
    """The ids of every page."""
    ids: set[str] = set()
    page, pages = 1, 1
    while page <= pages:
        answer = api.get(
            f"/api/v1/{entity}", params=query | {"limit": 100, "page": page}, headers={"X-Tenant-Id": TENANT}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        ids |= {decode_id(record["id"]) for record in body["data"]}
        page, pages = page + 1, body["pagination"]["total_pages"]
    return ids


def exported(api: Api, entity: str, filters: Json) -> set[str]:
    record = completed_export(api, TENANT, dataType=entity, filters=filters)
    text = requests.get(record["downloadUrl"], timeout=20).content.decode()
    return {row["id"] for row in csv.DictReader(io.StringIO(text, newline=""))}


@pytest.mark.parametrize(("entity", "filters", "condition"), FILTERS.values(), ids=FILTERS)
def test_a_list_and_an_export_hold_what_the_filters_say(
    entity: str, filters: Json, condition: str, operator: Api, database: psycopg.Connection
) -> None:
    statement = (OF_POSTS if entity == "posts" else OF_ACCOUNTS) + condition
    wanted = {record_id for (record_id,) in database.execute(statement.encode()).fetchall()}
    everything = {"posts": OF_POSTS, "accounts": OF_ACCOUNTS}[entity] + "true"
    assert 0 < len(wanted) < len(database.execute(everything.encode()).fetchall()), "the filter tells some apart"
    assert listed(operator, entity, filters) == wanted
    assert exported(operator, entity, filters) == wanted


@pytest.mark.parametrize(("entity", "filters"), WRONG.values(), ids=WRONG)
def test_a_filter_that_cannot_be_meant_is_refused_by_name(entity: str, filters: Json, operator: Api) -> None:
    [name] = filters
    query = operator.get(f"/api/v1/{entity}", params=filters, headers={"X-Tenant-Id": TENANT})
    assert fields(refusal(query, 400, "invalid_query")) == [name]
    body = {"format": "csv", "mode": "current_view", "dataType": entity, "filters": filters}
    for route in ("exports", "exports/estimate"):
        refused = refusal(operator.post(f"/api/guilds/{TENANT}/{route}", json=body), 400, "invalid_filter")
        assert fields(refused) == [f"filters.{name}"]
