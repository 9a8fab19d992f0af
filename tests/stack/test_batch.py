"""POST /api/v1/batch: many requests of record routes in one, each answered for itself."""

from typing import Any
from unittest import mock

import pytest

from stowage import batch
from tests.conftest import Api
from tests.stack.office import Office
from tests.stack.route_surface import refusal

type Json = Any

pytestmark = pytest.mark.usefixtures("direct")


def part(name: str, method: str, path: str, body: Json = None, after: Json = None) -> Json:
    given = {"id": name, "method": method, "path": path, "body": body, "dependsOn": after}
    return {key: value for key, value in given.items() if value is not None}


def answers(caller: Api, *parts: Json, **headers: str) -> dict[str, Json]:
    """The parts' answers by their names, which stand in the order of the request."""
    response = caller.post("/api/v1/batch", json={"requests": parts}, headers=headers)
    assert response.status_code == 200, response.text
    told = response.json()["responses"]
    assert [each["id"] for each in told] == [each["id"] for each in parts]
    return {each["id"]: each for each in told}


def statuses(told: dict[str, Json]) -> dict[str, int]:
    return {name: each["status"] for name, each in told.items()}


@pytest.fixture
def operator(office: Office) -> Api:
    return office.caller("operator")


def test_every_route_of_records_answers_with_its_bare_data(operator: Api, office: Office) -> None:
    told = answers(
        operator,
        part("made", "POST", "/users", {"id": "ada", "name": "Ada", "email": "ada@x.example"}),
        part("many", "POST", "/api/v1/import/tasks", {"items": [{"id": f"t{n}", "title": str(n)} for n in (1, 2)]}),
        part("read", "GET", "/tasks/t1"),
        part("listed", "GET", "/api/v1/tasks?sort=-title&status=todo&ids=t1,t2"),
        part("changed", "PATCH", "tasks/t1", {"title": "changed", "assignee": "ada"}),
        part("bulk", "PATCH", "/bulk/tasks", {"updates": [{"id": "t2", "title": "too"}, {"id": "none", "title": "x"}]}),
        part("gone", "DELETE", "/tasks/t1"),
        part("all", "POST", "/bulk/tasks/delete", {"ids": ["t1", "t2"]}),
    )  # fmt: skip
    assert statuses(told) == {
        "made": 201, "many": 201, "read": 200, "listed": 200, "changed": 200, "bulk": 207, "gone": 200, "all": 207,
    }  # fmt: skip
    body = {name: each["body"] for name, each in told.items()}
    assert (body["made"]["id"], body["read"]["title"], body["gone"]) == ("ada", "1", {"id": "t1"})
    assert [each["title"] for each in body["listed"]] == ["2", "1"]
    assert (body["changed"]["title"], body["changed"]["assignee"]) == ("changed", "ada")
    assert (body["many"]["created"], body["bulk"]["updated"], body["all"]["deleted"]) == (2, 1, 1)
    assert office.live("tasks") == set()
    assert len({each["operationId"] for each in body.values() if "operationId" in each}) == 3


def test_a_part_takes_what_another_made_and_waits_for_it_wherever_it_stands(operator: Api) -> None:
    account = {"id": "a/b?c", "username": "u", "platform": "x", "brandId": "$brand.id"}
    caption = "$account.id costs $5.id"
    told = answers(
        operator,
        part("post", "POST", "/posts", {"accountId": "$account.id", "url": "u", "caption": caption}, ["account"]),
        part("account", "POST", "/accounts", account, "brand"),
        part("brand", "POST", "/brands", {"label": "$stranger.id"}),
        part("seen", "GET", "/accounts/$account.id", after=["account"]),
        part("renamed", "PATCH", "/accounts/$account.id", {"displayName": "$brand.label"}, ["account", "brand"]),
    )  # fmt: skip
    assert statuses(told) == {"post": 201, "account": 201, "brand": 201, "seen": 200, "renamed": 200}
    assert told["brand"]["body"]["label"] == "$stranger.id"
    assert told["seen"]["body"]["id"] == told["post"]["body"]["accountId"] == told["account"]["body"]["id"]
    assert told["post"]["body"]["caption"] == caption
    assert told["renamed"]["body"]["displayName"] == "$stranger.id"


