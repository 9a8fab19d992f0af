"""GET /api/v1/{entity}: pages, order, filters, and what a query may not say."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import RunningStack
from tests.stack.record_surface import RecordApi, complaints, data, record_api, refused

pytestmark = pytest.mark.usefixtures("direct")


@pytest.fixture(scope="module")
def records(stack: RunningStack) -> Iterator[RecordApi]:
    made = record_api(stack)
    yield made
    made.close()


@pytest.fixture(scope="module")
def brand(records: RecordApi) -> str:
    """A brand of 25 accounts, username 00 to 24, followers 0 to 4 five times over."""
    brand = records.brand()
    items = [
        {"username": f"{n:02}-{brand}", "platform": "x" if n % 2 else "y", "brandId": brand, "followers": n % 5}
        for n in range(25)
    ]
    items[7]["displayName"] = "100% Pine, Oak & Co_"
    data(records.operator.post("/api/v1/import/accounts", json={"items": items}), 201)
    return brand


def listed(records: RecordApi, **query: Any) -> tuple[list[str], dict[str, int]]:
    response = records.operator.get("/api/v1/accounts", params=query)
    assert response.status_code == 200, response.text
    body = response.json()
    return [record["username"][:2] for record in body["data"]], body["pagination"]


def test_pages_hold_every_record_once_in_a_total_order(records: RecordApi, brand: str) -> None:
    seen: list[str] = []
    for page in range(1, 5):
        usernames, pagination = listed(records, brandId=brand, sort="followers", limit=7, page=page)
        assert pagination == {"page": page, "limit": 7, "total": 25, "total_pages": 4}
        seen += usernames
    assert sorted(seen) == [f"{n:02}" for n in range(25)]
    assert [int(username) % 5 for username in seen] == sorted(n % 5 for n in range(25))
    assert listed(records, brandId=brand, limit=7, page=5)[0] == []


def test_several_fields_sort_each_in_its_direction(records: RecordApi, brand: str) -> None:
    usernames, _ = listed(records, brandId=brand, sort="-followers,username", limit=100)
    assert usernames == [f"{n:02}" for n in sorted(range(25), key=lambda n: (-(n % 5), n))]
    usernames, _ = listed(records, brandId=brand, sort="platform, -username", limit=100)
    assert usernames == [f"{n:02}" for n in sorted(range(25), key=lambda n: (n % 2 == 0, -n))]


def test_the_newest_come_first_where_nothing_is_said(records: RecordApi, brand: str) -> None:
    newest = records.account(brand, username=f"99-{brand}")
    usernames, _ = listed(records, brandId=brand)
    assert usernames[0] == "99"
    assert len(usernames) == 20
    data(records.operator.delete(f"/api/v1/accounts/{newest['id']}"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"platform": "x"}, 12),
        ({"platform": "x,y"}, 25),
        ({"followers": "3"}, 5),
        ({"followers": "3,4"}, 10),
        ({"followers": "9" * 30}, 0),
        ({"search": "100% pine"}, 1),
        ({"search": "co_"}, 1),
        ({"search": "1__"}, 0),
        ({"displayName": "100% Pine, Oak & Co_"}, 1),
        ({"createdBefore": "2020-01-01"}, 0),
        ({"createdAfter": "2020-01-01T00:00:00+02:00"}, 25),
        ({"ids": "nothing"}, 0),
        ({"platform": "' OR true --"}, 0),
        ({"platform": "%s"}, 0),
        ({"platform": ""}, 25),
    ],
)
def test_filters_are_read_as_the_type_of_their_field(
    records: RecordApi, brand: str, query: dict[str, str], expected: int
) -> None:
    _, pagination = listed(records, brandId=brand, **query)
    assert pagination["total"] == expected


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"page": "0"}, ["page"]),
        ({"page": "1e3"}, ["page"]),
        ({"page": "²"}, ["page"]),
        ({"page": "1_0"}, ["page"]),
        ({"page": "1000001"}, ["page"]),
        ({"limit": "101"}, ["limit"]),
        ({"limit": "-1"}, ["limit"]),
        ({"sort": "password"}, ["sort"]),
        ({"sort": "username,-username"}, ["sort"]),
        ({"sort": "created_at; DROP TABLE accounts"}, ["sort"]),
        ({"sort": "deletedAt"}, ["sort"]),
        ({"usrename": "x"}, ["usrename"]),
        ({"deletedAt": "2026-01-01"}, ["deletedAt"]),
        ({"followers": "many"}, ["followers"]),
        ({"followers": "1_000"}, ["followers"]),
        ({"followers": "٣"}, ["followers"]),
        ({"followers": "1.0"}, ["followers"]),
        ({"createdAfter": "yesterday"}, ["createdAfter"]),
        ({"createdAfter": "9999-12-31T23:59:59-23:59"}, ["createdAfter"]),
        ({"createdBefore": "0001-01-01T00:00:00+23:59"}, ["createdBefore"]),
        ({"search": "a\0b"}, ["search"]),
        ({"page": "x", "limit": "y", "sort": "z", "q": "w"}, ["page", "limit", "sort", "q"]),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(records: RecordApi, query: dict[str, str], fields: list[str]) -> None:
    refusal = refused(records.operator.get("/api/v1/accounts", params=query), 400, "invalid_query")
    assert list(complaints(refusal)) == fields


def test_a_choice_is_filtered_by_its_values_only(records: RecordApi) -> None:
    records.make("tasks", title=str(uuid4()), status="in_progress")
    found = data(records.operator.get("/api/v1/tasks", params={"status": "in_progress,completed", "limit": 100}))
    assert {task["status"] for task in found} <= {"in_progress", "completed"}
    refused(records.operator.get("/api/v1/tasks", params={"status": "done"}), 400, "invalid_query")


def test_viewers_read_lists_and_records(records: RecordApi) -> None:
    made = records.make("users", name="Rae", email="rae@example.com")
    viewer = records.caller("viewer")
    assert data(viewer.get(f"/api/v1/users/{made['id']}")) == made
    assert made in data(viewer.get("/api/v1/users", params={"limit": 100}))
