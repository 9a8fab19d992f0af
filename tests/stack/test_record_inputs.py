"""What clients may send to the routes of records, and what they may not: each route, each field, each kind of harm.

`CHANGES` has a good request for each route that takes a body; a route of the template that it lacks fails here.
"""

import copy
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import requests

from stowage.basics.ids import encode_id
from stowage.entities.declared import ENTITIES
from tests.conftest import Api, RunningStack
from tests.stack.office import Office, codes, open_office, refusal
from tests.stack.route_surface import UNKNOWN_RUN
from tests.stack.test_access_routes import TEMPLATE_ROUTES

pytestmark = pytest.mark.usefixtures("direct")

type Json = Any
type Place = tuple[str | int, ...]

GUILD = "/api/guilds/{guildId}/"
JSON = {"content-type": "application/json"}
TASK = {"id": "new", "title": "t", "description": "d", "status": "todo", "priority": "low", "assignee": "usr"}
ACCOUNT = {
    "username": "new", "displayName": "d", "platform": "x", "brandId": "brd_1", "groupId": "grp_1", "followers": 1,
    "status": "active",
}  # fmt: skip
URL = "https://x.example/p/1?a=b&c=%2F#d"


@dataclass(frozen=True)
class Change:
    """A good request: the template's route, the path as it is called, and the body. `many`: where its list of records
    is; `items_fail`: what is wrong with a record fails that one alone (207).
    """

    route: str
    path: str
    body: Json
    many: str | None = None
    items_fail: bool = False

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]


CHANGES = (
    Change(f"POST {GUILD}bulk/delete", GUILD + "bulk/delete", {"ids": ["a"], "dataType": "accounts"}, "ids"),
    Change(
        f"POST {GUILD}bulk/reassign",
        GUILD + "bulk/reassign",
        {"ids": ["a"], "dataType": "accounts", "targetBrandId": "brd_1", "targetGroupId": "grp_1"},
        "ids",
    ),
    Change(f"POST {GUILD}bulk/undo", GUILD + "bulk/undo", {"operationId": "op"}),
    Change(f"POST {GUILD}trash/{{itemId}}", GUILD + "trash/t", {"dataType": "accounts", "onConflict": "fail"}),
    Change(
        f"POST {GUILD}trash/{{itemId}}/restore", GUILD + "trash/t/restore", {"dataType": "posts", "onConflict": "fail"}
    ),
    Change("POST /api/v1/{entity}", "/api/v1/tasks", TASK),
    Change("POST /api/v1/{entity}", "/api/v1/accounts", {"id": "new", **ACCOUNT}),
    Change(
        "POST /api/v1/{entity}",
        "/api/v1/posts",
        {"id": "n", "accountId": "a", "url": "u", "caption": "c", "likes": 1, "postedAt": "2026-01-01T00:00:00Z"},
    ),
    Change("POST /api/v1/{entity}", "/api/v1/brands", {"id": "new", "label": "new"}),
    Change("POST /api/v1/{entity}", "/api/v1/groups", {"id": "new", "brandId": "brd_1", "label": "new"}),
    Change("POST /api/v1/{entity}", "/api/v1/users", {"id": "new", "name": "new", "email": "n@x.example"}),
    Change("PATCH /api/v1/{entity}/{id}", "/api/v1/accounts/a", ACCOUNT),
    Change("POST /api/v1/import/{entity}", "/api/v1/import/tasks", {"items": [TASK], "options": {}}, "items"),
    Change(
        "PATCH /api/v1/bulk/{entity}", "/api/v1/bulk/accounts", {"updates": [{"id": "a", **ACCOUNT}]}, "updates", True
    ),
    Change("POST /api/v1/bulk/{entity}/delete", "/api/v1/bulk/accounts/delete", {"ids": ["a"]}, "ids"),
    Change(
        "POST /api/v1/import/{entity}/file",
        "/api/v1/import/tasks/file",
        {"filename": "t.csv", "size": 1, "type": "csv", "mapping": {"A": "title"}, "onConflict": "fail"},
    ),
    Change(
        "POST /api/v1/import/{entity}/file/{id}/start", f"/api/v1/import/tasks/file/{UNKNOWN_RUN}/start", {}
    ),
)  # fmt: skip
EACH = pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.method} {change.path}")
MANY = pytest.mark.parametrize(
    "change", [each for each in CHANGES if each.many], ids=lambda change: f"{change.method} {change.path}"
)
ONE_OF_EACH = pytest.mark.long(
    but=[
        "POST /api/guilds/{guildId}/bulk/delete",
        "POST /api/guilds/{guildId}/bulk/undo",
        "POST /api/guilds/{guildId}/trash/t/restore",
        "POST /api/v1/tasks",
        "PATCH /api/v1/accounts/a",
        "POST /api/v1/import/tasks",
        "PATCH /api/v1/bulk/accounts",
        "POST /api/v1/bulk/accounts/delete",
        "POST /api/v1/import/tasks/file",
        "POST /api/v1/import/tasks/file/01a1f7ff-0000-7000-8000-000000000000/start",
    ]
)
"""Routes that read their bodies in different ways; the others are long."""


