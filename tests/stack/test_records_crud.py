"""GET, POST, PATCH and DELETE of records: what is taken, what is refused, what it leaves in the journal."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.conftest import RunningStack
from tests.stack.record_surface import SCHEMA, RecordApi, complaints, data, record_api, refused

pytestmark = pytest.mark.usefixtures("direct")

AWKWARD_TEXTS = [
    "'; DROP TABLE tasks; --",
    '%s %(id)s {0} \\ "quoted" $1',
    "😀 Ünïcode \u202e 日本",
    "line\nfeed\ttab",
    "x" * 10_000,
    "~aHR0cHM6",
    "null",
]
ACCOUNT = {"username": "u", "platform": "x", "brandId": "b"}
POST = {"accountId": "a", "url": "u"}
KEPT = "is kept by Stowage and cannot be given"
BAD_ID = "an id has 1 to 1,000 bytes and no NUL character"
STATUSES = "expected 'todo', 'in_progress' or 'completed'"
TOO_LARGE = "expected at most 9,223,372,036,854,775,807"
NO_TIME = "expected a time such as 2026-01-31T09:00:00Z"
NO_ZONE = "the time has no zone; write it as 2026-01-31T09:00:00Z"
NO_YEAR = "the time lies outside the years 1 to 9999"
AWKWARD_IDS = ["a b", "ü/é", "100%", "%41", "a+b", "~x", "(x)'", '"q"', "😀", "a\\b", "a#b", ";", "x\ny"]


@pytest.fixture(scope="module")
def records(stack: RunningStack) -> Iterator[RecordApi]:
    made = record_api(stack)
    yield made
    made.close()


def test_a_created_record_has_its_defaults_its_times_and_a_place(records: RecordApi) -> None:
    response = records.operator.post("/api/v1/tasks", json={"title": "Call the printer"})
    made = data(response, 201)
    assert made.keys() == {"id", "title", "description", "status", "priority", "assignee", "createdAt", "updatedAt"}
    assert (made["status"], made["priority"], made["description"]) == ("todo", "medium", None)
    assert made["id"].startswith("tsk_")
    assert made["createdAt"] == made["updatedAt"]
    assert made["createdAt"].endswith("Z")
    assert response.headers["location"] == f"/api/v1/tasks/{made['id']}"
    assert response.headers["etag"] == records.operator.get(response.headers["location"]).headers["etag"]
    assert records.read("tasks", made["id"]) == made


@pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=range(len(AWKWARD_TEXTS)))
def test_every_text_comes_back_as_it_was_sent(records: RecordApi, text: str) -> None:
    made = records.make("tasks", title=text, description=text)
    assert (made["title"], made["description"]) == (text, text)
    assert records.read("tasks", made["id"]) == made
    found = data(records.operator.get("/api/v1/tasks", params={"id": made["id"], "title": text[:3000]}))
    assert [record["id"] for record in found] == ([made["id"]] if len(text) <= 3000 else [])


@pytest.mark.parametrize("record_id", AWKWARD_IDS)
def test_an_id_may_be_any_text_and_both_its_forms_lead_to_the_record(records: RecordApi, record_id: str) -> None:
    raw = record_id + uuid4().hex
    made = records.make("tasks", id=raw, title="Odd")
    encoded = made["id"]
    assert encoded.startswith("~")
    for form in (encoded, quote(raw, safe="")):
        assert records.read("tasks", form) == made
    changed = data(records.operator.patch(f"/api/v1/tasks/{encoded}", json={"title": "Even"}))
    assert changed["id"] == encoded
    refused(records.operator.post("/api/v1/tasks", json={"id": encoded, "title": "Again"}), 409, "conflict")
    for form in (encoded, raw):
        found = data(records.operator.get("/api/v1/tasks", params={"ids": form}))
        assert [record["id"] for record in found] == ([encoded] if "," not in form else [])
    assert data(records.operator.delete(f"/api/v1/tasks/{encoded}")) == {"id": encoded}


def test_a_post_may_have_its_url_as_id_and_refer_to_an_account_by_either_form(records: RecordApi) -> None:
    account = records.account(records.brand(), id=f"acc/{uuid4()}")
    url = f"https://example.com/p?q={uuid4()}&r=ü"
    made = records.make("posts", id=url, url=url, accountId=account["id"], postedAt="2026-03-29T03:30:00+02:00")
    assert made["accountId"] == account["id"]
    assert made["postedAt"] == "2026-03-29T01:30:00.000Z"
    (entry,) = records.journal(id=url)
    assert entry["after"]["account_id"].startswith("acc/")
    filtered = data(records.operator.get("/api/v1/posts", params={"accountId": account["id"]}))
    assert [post["id"] for post in filtered] == [made["id"]]


@pytest.mark.parametrize(
    ("entity", "body", "field", "message"),
    [
        ("tasks", {}, "title", "is required"),
        ("tasks", {"title": None}, "title", "expected a text"),
        ("tasks", {"title": 5}, "title", "expected a text"),
        ("tasks", {"title": "x", "stauts": "todo"}, "stauts", "there is no such field"),
        ("tasks", {"title": "x", "status": "later"}, "status", STATUSES),
        ("tasks", {"title": "x", "status": None}, "status", STATUSES),
        ("tasks", {"title": "x", "createdAt": "2026-01-01T00:00:00Z"}, "createdAt", KEPT),
        ("tasks", {"title": "x", "deletedAt": None}, "deletedAt", KEPT),
        ("tasks", {"title": "x", "deletedWith": "acc_1"}, "deletedWith", KEPT),
        ("tasks", {"title": "x", "id": ""}, "id", BAD_ID),
        ("tasks", {"title": "x", "id": "é" * 501}, "id", BAD_ID),
        ("tasks", {"title": "x", "id": "~AA"}, "id", BAD_ID),
        ("tasks", {"title": "a\0b"}, "title", "must not hold a NUL character"),
        ("accounts", ACCOUNT | {"followers": "5"}, "followers", "expected a whole number"),
        ("accounts", ACCOUNT | {"followers": True}, "followers", "expected a whole number"),
        ("accounts", ACCOUNT | {"followers": 2**63}, "followers", TOO_LARGE),
        ("posts", POST | {"postedAt": "2026-02-30T00:00:00Z"}, "postedAt", NO_TIME),
        ("posts", POST | {"postedAt": "2026-02-03T00:00:00"}, "postedAt", NO_ZONE),
        ("posts", POST | {"postedAt": "1700000000"}, "postedAt", NO_TIME),
        ("posts", POST | {"postedAt": 0}, "postedAt", NO_TIME),
        ("posts", POST | {"postedAt": "0001-01-01T00:00:00+14:00"}, "postedAt", NO_YEAR),
        ("posts", POST | {"postedAt": "9999-12-31T23:59:59-10:00"}, "postedAt", NO_YEAR),
        ("tasks", {"title": ""}, "title", "expected at least 1 character"),
        ("accounts", ACCOUNT | {"followers": -1}, "followers", "expected at least 0"),
        ("posts", POST | {"url": "u" * 2001}, "url", "expected at most 2,000 characters"),
        ("tasks", ["title"], "", "send a JSON object"),
        ("tasks", 7, "", "send a JSON object"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused_field_by_field(
    records: RecordApi, entity: str, body: Any, field: str, message: str
) -> None:
    before = records.seqs()
    refusal = refused(records.operator.post(f"/api/v1/{entity}", json=body), 400, "invalid_request")
    assert complaints(refusal) == {field: message}
    assert records.seqs() == before


@pytest.mark.parametrize(
    "body",
    [b"", b"nope", b'{"title": "x"', b'{"title": "\\ud800"}', b'{"title": NaN}', b"9" * 5000, b"[" * 5000],
)
def test_a_body_that_is_no_json_is_refused(records: RecordApi, body: bytes) -> None:
    response = records.operator.post("/api/v1/tasks", data=body, headers={"content-type": "application/json"})
    refused(response, 400, "invalid_request")


def test_references_are_looked_for_inside_the_tenant_and_outside_the_trash(records: RecordApi, database: Any) -> None:
    other = database.execute("SELECT id FROM tenant_globex.brands LIMIT 1").fetchone()[0]
    brand, elsewhere = records.brand(), records.brand()
    group = records.group(elsewhere)
    gone = records.brand()
    data(records.operator.delete(f"/api/v1/brands/{gone}"))
    for bad in (other, "nothing", gone):
        account = {"username": "u", "platform": "x", "brandId": bad}
        refusal = refused(records.operator.post("/api/v1/accounts", json=account), 400, "invalid_reference")
        assert complaints(refusal) == {"brandId": "there is no brand with this id"}
    account = {"username": "u", "platform": "x", "brandId": brand, "groupId": group}
    refusal = refused(records.operator.post("/api/v1/accounts", json=account), 400, "invalid_reference")
    assert complaints(refusal) == {"groupId": "this group belongs to another brand"}
    refusal = refused(
        records.operator.post("/api/v1/tasks", json={"title": "x", "assignee": "nobody"}), 400, "invalid_reference"
    )
    assert complaints(refusal) == {"assignee": "there is no user with this id"}


def test_a_moved_account_needs_a_group_of_its_new_brand(records: RecordApi) -> None:
    brand, elsewhere = records.brand(), records.brand()
    group, other = records.group(brand), records.group(elsewhere)
    account = records.account(brand, groupId=group)
    path = f"/api/v1/accounts/{account['id']}"
    refused(records.operator.patch(path, json={"brandId": elsewhere}), 400, "invalid_reference")
    refused(records.operator.patch(path, json={"groupId": other}), 400, "invalid_reference")
    moved = data(records.operator.patch(path, json={"brandId": elsewhere, "groupId": other}))
    assert (moved["brandId"], moved["groupId"]) == (elsewhere, other)
    assert data(records.operator.patch(path, json={"brandId": brand, "groupId": None}))["groupId"] is None


def test_a_group_with_accounts_stays_with_its_brand(records: RecordApi) -> None:
    brand, elsewhere = records.brand(), records.brand()
    group = records.group(brand)
    account = records.account(brand, groupId=group)
    path = f"/api/v1/groups/{group}"
    refused(records.operator.patch(path, json={"brandId": elsewhere}), 409, "has_children")
    data(records.operator.patch(f"/api/v1/accounts/{account['id']}", json={"groupId": None}))
    assert data(records.operator.patch(path, json={"brandId": elsewhere}))["brandId"] == elsewhere


def test_what_is_taken_is_a_conflict_until_it_is_in_the_trash(records: RecordApi) -> None:
    label = f"Once {uuid4()}"
    first = records.make("brands", label=label)
    refusal = refused(records.operator.post("/api/v1/brands", json={"label": label}), 409, "conflict")
    assert refusal["error"] == "Another brand has this label."
    second = records.make("brands", label=f"{label} too")
    refused(records.operator.patch(f"/api/v1/brands/{second['id']}", json={"label": label}), 409, "conflict")
    data(records.operator.delete(f"/api/v1/brands/{first['id']}"))
    assert data(records.operator.patch(f"/api/v1/brands/{second['id']}", json={"label": label}))["label"] == label
    refused(records.operator.post("/api/v1/brands", json={"label": "x", "id": first["id"]}), 409, "conflict")


def test_a_rule_that_only_the_database_knows_is_told_by_its_field(records: RecordApi) -> None:
    refusal = refused(records.operator.post("/api/v1/brands", json={"label": "é" * 501}), 400, "invalid_request")
    assert refusal["error"] == 'This label is not allowed by the check "brands_label_check" of brands.'
    assert complaints(refusal) == {"label": 'this label is not allowed by the check "brands_label_check" of brands'}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999+00:00", "9999-12-31T23:59:59.999Z"),
        ("2026-01-31 09:00:00.5+05:30", "2026-01-31T03:30:00.500Z"),
        ("2026-01-31T09:00:00+20:00", "2026-01-30T13:00:00.000Z"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00:00.5+00 BC", "0044-03-15 12:00:00.5+00 BC"),
        ("10000-01-01 00:00:00+00", "10000-01-01 00:00:00+00"),
    ],
)
def test_a_time_is_kept_as_the_moment_that_it_names(records: RecordApi, given: str, kept: str) -> None:
    account = records.account(records.brand())
    made = records.make("posts", accountId=account["id"], url=f"https://example.com/{uuid4()}", postedAt=given)
    assert made["postedAt"] == kept
    path = f"/api/v1/posts/{made['id']}"
    assert data(records.operator.patch(path, json={"postedAt": given})) == made


@pytest.mark.parametrize(
    "given", ["0044-13-15 12:00:00+00 BC", "999999-01-01 00:00:00+00", "9999-03-15 12:00:00+00 BC"]
)
def test_a_time_that_only_postgres_can_judge_is_refused_by_it(records: RecordApi, given: str) -> None:
    account = records.account(records.brand())
    body = {"accountId": account["id"], "url": f"https://example.com/{uuid4()}", "postedAt": given}
    assert records.operator.post("/api/v1/posts", json=body).status_code == 400


def test_an_absent_field_stays_and_null_empties(records: RecordApi) -> None:
    made = records.make("tasks", title="x", description="y", priority="high")
    path = f"/api/v1/tasks/{made['id']}"
    changed = data(records.operator.patch(path, json={"status": "completed"}))
    assert changed == made | {"status": "completed", "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > made["updatedAt"]
    emptied = data(records.operator.patch(path, json={"description": None}))
    assert emptied == changed | {"description": None, "updatedAt": emptied["updatedAt"]}
    refusal = refused(records.operator.patch(path, json={"title": None, "id": "other"}), 400, "invalid_request")
    assert complaints(refusal) == {"title": "expected a text", "id": "cannot be changed"}


def test_a_change_that_changes_nothing_leaves_no_trace(records: RecordApi) -> None:
    made = records.make("tasks", title="x")
    before = records.seqs()
    for body in ({}, {"title": "x"}):
        assert data(records.operator.patch(f"/api/v1/tasks/{made['id']}", json=body)) == made
    assert records.seqs() == before


def test_the_journal_has_what_changed_before_and_after(records: RecordApi) -> None:
    made = records.make("tasks", title="x", description="y")
    data(records.operator.patch(f"/api/v1/tasks/{made['id']}", json={"description": None, "priority": "medium"}))
    created, updated = records.journal(id=made["id"])
    assert (created["type"], created["entity"], created["actor"]) == ("created", "tasks", "rae@example.com")
    assert created["before"] is None
    assert created["after"].keys() == {
        "id", "title", "description", "status", "priority", "assignee", "created_at", "updated_at"
    }  # fmt: skip
    assert updated["type"] == "updated"
    assert updated["before"]["updated_at"] < updated["after"]["updated_at"]
    assert updated["before"] == {"description": "y", "updated_at": created["after"]["updated_at"]}
    assert updated["after"] == created["after"] | {"description": None, "updated_at": updated["after"]["updated_at"]}
    assert updated["operation"] != created["operation"]


def test_a_change_is_made_only_to_the_state_that_if_match_names(records: RecordApi) -> None:
    made = records.make("tasks", title="x")
    path = f"/api/v1/tasks/{made['id']}"
    first = records.operator.get(path).headers["etag"]
    patched = records.operator.patch(path, json={"title": "y"}, headers={"if-match": f'"other", {first}'})
    assert data(patched)["title"] == "y"
    for header in (first, f"W/{patched.headers['etag']}", "nonsense"):
        refused(
            records.operator.patch(path, json={"title": "z"}, headers={"if-match": header}), 412, "precondition_failed"
        )
        refused(records.operator.delete(path, headers={"if-match": header}), 412, "precondition_failed")
    assert data(records.operator.patch(path, json={"title": "z"}, headers={"if-match": "*"}))["title"] == "z"
    refused(records.operator.patch("/api/v1/tasks/none", json={}, headers={"if-match": "*"}), 404, "record_not_found")
    assert data(records.operator.delete(path, headers={"if-match": records.operator.get(path).headers["etag"]}))


def test_the_entity_tag_knows_of_changes_by_the_products_own_sql(records: RecordApi) -> None:
    made = records.make("tasks", title="x")
    path = f"/api/v1/tasks/{made['id']}"
    first = records.operator.get(path)
    assert records.operator.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    with records.database() as connection:
        connection.execute(f"UPDATE {SCHEMA}.tasks SET title = 'theirs' WHERE id = %s", (made["id"],))
    assert records.operator.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 200
    response = records.operator.patch(path, json={}, headers={"if-match": first.headers["etag"]})
    refused(response, 412, "precondition_failed")


@pytest.mark.usefixtures("over_http")
def test_of_two_who_change_the_same_state_one_is_told(records: RecordApi) -> None:
    made = records.make("tasks", title="x")
    path = f"/api/v1/tasks/{made['id']}"
    tag = records.operator.get(path).headers["etag"]

    def change(n: int) -> int:
        with records.caller() as api:
            return api.patch(path, json={"title": f"by {n}"}, headers={"if-match": tag}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, range(4))) == [200, 412, 412, 412]


def test_what_is_in_the_trash_is_not_there(records: RecordApi) -> None:
    made = records.make("tasks", title="gone", description=str(uuid4()))
    path = f"/api/v1/tasks/{made['id']}"
    assert data(records.operator.delete(path)) == {"id": made["id"]}
    refused(records.operator.get(path), 404, "record_not_found")
    refused(records.operator.patch(path, json={"title": "x"}), 404, "record_not_found")
    refused(records.operator.delete(path), 404, "record_not_found")
    assert data(records.operator.get("/api/v1/tasks", params={"search": made["description"]})) == []
    assert [entry["type"] for entry in records.journal(id=made["id"])] == ["created", "deleted"]


def test_a_brand_with_accounts_is_not_deleted(records: RecordApi) -> None:
    brand = records.brand()
    account = records.account(brand)
    refused(records.operator.delete(f"/api/v1/brands/{brand}"), 409, "has_children")
    data(records.operator.delete(f"/api/v1/accounts/{account['id']}"))
    data(records.operator.delete(f"/api/v1/brands/{brand}"))


def test_the_same_key_and_body_make_one_record(records: RecordApi) -> None:
    body, headers = {"title": "once"}, {"idempotency-key": str(uuid4())}
    first, again = (records.operator.post("/api/v1/tasks", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, first.text) == (again.status_code, again.text) == (201, first.text)
    assert first.headers["location"] == again.headers["location"]
    other = records.operator.post("/api/v1/tasks", json={"title": "other"}, headers=headers)
    refused(other, 409, "idempotency_mismatch")
    users = records.operator.post("/api/v1/users", json={"name": "x", "email": "y"}, headers=headers)
    assert users.status_code == 201, "a key counts for its own route"


@pytest.mark.parametrize(
    "entity", ["task", "Tasks", "bulk", "import", "stream", "webhooks", "changes", "pg_class", "tasks;"]
)
def test_names_that_are_no_entity_are_not_found(records: RecordApi, entity: str) -> None:
    operator = records.operator
    name = quote(entity, safe="")
    for response in (
        operator.get(f"/api/v1/{name}"),
        operator.post(f"/api/v1/{name}", json={}),
        operator.get(f"/api/v1/{name}/x"),
        operator.patch(f"/api/v1/{name}/x", json={}),
        operator.delete(f"/api/v1/{name}/x"),
        operator.post(f"/api/v1/import/{name}", json={"items": [{}]}),
        operator.patch(f"/api/v1/bulk/{name}", json={"updates": [{"id": "x"}]}),
        operator.post(f"/api/v1/bulk/{name}/delete", json={"ids": ["x"]}),
    ):
        refused(response, 404, "not_found")


ROUTES = [
    ("GET", "/api/v1/tasks", None, "viewer"),
    ("GET", "/api/v1/tasks/none", None, "viewer"),
    ("POST", "/api/v1/tasks", {"title": "x"}, "operator"),
    ("PATCH", "/api/v1/tasks/none", {"title": "x"}, "operator"),
    ("DELETE", "/api/v1/tasks/none", None, "operator"),
    ("POST", "/api/v1/import/tasks", {"items": [{"title": "x"}]}, "operator"),
    ("PATCH", "/api/v1/bulk/tasks", {"updates": [{"id": "none"}]}, "operator"),
    ("POST", "/api/v1/bulk/tasks/delete", {"ids": ["none"]}, "operator"),
]


@pytest.mark.parametrize(("method", "path", "body", "least"), ROUTES)
def test_every_route_asks_for_its_role_its_tenant_and_its_page(
    records: RecordApi, stack: RunningStack, method: str, path: str, body: Any, least: str
) -> None:
    roles = ["viewer", "operator", "admin"]
    for role in roles:
        response = records.caller(role).request(method, path, json=body)
        allowed = roles.index(role) >= roles.index(least)
        assert (response.status_code == 403) != allowed, (role, response.text)
    before = records.seqs()
    anonymous = records.caller()
    token = anonymous.headers.pop("authorization").removeprefix("Bearer ")
    assert anonymous.request(method, path, json=body).status_code == 401
    foreign = records.caller("admin", tenants=("globex",))
    response = foreign.request(method, path, json=body, headers={"x-tenant-id": "records"})
    refused(response, 404, "tenant_not_found")
    several = records.caller("admin", tenants=("globex", "records"))
    assert "X-Tenant-Id" in refused(several.request(method, path, json=body), 400, "tenant_required")["error"]
    cookie = {"cookie": f"auth_token={token}"}
    if method != "GET":
        refused(anonymous.request(method, path, json=body, headers=cookie), 403, "foreign_origin")
    assert records.seqs() == before
    own = cookie | {"sec-fetch-site": "same-origin"}
    assert anonymous.request(method, path, json=body, headers=own).status_code not in (401, 403)