def test_a_failing_part_fails_those_that_depend_on_it_and_nobody_else(operator: Api, office: Office) -> None:
    told = answers(
        operator,
        part("bad", "POST", "/tasks", {"title": "x", "status": "later"}),
        part("next", "PATCH", "/tasks/$bad.id", {"title": "y"}, ["bad"]),
        part("last", "GET", "/tasks", after=["next"]),
        part("good", "POST", "/tasks", {"id": "good", "title": "good"}),
        part("lacking", "POST", "/tasks", {"title": "$good.nothing"}, ["good"]),
        part("list", "GET", "/tasks/$good.title.more", after=["good"]),
    )
    assert statuses(told) == {"bad": 400, "next": 424, "last": 424, "good": 201, "lacking": 400, "list": 404}
    assert told["bad"]["body"]["details"][0]["field"] == "status"
    assert told["next"]["body"]["code"] == "failed_dependency"
    assert told["next"]["body"]["message"] == told["next"]["body"]["error"] == "Not run: bad did not go well."
    assert "The answer of good has no nothing" in told["lacking"]["body"]["error"]
    assert office.live("tasks") == {"good"}


OTHER_ROUTES = (
    *(("GET", f"/{path}") for path in ("batch", "tasks/t/history", "me", "audit", "", "tasks/", "../tasks")),
    *(("POST", f"/{path}") for path in ("batch", "graphql", "api-keys", "import/tasks/file", "bulk/tasks", "session")),
    *(("PATCH", path) for path in ("/tasks", "/bulk/tasks/delete", "https://x.example/api/v1/tasks/t")),
    ("DELETE", "/bulk/tasks"),
)  # fmt: skip


