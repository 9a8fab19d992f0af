"""Every route of the template: who may use it, and that another tenant's things look like none at all.

A route that the template has and `ROUTES` has not fails here until somebody says who may use it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from local.template import parse_yaml
from tests.conftest import ROOT, Api, RunningStack
from tests.stack.route_surface import (
    UNKNOWN_RUN,
    completed_export,
    ended_job,
    read_job,
    refusal,
    start_backup,
)

pytestmark = pytest.mark.usefixtures("direct")

LEVELS = ("viewer", "operator", "admin")


@dataclass(frozen=True)
class Access:
    """Who may use a route (None: everybody), where its tenant stands, and how it answers the admin's probe.

    The tenant is in the `path`, `named` in query, body or header, in the `header` alone, that of the `run`, or there is
    `none`. The probe is a request without a body, with ids of runs that do not exist.
    """

    role: str | None
    tenant: str
    answer: int


DASHBOARD = {
    "GET exports": Access("viewer", "path", 200),
    "POST exports": Access("operator", "path", 400),
    "POST exports/estimate": Access("operator", "path", 400),
    "GET exports/{exportId}": Access("viewer", "path", 404),
    "DELETE exports/{exportId}": Access("operator", "path", 404),
    "GET exports/{exportId}/progress": Access("viewer", "path", 404),
    "POST exports/{exportId}/cancel": Access("operator", "path", 404),
    "POST bulk/delete": Access("operator", "path", 400),
    "POST bulk/reassign": Access("operator", "path", 400),
    "POST bulk/undo": Access("operator", "path", 400),
    "GET bulk/operations": Access("viewer", "path", 200),
    "GET trash": Access("viewer", "path", 200),
    "POST trash/{itemId}": Access("operator", "path", 404),
    "POST trash/{itemId}/restore": Access("operator", "path", 404),
    "DELETE trash/{itemId}": Access("admin", "path", 404),
}
NAMED_IN_BODY = (
    "POST /api/backup/export", "POST /api/backup/export-logs", "POST /api/backup/estimate", "POST /api/backup/restore"
)  # fmt: skip
ROUTES = {
    "GET /api/backup": Access("viewer", "named", 200),
    "POST /api/backup/export": Access("admin", "named", 400),
    "POST /api/backup/export-logs": Access("admin", "named", 400),
    "POST /api/backup/estimate": Access("admin", "named", 400),
    "GET /api/backup/stats": Access("viewer", "named", 200),
    "GET /api/backup/protection": Access("viewer", "none", 200),
    "GET /api/backup/settings": Access("viewer", "named", 200),
    "PUT /api/backup/settings": Access("admin", "named", 400),
    "POST /api/backup/settings/preview": Access("admin", "named", 400),
    "POST /api/backup/settings/test": Access("admin", "named", 400),
    "GET /api/backup/{id}": Access("viewer", "run", 404),
    "DELETE /api/backup/{id}": Access("admin", "run", 404),
    "GET /api/backup/{id}/download": Access("admin", "run", 404),
    "POST /api/backup/{id}/pin": Access("admin", "run", 404),
    "POST /api/backup/{id}/unpin": Access("admin", "run", 404),
    "POST /api/backup/{id}/verify": Access("admin", "run", 404),
    "POST /api/backup/{id}/compare": Access("admin", "run", 404),
    "GET /api/backup/compare/{id}": Access("admin", "run", 400),
    "POST /api/backup/compare/{id}/bring-back": Access("admin", "run", 400),
    "POST /api/backup/restore": Access("admin", "named", 400),
    "POST /api/backup/restore/{job_id}/revert": Access("admin", "run", 404),
    "GET /api/jobs": Access("viewer", "named", 200),
    "GET /api/jobs/stats": Access("viewer", "named", 200),
    "GET /api/jobs/{id}": Access("viewer", "run", 404),
    "GET /api/jobs/{id}/timeline": Access("viewer", "run", 404),
    "POST /api/jobs/bulk": Access("operator", "none", 400),
    "POST /api/jobs/{id}/cancel": Access("operator", "run", 404),
    "POST /api/jobs/{id}/retry": Access("operator", "run", 404),
    "POST /api/v1/batch": Access("viewer", "header", 400),
    "POST /api/v1/graphql": Access("viewer", "header", 400),
    "GET /api/v1/stream/{entity}": Access("viewer", "header", 200),
    "GET /api/v1/{entity}": Access("viewer", "header", 200),
    "POST /api/v1/{entity}": Access("operator", "header", 400),
    "GET /api/v1/{entity}/{id}": Access("viewer", "header", 404),
    "GET /api/v1/{entity}/{id}/history": Access("admin", "header", 404),
    "PATCH /api/v1/{entity}/{id}": Access("operator", "header", 400),
    "DELETE /api/v1/{entity}/{id}": Access("operator", "header", 404),
    "PATCH /api/v1/bulk/{entity}": Access("operator", "header", 400),
    "POST /api/v1/bulk/{entity}/delete": Access("operator", "header", 400),
    "POST /api/v1/import/{entity}": Access("operator", "header", 400),
    "POST /api/v1/import/{entity}/file": Access("operator", "header", 400),
    "POST /api/v1/import/{entity}/file/{id}/start": Access("operator", "run", 404),
    "GET /api/v1/me": Access("viewer", "none", 200),
    "GET /api/v1/tenants": Access("viewer", "none", 200),
    "GET /api/v1/api-keys": Access("admin", "header", 200),
    "POST /api/v1/api-keys": Access("admin", "header", 400),
    "DELETE /api/v1/api-keys/{id}": Access("admin", "header", 404),
    "GET /api/v1/entities": Access("viewer", "none", 200),
    "GET /api/v1/audit": Access("admin", "named", 200),
    "GET /api/v1/attention": Access("viewer", "none", 200),
    "GET /api/v1/health": Access(None, "none", 200),
    "POST /api/session": Access(None, "none", 400),
    "DELETE /api/session": Access(None, "none", 204),
    "GET /api/v1/openapi.json": Access(None, "none", 200),
    "HEAD /api/v1/openapi.json": Access(None, "none", 200),
    "GET /docs": Access(None, "none", 200),
    "HEAD /docs": Access(None, "none", 200),
    "GET /docs/{file}": Access(None, "none", 404),
    "HEAD /docs/{file}": Access(None, "none", 404),
    "GET /console": Access(None, "none", 200),
    "HEAD /console": Access(None, "none", 200),
    "GET /console/{path+}": Access(None, "none", 200),
    "HEAD /console/{path+}": Access(None, "none", 200),
    "GET /api/downloads/{token}": Access(None, "none", 404),
    "HEAD /api/downloads/{token}": Access(None, "none", 404),
} | {
    f"{route.split()[0]} {mount}/{{guildId}}/{route.split()[1]}": access
    for mount in ("/api/guilds", "/api/v1/guilds")
    for route, access in DASHBOARD.items()
}


BODIES: dict[str, Any] = {
    "POST /api/backup/settings/test": {"notify": {"telegram": "1"}},
    "POST /api/backup/restore": {"backup_id": "0193476e-5a00-7c3a-9b1e-2f6d8c4b7a10", "mode": "new_schema"},
    "POST /api/v1/bulk/{entity}/delete": {"ids": ["tsk_1"]},
    "POST /api/v1/import/{entity}/file": {"filename": "tasks.csv", "size": 1, "type": "csv"},
    "POST /api/v1/api-keys": {"name": "a key", "role": "viewer"},
}
"""What a route must be sent before it looks at the tenant; the others look first, or take an empty object."""


def template_routes() -> list[str]:
    """`METHOD /path` of every route of the template but `$default`."""
    template = parse_yaml(Path(ROOT / "template.yaml").read_text())
    events = [
        event["Properties"]
        for resource in template["Resources"].values()
        for event in (resource.get("Properties") or {}).get("Events", {}).values()
        if event["Type"] == "HttpApi"
    ]
    return sorted(f"{event['Method']} {event['Path']}" for event in events if "Path" in event)


TEMPLATE_ROUTES = template_routes()
FOR_CALLERS = [route for route in TEMPLATE_ROUTES if route not in ROUTES or ROUTES[route].role]


def of_kind(*kinds: str) -> list[str]:
    return [route for route in TEMPLATE_ROUTES if route in ROUTES and ROUTES[route].tenant in kinds]


def send(api: Api, route: str, *, tenant: str = "acme2", run: str = UNKNOWN_RUN, **options: Any) -> requests.Response:
    """Call a route with its placeholders filled in."""
    method, path = route.split()
    path = path.replace("{guildId}", tenant).replace("{token}", "nonsense").replace("{entity}", "tasks")
    return api.request(method, re.sub(r"\{\w+\+?\}", run, path), **options)


@pytest.fixture(scope="module")
def runs(stack: RunningStack) -> Iterator[dict[str, str]]:
    """A completed export and a completed backup of acme2."""
    with Api(stack.api_url, stack.tokens["admin"]) as api:
        backup = start_backup(api)
        export = completed_export(api)["id"]
        assert ended_job(api, backup)["status"] == "completed"
        yield {"export": export, "backup": backup}


def run_for(route: str, runs: dict[str, str]) -> str:
    return runs["backup"] if "/api/backup" in route else runs["export"]


def test_every_route_of_the_template_says_who_may_use_it() -> None:
    assert sorted(ROUTES) == TEMPLATE_ROUTES


@pytest.mark.parametrize("route", FOR_CALLERS)
def test_without_credentials_a_route_answers_401(route: str, anonymous: Api, runs: dict[str, str]) -> None:
    for tenant, run in (("acme2", run_for(route, runs)), ("nosuch", UNKNOWN_RUN)):
        response = send(anonymous, route, tenant=tenant, run=run, json={})
        assert refusal(response, 401, "unauthenticated")["error"] == "Sign in first."
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", FOR_CALLERS)
def test_a_token_that_is_none_answers_401(route: str, anonymous: Api) -> None:
    response = send(anonymous, route, headers={"authorization": "Bearer garbage"})
    refusal(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("route", TEMPLATE_ROUTES)
def test_a_route_takes_its_role_and_higher_ones_only(
    route: str, level: str, api: Callable[[str | None], Api], runs: dict[str, str]
) -> None:
    access = ROUTES[route]
    headers = {"x-tenant-id": "acme2"} if access.tenant in ("named", "header") else {}
    if access.role and LEVELS.index(level) < LEVELS.index(access.role):
        before = read_job(api("admin"), run_for(route, runs))
        response = send(api(level), route, run=run_for(route, runs), headers=headers)
        body = refusal(response, 403, "role_too_low")
        assert body["error"] == f"This needs the role {access.role}; yours is {level}."
        assert read_job(api("admin"), run_for(route, runs)) == before
    else:
        response = send(api(level), route, headers=headers)
        assert response.status_code == access.answer, response.text


@pytest.mark.parametrize("route", of_kind("path"))
def test_another_tenants_path_answers_as_one_that_does_not_exist(
    route: str, other: Api, admin: Api, runs: dict[str, str]
) -> None:
    before = read_job(admin, runs["export"])
    existing = send(other, route, tenant="acme2", run=runs["export"], json={})
    missing = send(other, route, tenant="nosuch", run=runs["export"], json={})
    assert refusal(existing, 404, "tenant_not_found") == refusal(missing, 404, "tenant_not_found")
    assert headers_of(existing) == headers_of(missing)
    assert read_job(admin, runs["export"]) == before


@pytest.mark.parametrize("route", [route for route in of_kind("path") if "{exportId}" in route])
def test_a_run_is_not_found_under_a_tenant_that_it_does_not_belong_to(
    route: str, other: Api, admin: Api, runs: dict[str, str]
) -> None:
    before = read_job(admin, runs["export"])
    for caller in (other, admin):
        existing = send(caller, route, tenant="globex", run=runs["export"])
        missing = send(caller, route, tenant="globex", run=UNKNOWN_RUN)
        assert refusal(existing, 404, "not_found") == refusal(missing, 404, "not_found")
    assert read_job(admin, runs["export"]) == before


ABOUT_RUNS: dict[str, Any] = {
    "GET /api/backup/compare/{id}": {"params": {"entity": "accounts", "kind": "changed"}},
    "POST /api/backup/compare/{id}/bring-back": {"json": {"entity": "accounts", "ids": ["a"]}},
}
"""What a request about a run needs besides its id, to be looked up."""


@pytest.mark.parametrize("route", of_kind("run"))
def test_another_tenants_run_answers_as_one_that_does_not_exist(
    route: str, other: Api, admin: Api, runs: dict[str, str]
) -> None:
    run = run_for(route, runs)
    before = read_job(admin, run)
    for headers in ({}, {"x-tenant-id": "acme2"}, {"x-tenant-id": "globex"}):
        about = ABOUT_RUNS.get(route, {})
        existing = send(other, route, run=run, headers=headers, **about)
        missing = send(other, route, run=UNKNOWN_RUN, headers=headers, **about)
        nonsense = send(other, route, run="nonsense", headers=headers, **about)
        assert refusal(existing, 404, "not_found") == refusal(missing, 404, "not_found")
        assert refusal(existing, 404, "not_found") == refusal(nonsense, 404, "not_found")
        assert headers_of(existing) == headers_of(missing)
    assert read_job(admin, run) == before


@pytest.mark.parametrize("route", of_kind("named", "header"))
def test_another_tenant_named_answers_as_one_that_does_not_exist(route: str, other: Api, admin: Api) -> None:
    before = admin.get("/api/backup?project_id=acme2").json()["total"]

    def name(tenant: str) -> list[requests.Response]:
        by_header = send(other, route, headers={"x-tenant-id": tenant}, json=BODIES.get(route, {}))
        if ROUTES[route].tenant == "header":
            return [by_header]
        if route in NAMED_IN_BODY:
            return [by_header, send(other, route, json={"project_id": tenant, **BODIES.get(route, {})})]
        body = {} if route.startswith("GET") else {"json": BODIES.get(route, {})}
        return [by_header, send(other, route, params={"project_id": tenant}, **body)]

    for existing, missing in zip(name("acme2"), name("nosuch"), strict=True):
        assert refusal(existing, 404, "tenant_not_found") == refusal(missing, 404, "tenant_not_found")
        assert headers_of(existing) == headers_of(missing)
    assert admin.get("/api/backup?project_id=acme2").json()["total"] == before


@pytest.mark.parametrize("route", of_kind("path"))
def test_both_mounts_are_the_same_function(route: str, admin: Api) -> None:
    twin = route.replace("/api/v1/", "/api/") if "/api/v1/" in route else route.replace("/api/", "/api/v1/")
    assert twin in TEMPLATE_ROUTES
    ours, theirs = send(admin, route, json={}), send(admin, twin, json={})
    assert ours.status_code == theirs.status_code
    assert without_request(ours) == without_request(theirs)


def without_request(response: requests.Response) -> Any:
    return {name: value for name, value in response.json().items() if name != "requestId"}


def headers_of(response: requests.Response) -> dict[str, str]:
    """The headers of an answer without what no two answers share."""
    return {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower() not in ("apigw-requestid", "date") and not name.lower().startswith("ratelimit-")
    }
