"""What a backup may be asked for: each documented bad input is refused, names its field and starts nothing."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.stack.route_surface import caller, fields, read_job, refusal

pytestmark = pytest.mark.usefixtures("direct")

ROUTES = ("/api/backup/export", "/api/backup/estimate")
LONGEST_PATH = "a" + "b" * 200

BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"format": "zip"}, "format"),
    ({"format": None}, "format"),
    ({"compress": "maybe"}, "compress"),
    ({"compress": "yes"}, "compress"),
    ({"compress": "true"}, "compress"),
    ({"compress": 1}, "compress"),
    ({"compress": 0.0}, "compress"),
    ({"compress": None}, "compress"),
    ({"notify_email": "nobody"}, "notify_email"),
    ({"notify_email": "a@b@example.com"}, "notify_email"),
    ({"notify_email": "a@example.com\nBcc: x@example.com"}, "notify_email"),
    ({"storage_path": "../globex"}, "storage_path"),
    ({"storage_path": "a/../b"}, "storage_path"),
    ({"storage_path": ".."}, "storage_path"),
    ({"storage_path": "."}, "storage_path"),
    ({"storage_path": "//etc"}, "storage_path"),
    ({"storage_path": "/"}, "storage_path"),
    ({"storage_path": ""}, "storage_path"),
    ({"storage_path": "-a"}, "storage_path"),
    ({"storage_path": "a b"}, "storage_path"),
    ({"storage_path": "a\\b"}, "storage_path"),
    ({"storage_path": "a\n"}, "storage_path"),
    ({"storage_path": "a%2f.."}, "storage_path"),
    ({"storage_path": "s3://bucket/x"}, "storage_path"),
    ({"storage_path": "ä"}, "storage_path"),
    ({"storage_path": LONGEST_PATH + "c"}, "storage_path"),
    ({"storage_path": 7}, "storage_path"),
    ({"project_id": "tenant acme"}, "project_id"),
    ({"project_id": "acme2/../globex"}, "project_id"),
    ({"project_id": ""}, "project_id"),
    ({"project_id": "a" * 101}, "project_id"),
    ({"project_id": 7}, "project_id"),
    ({"schema": "tenant_globex"}, "schema"),
    ({"projectId": "acme2"}, "projectId"),
]


def total(api: Api) -> int:
    return int(api.get("/api/backup?project_id=acme2&limit=1").json()["total"])


@pytest.mark.parametrize(("given", "field"), BAD_FIELDS, ids=str)
def test_a_bad_field_is_refused_by_name(given: dict[str, Any], field: str, admin: Api) -> None:
    before = total(admin)
    for route in ROUTES:
        body = refusal(admin.post(route, json={"project_id": "acme2"} | given), 400, "invalid_request")
        assert fields(body) == [field]
    assert total(admin) == before


def test_an_address_that_nobody_has_allowed_is_refused(admin: Api) -> None:
    before = total(admin)
    for route in ROUTES:
        body = refusal(
            admin.post(route, json={"project_id": "acme2", "notify_email": "ops@example.com"}),
            400,
            "address_not_allowed",
        )
        assert fields(body) == ["notify_email"]
    assert total(admin) == before


def test_what_a_tenants_id_is_made_of_is_told(admin: Api) -> None:
    body = refusal(admin.post(ROUTES[0], json={"project_id": "a b"}), 400, "invalid_request")
    assert body["error"] == "project_id: a tenant's id has 1 to 100 letters, digits, _ and -."


@pytest.mark.parametrize("body", ["", "nope", "[]", '[{"project_id": "acme2"}]', "null", '"acme2"'])
def test_a_body_that_is_no_json_object_is_refused(body: str, admin: Api) -> None:
    response = admin.post(ROUTES[0], data=body, headers={"content-type": "application/json", "x-tenant-id": "acme2"})
    refusal(response, 400, "invalid_request")
    form = {"content-type": "application/x-www-form-urlencoded", "x-tenant-id": "acme2"}
    refusal(admin.post(ROUTES[0], data="project_id=acme2", headers=form), 415, "unsupported_media_type")


@pytest.mark.parametrize("format", ["sql", "tar", "custom"])
def test_an_estimate_counts_what_the_backup_will_hold(format: str, admin: Api, database: psycopg.Connection) -> None:
    before = admin.get("/api/backup?project_id=acme&limit=1").json()
    response = admin.post(ROUTES[1], json={"project_id": "acme", "format": format})
    assert response.status_code == 200
    estimate = response.json()["data"]
    assert set(estimate) == {"bytes", "rows", "tables", "lane", "seconds"}
    tables = [
        name
        for (name,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'tenant_acme'").fetchall()
    ]
    rows = sum(database.execute(f"SELECT count(*) FROM tenant_acme.{name}").fetchall()[0][0] for name in tables)
    assert estimate["tables"] == len(tables)
    assert 0.8 * rows < estimate["rows"] < 1.2 * rows
    assert estimate["lane"] == "image"
    plain = admin.post(ROUTES[1], json={"project_id": "acme", "compress": False}).json()["data"]
    assert plain["bytes"] > estimate["bytes"]
    assert admin.get("/api/backup?project_id=acme&limit=1").json() == before


def test_an_accepted_backup_is_a_job(admin: Api) -> None:
    response = admin.post(ROUTES[0], json={"project_id": "initech"})
    assert response.status_code == 202
    data = response.json()["data"]
    assert set(response.json()) == {"data"}
    assert set(data) == {"job_id", "status", "project_id", "created_at"}
    assert str(UUID(data["job_id"])) == data["job_id"]
    assert (data["status"], data["project_id"]) == ("pending", "initech")
    assert response.headers["location"] == f"/api/jobs/{data['job_id']}"
    assert int(response.headers["retry-after"]) > 0
    assert read_job(admin, data["job_id"])["type"] == "export_backup"


def test_the_tenant_is_the_bodys_or_the_headers_or_the_only_one(stack: RunningStack, admin: Api) -> None:
    def project(response: Any) -> str:
        assert response.status_code == 202, response.text
        return str(response.json()["data"]["project_id"])

    assert (
        project(admin.post(ROUTES[0], json={"project_id": "initech"}, headers={"x-tenant-id": "nosuch"})) == "initech"
    )
    assert project(admin.post(ROUTES[0], json={}, headers={"x-tenant-id": "initech"})) == "initech"
    assert project(admin.post(ROUTES[0], json={"project_id": None}, headers={"x-tenant-id": "initech"})) == "initech"
    with caller(stack, tenants=["initech"]) as single:
        assert project(single.post(ROUTES[0], json={})) == "initech"
    refusal(admin.post(ROUTES[0], json={}), 400, "tenant_required")
    with caller(stack, tenants=["*"]) as everywhere:
        refusal(everywhere.post(ROUTES[0], json={}), 400, "tenant_required")
        refusal(everywhere.post(ROUTES[0], json={"project_id": "nosuch"}), 404, "tenant_not_found")


def test_operators_make_no_backups(operator: Api) -> None:
    before = total(operator)
    for route in ROUTES:
        refusal(operator.post(route, json={"project_id": "acme2"}), 403, "role_too_low")
    assert total(operator) == before