def furnish(office: Office) -> None:
    """Make an account with a post, another in the trash, a user and a task."""
    office.accounts("a", "t")
    office.posts("a", "p")
    office.run("INSERT INTO users (id, name, email) VALUES ('usr', 'U', 'u'); INSERT INTO tasks VALUES ('k', 'x')")
    office.delete("t")


@pytest.fixture(scope="module")
def shared(stack: RunningStack) -> Iterator[Office]:
    """One tenant that no request of these tests changes."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        furnish(made)
        yield made
        made.close()


@pytest.fixture(scope="module")
def operator(shared: Office) -> Api:
    return shared.caller()


def records(office: Office) -> dict[str, Json]:
    return {entity.name: office.rows(entity.table) for entity in ENTITIES.values()}


def send(api: Api, office: Office, change: Change, body: bytes, headers: Json = JSON) -> requests.Response:
    path = change.path.replace("{guildId}", office.id)
    return api.request(change.method, path, data=body, headers=headers)


def places(node: Json, at: Place = ()) -> Iterator[tuple[Place, Json]]:
    """Every place of a body below its top, with what is there."""
    if at:
        yield at, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*at, key))


def with_value(body: Json, place: Place, value: str) -> bytes:
    """The body with this JSON text at that place."""
    changed = node = copy.deepcopy(body)
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = "<here>"
    return json.dumps(changed).replace('"<here>"', value).encode()


def refused(change: Change, response: requests.Response) -> None:
    """The request failed as a whole, or its only record did."""
    if change.items_fail and response.status_code == 207:
        told = response.json()["data"]
        assert (told["updated"], told["failed"], told["failures"][0]["code"]) == (0, 1, "invalid")
    else:
        refusal(response, 400, response.json()["code"])


def said(answers: dict[str, requests.Response]) -> dict[str, tuple[int, str]]:
    """Status and code of each answer by its name; each refusal is of the one shape."""
    for response in answers.values():
        if response.status_code != 200:
            refusal(response, response.status_code, response.json()["code"])
    return {name: (response.status_code, str(response.json().get("code"))) for name, response in answers.items()}


def test_every_route_with_a_body_is_here() -> None:
    expected = {
        route.replace("/api/v1/guilds/", "/api/guilds/")
        for route in TEMPLATE_ROUTES
        if route.startswith(("POST", "PATCH", "PUT")) and any(part in route for part in ("bulk", "trash", "{entity}"))
        if "/jobs/" not in route  # which has its own (test_jobs_bulk)
    }
    assert {change.route for change in CHANGES} == expected


@ONE_OF_EACH
@pytest.mark.usefixtures("over_http")
@EACH
def test_the_good_request_is_good(office: Office, change: Change) -> None:
    """Else the tests below would see refusals of something else. Two name an operation and an import of nobody."""
    furnish(office)
    response = send(office.caller(), office, change, json.dumps(change.body).encode())
    named = ("bulk/undo", "/start", "trash/t/restore")
    assert response.status_code in ((404,) if change.path.endswith(named) else (200, 201)), response.text


NO_JSON = {
    "cut off": b'{"ids": ["a"',
    "words": b"nope",
    "a list": b"[]",
    "a text": b'"x"',
    "a number": b"1",
    "a list with spaces": b" \n[{}]",
    "lists without end": b'{"ids": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects without end": b'{"ids": ' * 20_000 + b"1" + b"}" * 20_000,
    "a number without end": b'{"ids": ' + b"9" * 5_000 + b"}",
    "NaN": b'{"ids": NaN}',
    "a lone surrogate": b'{"ids": "\\ud800"}',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "a NUL as a name": b'{"\\u0000": 1}',
    "a name of Python's": b'{"__class__": {"__init__": {}}}',
}


@ONE_OF_EACH
@EACH
def test_what_is_no_such_json_is_a_400(shared: Office, operator: Api, change: Change) -> None:
    before = records(shared)
    answers = {name: send(operator, shared, change, body) for name, body in NO_JSON.items()}
    assert said(answers) == dict.fromkeys(NO_JSON, (400, "invalid_request"))
    assert records(shared) == before


@ONE_OF_EACH
@EACH
def test_a_body_of_another_type_is_a_415(shared: Office, operator: Api, change: Change) -> None:
    body = json.dumps(change.body).encode()
    before = records(shared)
    for content_type in (
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json-patch+json",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/octet-stream",
    ):
        refusal(send(operator, shared, change, body, {"content-type": content_type}), 415, "unsupported_media_type")
    for encoding in ("gzip", "GZIP", "br", "identity, gzip", "gzip;q=1"):
        answer = send(operator, shared, change, gzip.compress(body), {"content-encoding": encoding})
        assert "not compressed" in refusal(answer, 415, "unsupported_media_type")["error"]
    assert records(shared) == before


@ONE_OF_EACH
@EACH
def test_a_body_that_is_not_utf8_is_a_400(shared: Office, operator: Api, change: Change) -> None:
    for headers in ({}, {"content-type": "application/json"}):
        refusal(send(operator, shared, change, b'{"title": "\xff\xfe"}', headers), 400, "invalid_request")


NOT_UTF8 = [
    b"\x80", b"a\xbfb", b"\xc3", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf",
    b"\xe2\x82", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xf0\x9f\x98 \x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
    b"\xff",
]  # fmt: skip
"""Lone, overlong, surrogates, cut by one byte or more, beyond Unicode."""


@pytest.mark.usefixtures("over_http")
def test_a_text_of_bytes_that_are_not_utf8_changes_nothing(shared: Office, operator: Api) -> None:
    headers = {"content-type": "application/json", "x-tenant-id": shared.id}
    before = shared.rows("tasks")
    for raw in NOT_UTF8:
        body = b'{"title": "Call ' + raw + b' today"}'
        told = refusal(operator.post("/api/v1/tasks", data=body, headers=headers), 400, "invalid_request")
        assert told["error"] == "The body is not UTF-8.", raw
    assert shared.rows("tasks") == before


def test_a_replacement_character_is_a_character_like_others(shared: Office, operator: Api) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "x-tenant-id": shared.id}
    body = '{"title": "Call \ufffd 😀 today"}'.encode()
    made = operator.post("/api/v1/tasks", data=body, headers=headers)
    assert (made.status_code, made.json()["data"]["title"]) == (201, "Call \ufffd 😀 today")
    operator.delete(f"/api/v1/tasks/{made.json()['data']['id']}", headers=headers)


@ONE_OF_EACH
@EACH
def test_a_body_is_there(shared: Office, operator: Api, change: Change) -> None:
    """Only a restore and a start may come without."""
    without = [send(operator, shared, change, body) for body in (b"", b"null")]
    if "trash" in change.path or change.path.endswith("/start"):
        assert {response.status_code for response in without} <= {200, 404}
        for response in without:
            if response.status_code == 200:
                shared.delete("t")
    else:
        for response in without:
            refusal(response, 400, "invalid_request")


HARM = {
    "a NUL": '"a\\u0000b"',
    "an encoded NUL as id": '"~YQBi"',
    "a lone surrogate": '"\\ud800"',
    "half a pair": '"a\\udc00b"',
    "NaN": "NaN",
    "infinity": "Infinity",
    "too large a float": "1e400",
    "too small a float": "-1e400",
    "2^63": str(2**63),
    "-2^63-1": str(-(2**63) - 1),
    "hundreds of digits": "9" * 400,
    "half": "1.5",
    "a boolean": "true",
    "a list": "[[]]",
    "an object": '{"$ne": null}',
}
ENCODED_NUL = "an encoded NUL as id"
IDS = ("id", "ids", "assignee", "brandId", "groupId", "accountId", "operationId", "targetBrandId", "targetGroupId")


@ONE_OF_EACH
@EACH
def test_a_value_that_no_field_has_is_a_400_in_each_place(shared: Office, operator: Api, change: Change) -> None:
    before = records(shared)
    for harm, value in HARM.items():
        for place, _ in places(change.body):
            is_id = any(name in IDS for name in place)
            if harm == ENCODED_NUL and not is_id:
                continue  # that is a text like any other
            if harm == "an object" and place in (("options",), ("mapping",)):
                continue  # which are objects; what is in them is a place of its own
            response = send(operator, shared, change, with_value(change.body, place, value))
            assert response.status_code in (400, 207), (harm, place, response.text[:300])
            refused(change, response)
    assert records(shared) == before


@ONE_OF_EACH
@EACH
def test_a_field_that_is_not_declared_is_a_400_wherever_it_is(shared: Office, operator: Api, change: Change) -> None:
    before = records(shared)
    objects = [((), change.body), *((place, node) for place, node in places(change.body) if isinstance(node, dict))]
    for place, node in objects:
        if place == ("mapping",):
            continue  # whose keys are the file's columns
        unknown = {**node, "is_admin": True}
        body = json.dumps(unknown).encode() if not place else with_value(change.body, place, json.dumps(unknown))
        refused(change, send(operator, shared, change, body))
    assert records(shared) == before


# Lists of ids


def of_ids(change: Change, ids: list[str]) -> bytes:
    """The request for these records."""
    assert change.many
    entries: list[Json] = list(ids)
    if change.many == "items":
        entries = [{"id": each, "title": "x"} for each in ids]
    elif change.many == "updates":
        entries = [{"id": each} for each in ids]
    return json.dumps(change.body | {change.many: entries}).encode()


@MANY
def test_ten_thousand_and_one_are_too_many(shared: Office, operator: Api, change: Change) -> None:
    before = records(shared)
    response = send(operator, shared, change, of_ids(change, [f"n{n}" for n in range(10_001)]))
    assert "10000" in refusal(response, 400, "invalid_request")["error"].replace(",", "")
    refusal(send(operator, shared, change, of_ids(change, [])), 400, "invalid_request")
    assert records(shared) == before


@MANY
def test_an_id_twice_is_a_400_in_whichever_form(shared: Office, operator: Api, change: Change) -> None:
    before = records(shared)
    for pair in (("a", "a"), (URL, URL), (URL, encode_id(URL)), ("a", "~YQ")):
        response = send(operator, shared, change, of_ids(change, ["first", *pair]))
        assert response.status_code == 400, (pair, response.text)
        refusal(response, 400, response.json()["code"])
    assert records(shared) == before


@MANY
def test_ids_of_other_tenants_and_types_are_not_found_one_by_one(
    shared: Office, operator: Api, change: Change, stack: RunningStack
) -> None:
    if change.many == "items":
        return  # which makes records: what others have is not in its way
    elsewhere = open_office(stack, shared.database)
    elsewhere.accounts("theirs")
    before, theirs = records(shared), records(elsewhere)
    strangers = ["theirs", "p", "k", "brd_1", "usr", "nobody", URL, "' OR 1=1 --", "*", "%"]
    response = send(operator, shared, change, of_ids(change, strangers))
    assert response.status_code == 207, response.text
    told = response.json()
    if "results" in told:
        assert codes(told) == dict.fromkeys(strangers, "not_found")
    else:
        assert [failure["code"] for failure in told["data"]["failures"]] == ["not_found"] * len(strangers)
        assert [failure["id"] for failure in told["data"]["failures"]] == strangers
    assert (records(shared), records(elsewhere)) == (before, theirs)
    elsewhere.close()


def test_what_others_have_is_not_in_the_way_of_an_import(office: Office, stack: RunningStack) -> None:
    elsewhere = open_office(stack, office.database)
    elsewhere.run("INSERT INTO tasks (id, title) VALUES ('same', 'theirs')")
    before = records(elsewhere)
    body = {"items": [{"id": "same", "title": "ours"}]}
    assert office.caller().post("/api/v1/import/tasks", json=body).status_code == 201
    assert (office.rows("tasks")["same"]["title"], records(elsewhere)) == ("ours", before)
    elsewhere.close()


@pytest.mark.parametrize("field", ["brandId", "groupId"])
def test_references_to_other_tenants_are_refused(office: Office, stack: RunningStack, field: str) -> None:
    elsewhere = open_office(stack, office.database)
    elsewhere.run(
        "INSERT INTO brands (id, label) VALUES ('theirs', 'T');"
        "INSERT INTO groups (id, brand_id, label) VALUES ('theirs', 'theirs', 'T')"
    )
    office.accounts("a")
    before, operator = records(office), office.caller()
    body = ACCOUNT | {field: "theirs"}
    refusal(operator.post("/api/v1/accounts", json=body), 400, "invalid_reference")
    refusal(operator.patch("/api/v1/accounts/a", json={field: "theirs"}), 400, "invalid_reference")
    refusal(operator.post("/api/v1/import/accounts", json={"items": [body]}), 400, "invalid_items")
    updated = operator.patch("/api/v1/bulk/accounts", json={"updates": [{"id": "a", field: "theirs"}]})
    assert updated.json()["data"]["failures"][0]["code"] == "invalid_reference"
    target = (
        {"targetBrandId": "theirs"} if field == "brandId" else {"targetBrandId": "brd_1", "targetGroupId": "theirs"}
    )
    moved = operator.post(office.path("bulk/reassign"), json={"ids": ["a"], **target})
    refusal(moved, 400, "unknown_brand" if field == "brandId" else "unknown_group")
    assert records(office) == before
    elsewhere.close()


# Ids in paths

BY_ID = (
    ("GET", "/api/v1/posts/{id}"),
    ("PATCH", "/api/v1/posts/{id}"),
    ("DELETE", "/api/v1/posts/{id}"),
    ("POST", GUILD + "trash/{id}"),
    ("POST", GUILD + "trash/{id}/restore"),
    ("DELETE", GUILD + "trash/{id}"),
    ("POST", "/api/v1/import/posts/file/{id}/start"),
)
BY_PATH = pytest.mark.parametrize(("method", "path"), BY_ID)
STRANGE = [
    "' OR 1=1 --", "'; DROP TABLE posts; --", "%", "%2e%2e", "..", "a/b", "a?b#c", "~", "~~", "~!", "~YQ=", "\ud7ff",
    "a b", "💾", "x" * 2000, "null", "*", "{id}", "$1", "\\", '"', "\r\nx: y",
]  # fmt: skip


@BY_PATH
def test_a_strange_id_in_a_path_is_nothing_but_unknown(shared: Office, method: str, path: str) -> None:
    before, admin = records(shared), shared.caller("admin")
    for strange in STRANGE:
        for form in (quote(strange, safe=""), encode_id(strange)):
            url = path.replace("{guildId}", shared.id).replace("{id}", form)
            response = admin.request(method, url, json={} if method in ("POST", "PATCH") else None)
            # What the gateway cuts at a decoded question mark, or takes for another path, is not there either.
            is_raw_change = method != "GET" and form != encode_id(strange)
            assert response.status_code in (404, 405) or (is_raw_change and refusal(response, 400, "encode_id")), (
                strange,
                response.text,
            )
    assert records(shared) == before


@BY_PATH
def test_a_nul_in_an_id_of_a_path_is_a_400(shared: Office, method: str, path: str) -> None:
    admin = shared.caller("admin")
    for form in ("%00", "a%00b", encode_id("a\0b")):
        url = path.replace("{guildId}", shared.id).replace("{id}", form)
        response = admin.request(method, url, json={} if method in ("POST", "PATCH") else None)
        # A run's id is looked for among UUIDs only, where none has a NUL.
        is_unknown = "import" in path and form.startswith("~")
        refusal(response, *((404, "not_found") if is_unknown else (400, response.json()["code"])))


def test_an_id_that_is_a_url_leads_to_its_record_on_every_route(office: Office) -> None:
    raw, form = URL, encode_id(URL)
    office.accounts("a")
    office.posts("a", raw, "other")
    admin = office.caller("admin")
    assert admin.get(f"/api/v1/posts/{form}").json()["data"]["id"] == encode_id(raw)
    assert admin.patch(f"/api/v1/posts/{form}", json={"caption": "c"}).json()["data"]["caption"] == "c"
    for suffix in ("", "/restore"):
        assert admin.delete(f"/api/v1/posts/{form}").json()["data"] == {"id": encode_id(raw)}
        assert admin.post(office.path(f"trash/{form}{suffix}")).json()["item"]["id"] == encode_id(raw)
    admin.delete(f"/api/v1/posts/{form}")
    assert admin.delete(office.path(f"trash/{form}")).json() == {"success": True, "id": encode_id(raw)}
    assert office.live("posts") == {"other"}


@pytest.mark.parametrize("raw", ["~", "~!", "~hello world", "~YQ=", "~7aCA", "~a.b", "~~"])
def test_an_id_that_only_looks_encoded_is_taken_as_it_is(office: Office, raw: str) -> None:
    operator = office.caller()
    made = operator.post("/api/v1/tasks", json={"id": raw, "title": "odd"}).json()["data"]
    assert set(office.rows("tasks")) == {raw}
    assert made["id"] == encode_id(raw)
    assert operator.get(f"/api/v1/tasks/{quote(raw, safe='')}").json()["data"] == made
    assert operator.post("/api/v1/bulk/tasks/delete", json={"ids": [raw]}).json()["data"]["deleted"] == 1


# Queries

QUERIES = {
    "/api/v1/accounts": ("id", "username", "brandId", "followers", "search", "ids", "createdAfter", "page", "sort"),
    "/api/v1/posts": ("url", "likes", "accountId", "createdBefore", "limit"),
    "/api/v1/tasks": ("status", "assignee", "title"),
    GUILD + "trash": ("type", "page", "limit"),
    GUILD + "bulk/operations": ("page", "limit"),
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_query_does_no_harm(shared: Office, path: str) -> None:
    viewer, before = shared.caller("viewer"), records(shared)
    url = path.replace("{guildId}", shared.id)
    for name in QUERIES[path]:
        for nul in ("%00", "a%00b"):
            response = viewer.get(f"{url}?{name}={nul}")
            assert response.status_code == 400, (name, nul, response.text)
            refusal(response, 400, response.json()["code"])
        for value in ("' OR 1=1 --", "1; DROP TABLE accounts", "%' --", "\\", "$$", "~YQBi", "9" * 400, "1e400", "NaN",
                      "-1", "\u0663", "x" * 5000, "\ufffd", "null", "*"):  # fmt: skip
            response = viewer.get(url, params={name: value})
            assert response.status_code in (200, 400), (name, value, response.text)
            if response.status_code == 200:
                body = response.json()
                assert body.get("data", body.get("items", body.get("operations"))) == [], (name, value, body)
    assert records(shared) == before


def test_a_parameter_that_is_not_declared_is_refused_by_its_name(shared: Office) -> None:
    viewer = shared.caller("viewer")
    for path in QUERIES:
        url = path.replace("{guildId}", shared.id)
        for name in ("deleted_at", "1=1", "%00", "__class__", "limit[]", "Page"):
            refusal(viewer.get(f"{url}?{name}=1"), 400, "invalid_request" if "guilds" in path else "invalid_query")


@pytest.mark.parametrize("header", ["idempotency-key", "if-match", "x-tenant-id", "if-none-match", "last-event-id"])
def test_a_header_does_no_harm(shared: Office, operator: Api, header: str) -> None:
    before = records(shared)
    for value in (b"' OR 1=1 --", b"\xff\xfe", b"x" * 5000, b"%00", b'W/"', b","):
        headers = {header: value}
        calls = [
            operator.patch("/api/v1/accounts/a", json={}, headers=headers),
            operator.get("/api/v1/accounts/a", headers=headers),
            operator.post(shared.path("bulk/delete"), json={"ids": ["z"], "dataType": "posts"}, headers=headers),
        ]
        for response in calls:
            assert response.status_code in (200, 207, 400, 404, 409, 412), response.text
    assert records(shared) == before


# Texts

SQL = [
    "'; DROP TABLE accounts; --", '"; DELETE FROM posts; --', "$1", "%s", "%(id)s", "{0}", "\\'; --", "$$;$$", "NULL",
    "E'\\x27'", "'||pg_sleep(10)||'", "{a,b}", '{"a": 1}', "=1+1", "\u202e'--", "😀'\u2028",
]  # fmt: skip
TEXTS = {
    "brands": ("label",),
    "groups": ("label",),
    "accounts": ("username", "displayName", "platform", "status"),
    "posts": ("url", "caption"),
    "tasks": ("title", "description"),
    "users": ("name", "email"),
}
NEEDED: dict[str, Json] = {
    "groups": {"brandId": "brd_1"},
    "accounts": {"brandId": "brd_1"},
    "posts": {"accountId": "a"},
}


def test_every_text_of_every_entity_is_tried() -> None:
    declared = {
        name: tuple(
            field.name
            for field in entity.fields
            if field.type == "text"
            and field.name != "id"
            and field.name not in {reference.field for reference in entity.references}
            and (name, field.name) not in {("tasks", "status"), ("tasks", "priority")}  # choices
        )
        for name, entity in ENTITIES.items()
    }
    assert declared == TEXTS


@pytest.mark.long(but=["accounts", "tasks"])
@pytest.mark.parametrize("entity", TEXTS)
def test_sql_in_any_text_is_stored_as_it_is_and_does_nothing(office: Office, entity: str) -> None:
    """Every text in every field by the routes of many records; by those of one record, a few for each entity."""
    office.accounts("a")
    operator, table = office.caller(), ENTITIES[entity].table
    column = {name: ENTITIES[entity].column(name) for name in TEXTS[entity]}
    before = records(office)

    def stored() -> dict[str, dict[str, str]]:
        rows = office.rows(table).items()
        return {key: {name: row[column[name]] for name in column} for key, row in rows if key not in before[entity]}

    def texts(kind: str, given: list[str]) -> dict[str, dict[str, str]]:
        return {text + kind: {name: f"{text}{turn}{name}" for name in column} for turn, text in enumerate(given)}

    turn = list(TEXTS).index(entity)
    alone = texts("alone", SQL[turn :: len(TEXTS)])
    for key, first in alone.items():
        made = operator.post(f"/api/v1/{entity}", json={"id": key, **first, **NEEDED.get(entity, {})})
        assert made.status_code == 201, made.text
        assert stored()[key] == first
        path = f"/api/v1/{entity}/{made.json()['data']['id']}"
        assert {name: operator.get(path).json()["data"][name] for name in first} == first
        alone[key] = {name: f"{value}again" for name, value in first.items()}
        assert operator.patch(path, json=alone[key]).status_code == 200
    assert stored() == alone
    many = texts("many", SQL)
    items = [{"id": key, **fields, **NEEDED.get(entity, {})} for key, fields in many.items()]
    assert operator.post(f"/api/v1/import/{entity}", json={"items": items}).status_code == 201
    assert stored() == alone | many
    many = {key: {name: f"{value}3" for name, value in fields.items()} for key, fields in many.items()}
    updates = {"updates": [{"id": key, **fields} for key, fields in many.items()]}
    assert operator.patch(f"/api/v1/bulk/{entity}", json=updates).status_code == 200
    assert stored() == alone | many
    for fields in many.values():
        for name, value in fields.items():
            found = operator.get(f"/api/v1/{entity}", params={name: value}).json()["data"]
            assert [record[name] for record in found] == [value]
    gone = operator.post(f"/api/v1/bulk/{entity}/delete", json={"ids": [*alone, *many]})
    assert gone.status_code == 200, gone.text
    for key in alone:
        restored = operator.post(office.path(f"trash/{encode_id(key)}"), json={"dataType": entity})
        assert restored.status_code == 200, restored.text
    assert stored() == alone | many
    assert office.live(table) == {*before[entity], *alone}
    untouched = records(office)
    untouched[entity] = {name: row for name, row in untouched[entity].items() if name in before[entity]}
    assert untouched == before
    assert office.is_gapless()