def test_nothing_but_records_is_reached(operator: Api, office: Office) -> None:
    office.caller("admin")
    for start in (0, len(OTHER_ROUTES) // 2):
        parts = [
            part(f"p{n}", method, path, {} if method in ("POST", "PATCH") else None)
            for n, (method, path) in enumerate(OTHER_ROUTES[start : start + len(OTHER_ROUTES) // 2 + 1])
        ]
        told = answers(operator, *parts)
        assert {(each["status"], each["body"]["success"]) for each in told.values()} == {(404, False)}, told


def test_a_part_is_refused_as_its_route_would_refuse_it(operator: Api, office: Office) -> None:
    told = answers(
        operator,
        part("body", "GET", "/tasks", {}),
        part("nobody", "POST", "/tasks"),
        part("query", "POST", "/tasks?x=1", {"title": "x"}),
        part("filter", "GET", "/tasks?nothing=1"),
        part("one", "GET", "/tasks/t?fields=id"),
        part("raw", "DELETE", "/tasks/a%3Fb"),
        part("field", "POST", "/tasks", {"title": "x", "createdAt": "now"}),
        part("ids", "POST", "/bulk/tasks/delete", {"ids": []}),
        part("items", "POST", "/import/tasks", {"items": [{"title": "x"}, {"status": 1}]}),
    )
    codes = {name: (each["status"], each["body"]["code"]) for name, each in told.items()}
    assert codes == dict.fromkeys(("body", "nobody", "field", "ids"), (400, "invalid_request")) | {
        "query": (400, "invalid_query"), "filter": (400, "invalid_query"), "one": (400, "invalid_request"),
        "raw": (400, "encode_id"), "items": (400, "invalid_items"),
    }  # fmt: skip
    assert office.live("tasks") == set()


def test_a_viewers_changes_and_anothers_records_are_refused_part_by_part(
    office: Office, operator: Api, other: Api
) -> None:
    operator.post("/api/v1/tasks", json={"id": "t", "title": "x"})
    told = answers(office.caller("viewer"), part("read", "GET", "/tasks/t"), part("gone", "DELETE", "/tasks/t"))
    assert statuses(told) == {"read": 200, "gone": 403}
    assert told["gone"]["body"]["code"] == "role_too_low"
    refusal(other.post("/api/v1/batch", json={"requests": [part("a", "GET", "/tasks/t")]},
                       headers={"x-tenant-id": office.id}), 404, "tenant_not_found")  # fmt: skip
    assert office.live("tasks") == {"t"}


BAD: dict[str, Json] = {
    "none": [],
    "too many": [part(f"p{n}", "GET", "/tasks") for n in range(21)],
    "twice": [part("a", "GET", "/tasks"), part("a", "GET", "/users")],
    "stranger": [part("a", "GET", "/tasks", after=["b"])],
    "itself": [part("a", "GET", "/tasks", after=["a"])],
    "circle": [part("a", "GET", "/tasks", after=["b"]), part("b", "GET", "/tasks", after=["a"])],
    "method": [part("a", "PUT", "/tasks")],
    "name": [part("a b", "GET", "/tasks")],
    "body": [part("a", "POST", "/tasks", [])],
    "header": [part("a", "GET", "/tasks") | {"headers": {}}],
    "path": [{"id": "a", "method": "GET"}],
}


@pytest.mark.parametrize("requests", BAD.values(), ids=BAD)
def test_what_is_no_batch_is_refused_whole(operator: Api, office: Office, requests: Json) -> None:
    first = part("made", "POST", "/tasks", {"title": "x"})
    refused = operator.post("/api/v1/batch", json={"requests": [first, *requests] if requests else []})
    refusal(refused, 400, "invalid_request")
    assert office.live("tasks") == set()


def test_the_same_key_makes_nothing_twice(operator: Api, office: Office) -> None:
    parts = [part("a", "POST", "/tasks", {"title": "x"}), part("b", "POST", "/tasks", {"title": "x"})]
    first = answers(operator, *parts, **{"Idempotency-Key": "k"})
    assert answers(operator, *parts, **{"Idempotency-Key": "k"}) == first
    assert len(office.live("tasks")) == 2
    told = answers(operator, part("a", "POST", "/tasks", {"title": "y"}), **{"Idempotency-Key": "k"})
    assert told["a"]["body"]["code"] == "idempotency_mismatch"


def test_what_does_not_fit_beside_the_others_is_told_shortly(operator: Api, office: Office) -> None:
    large = "x" * 1_400_000
    told = answers(
        operator,
        part("a", "POST", "/tasks", {"id": "a", "title": "a", "description": large}),
        part("b", "POST", "/tasks", {"id": "b", "title": "b", "description": large}),
        part("c", "GET", "/tasks/a"),
        part("d", "PATCH", "/tasks/a", {"title": "d"}),
        part("e", "GET", "/tasks/a"),
        part("f", "GET", "/brands"),
    )
    assert statuses(told) == {"a": 201, "b": 201, "c": 200, "d": 200, "e": 413, "f": 200}
    assert (told["d"]["body"]["id"], told["d"]["body"]["title"], told["d"]["body"]["truncated"]) == ("a", "d", True)
    assert "description" not in told["d"]["body"]
    assert office.live("tasks") == {"a", "b"}


def test_what_there_is_no_time_for_is_not_begun(operator: Api, office: Office) -> None:
    with mock.patch.object(batch, "LEAST_SECONDS", batch.REQUEST_SECONDS + 1):
        told = answers(operator, part("a", "POST", "/tasks", {"title": "x"}))
    assert (told["a"]["status"], told["a"]["body"]["code"]) == (503, "unavailable")
    assert office.live("tasks") == set()


def test_numbers_keep_their_digits(operator: Api) -> None:
    """JSON's numbers go through a batch as they are, as through the routes themselves."""
    brand = operator.post("/api/v1/brands", json={"label": "b"}).json()["data"]["id"]
    account = {"username": "n", "platform": "x", "brandId": brand, "followers": 9007199254740993}
    assert answers(operator, part("a", "POST", "/accounts", account))["a"]["body"]["followers"] == 9007199254740993
