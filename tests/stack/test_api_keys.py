"""API keys: made once, act with their role in their tenant, and open nothing once revoked or expired."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Api, RunningStack
from tests.stack.office import Office
from tests.stack.route_surface import refusal

URL = "/api/v1/api-keys"

pytestmark = pytest.mark.usefixtures("direct")


@pytest.fixture
def admin(office: Office) -> Api:
    return office.caller("admin")


def make(admin: Api, role: str = "viewer", **given: Any) -> dict[str, Any]:
    """A key that was just made."""
    headers = given.pop("headers", {})
    response = admin.post(URL, json={"name": "for a program", "role": role, **given}, headers=headers)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_key_acts_with_its_role_in_its_tenant(office: Office, admin: Api, stack: RunningStack) -> None:
    made = make(admin, "operator")
    assert made["key"].startswith(made["prefix"])
    assert made["expiresAt"] is None
    for headers in ({"authorization": f"Bearer {made['key']}"}, {"x-api-key": made["key"]}):
        with Api(stack.api_url, None) as program:
            program.headers.update(headers)
            me = program.get("/api/v1/me").json()
            assert (me["sub"], me["role"], me["tenants"]) == (f"api-key:{made['id']}", "operator", [office.id])
            assert program.post("/api/v1/tasks", json={"title": "by a program"}).status_code == 201
            refusal(program.get("/api/guilds/acme/exports"), 404, "tenant_not_found")
            refusal(program.get(URL), 403, "role_too_low")
            refusal(program.get("/api/v1/tasks", headers={"x-tenant-id": "acme"}), 404, "tenant_not_found")
    [listed] = admin.get(URL).json()["data"]
    assert listed["lastUsedAt"] >= listed["createdAt"]
    assert made["key"] not in str(listed)
    assert office.run(
        "SELECT actor FROM stowage.changes WHERE tenant = %s AND entity = 'tasks' LIMIT 1", office.id
    ) == [(f"api-key:{made['id']}",)]


def test_nothing_that_is_stored_holds_the_key(admin: Api, stack: RunningStack) -> None:
    made = make(admin, headers={"idempotency-key": "once"})
    assert make(admin, headers={"idempotency-key": "once"}) == made
    other = admin.post(URL, json={"name": "x", "role": "admin"}, headers={"idempotency-key": "once"})
    refusal(other, 409, "idempotency_mismatch")
    pages = stack.aws("dynamodb").get_paginator("scan").paginate(TableName=stack.resources["Table"])
    items = str([page["Items"] for page in pages])
    assert made["prefix"] in items
    assert made["key"] not in items
    assert made["key"][len(made["prefix"]) :] not in items


def test_an_idempotency_key_that_is_over_makes_another_key(office: Office, admin: Api, stack: RunningStack) -> None:
    first = make(admin, headers={"idempotency-key": "monthly"})
    items, table = stack.aws("dynamodb"), stack.resources["Table"]
    kept = items.query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :once)",
        ExpressionAttributeValues={":pk": {"S": f"T#{office.id}"}, ":once": {"S": "ONCE#"}},
    )["Items"]
    for item in kept:
        items.put_item(TableName=table, Item=item | {"expires_at": {"S": "2026-01-01T00:00:00.000Z"}})
    assert len(kept) == 1
    assert make(admin, headers={"idempotency-key": "monthly"})["key"] != first["key"]


def test_a_revoked_or_expired_key_opens_nothing(office: Office, admin: Api, stack: RunningStack) -> None:
    revoked = make(admin, headers={"idempotency-key": "r"})
    soon = make(admin, expiresAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert admin.delete(f"{URL}/{revoked['id']}").status_code == 204
    assert make(admin, headers={"idempotency-key": "r"})["key"] == revoked["key"], "told again, and still revoked"
    stack.aws("dynamodb").update_item(
        TableName=stack.resources["Table"],
        Key={"pk": {"S": f"APIKEY#{soon['id']}"}, "sk": {"S": "KEY"}},
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000Z"}},
    )
    tried = {
        "revoked": revoked["key"],
        "expired": soon["key"],
        "mistyped": soon["key"][:-1],
        "another secret": soon["key"][:13] + make(admin)["key"][13:],
    }
    for key in tried.values():
        with Api(stack.api_url, key) as program:
            refusal(program.get("/api/v1/me"), 401, "unauthenticated")
    refusal(admin.delete(f"{URL}/{revoked['id']}"), 404, "not_found")
    assert revoked["id"] not in [each["id"] for each in admin.get(URL).json()["data"]]


def test_a_key_is_no_session_and_another_tenants_key_is_not_there(
    office: Office, admin: Api, stack: RunningStack
) -> None:
    made = make(admin)
    with Api(stack.api_url, None) as page:
        refusal(page.post("/api/session", json={"token": made["key"]}), 401, "unauthenticated")
        refusal(page.get("/api/v1/me", headers={"cookie": f"auth_token={made['key']}"}), 401, "unauthenticated")
    with Api(stack.api_url, stack.tokens["admin"]) as other:
        headers = {"x-tenant-id": "acme"}
        refusal(other.delete(f"{URL}/{made['id']}", headers=headers), 404, "not_found")
        assert made["id"] not in [each["id"] for each in other.get(URL, headers=headers).json()["data"]]
    with Api(stack.api_url, made["key"]) as program:
        assert program.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"role": "owner"}, "role"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "infinity"}, "expiresAt"),
        ({"tenants": ["*"]}, "tenants"),
    ],
)
def test_what_makes_no_key_is_told_by_its_field(given: dict[str, Any], field: str, admin: Api) -> None:
    response = admin.post(URL, json={"name": "a name", "role": "viewer", **given})
    assert [each["field"] for each in refusal(response, 400, "invalid_request")["details"]] == [field]
    assert admin.get(URL).json()["data"] == []
