"""Every route that changes something, with a request that would: who is refused, and that nothing has changed then.

A route of the template that `DEEDS` lacks fails here until it has a request that works.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import csv_file, uploaded
from tests.stack.office import Office, open_office, refusal
from tests.stack.route_surface import completed_export, ended_job, start_backup
from tests.stack.test_access_routes import LEVELS, ROUTES, TEMPLATE_ROUTES
from tests.stack.test_access_session import FOREIGN

pytestmark = pytest.mark.usefixtures("direct")

type Json = Any
CONSOLE = "http://localhost:3000"
EXPORT = {"format": "csv", "mode": "all", "dataType": "accounts"}
TASKS = csv_file("title", "one")
OPEN = ("POST /api/session", "DELETE /api/session")
"""Who signs in or out has no role yet (test_access_session)."""


@dataclass
class Scene:
    """A tenant with something for every route: `<name>` in a path or body stands for what it makes on demand."""

    office: Office
    maker: Api = field(init=False)

    def __post_init__(self) -> None:
        self.maker = self.office.caller()
        self.office.accounts("a", "gone")
        self.office.posts("a", "p")
        self.office.run("INSERT INTO tasks (id, title) VALUES ('k', 'x')")
        self.operation = self.office.delete("gone")["operationId"]

    @cached_property
    def export(self) -> str:
        return str(completed_export(self.maker, self.office.id)["id"])

    @cached_property
    def backup(self) -> str:
        admin = self.office.caller("admin")
        job = start_backup(admin, self.office.id)
        assert ended_job(admin, job)["status"] == "completed"
        return job

    @cached_property
    def compare(self) -> str:
        admin = self.office.caller("admin")
        job = admin.post(f"/api/backup/{self.backup}/compare", json={"entities": ["tasks"]}).json()["data"]["id"]
        assert ended_job(admin, job)["status"] == "completed"
        return str(job)

    @cached_property
    def upload(self) -> str:
        return uploaded(self.maker, "tasks", "csv", TASKS, self.office.id)

    @cached_property
    def key(self) -> str:
        """The id of an API key."""
        asked = {"json": {"name": "for a program", "role": "viewer"}, "headers": {"x-tenant-id": self.office.id}}
        return str(self.office.caller("admin").post("/api/v1/api-keys", **asked).json()["id"])

    def filled(self, given: Json) -> Json:
        """A path or body with what its names stand for."""
        if isinstance(given, dict):
            return {key: self.filled(value) for key, value in given.items()}
        if not isinstance(given, str):
            return given
        for name in ("export", "backup", "compare", "upload", "operation", "key"):
            if f"<{name}>" in given:
                given = given.replace(f"<{name}>", getattr(self, name))
        return given.replace("{guildId}", self.office.id).replace("<tenant>", self.office.id)

    def state(self, dynamodb: Any) -> Json:
        """The tenant's records, its journal but for what is written late of runs, and its runs."""
        office, table = self.office, self.office.stack.resources["Table"]
        records = {name: office.rows(name) for name in ("accounts", "posts", "tasks", "brands", "groups", "users")}
        journal = office.database.execute(
            "SELECT count(*) FROM stowage.changes WHERE tenant = %s AND entity <> 'runs'", (office.id,)
        ).fetchall()
        runs = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"T#{office.id}"}},
        )
        return (
            records,
            journal,
            [(item["sk"]["S"], item.get("status"), item.get("pinned_at")) for item in runs["Items"]],
        )


@dataclass(frozen=True)
class Deed:
    """A request that works, and its answer."""

    answer: int
    path: str
    body: Json = None

    @property
    def by_id(self) -> bool:
        """Whether it names something of its tenant (but a run, whose id says whose it is), besides the tenant."""
        named = ("exports/<", "trash/", "bulk/", "tasks/k", "api-keys/")
        return any(part in self.path for part in named)


DASHBOARD = {
    "POST exports": Deed(202, "exports", EXPORT),
    "POST exports/estimate": Deed(200, "exports/estimate", EXPORT),
    "DELETE exports/{exportId}": Deed(200, "exports/<export>"),
    "POST exports/{exportId}/cancel": Deed(409, "exports/<export>/cancel"),
    "POST bulk/delete": Deed(200, "bulk/delete", {"ids": ["a"], "dataType": "accounts"}),
    "POST bulk/reassign": Deed(200, "bulk/reassign", {"ids": ["a"], "targetBrandId": "brd_2"}),
    "POST bulk/undo": Deed(200, "bulk/undo", {"operationId": "<operation>"}),
    "POST trash/{itemId}": Deed(200, "trash/gone", {}),
    "POST trash/{itemId}/restore": Deed(200, "trash/gone/restore", {}),
    "DELETE trash/{itemId}": Deed(200, "trash/gone"),
}
DEEDS = {
    "POST /api/backup/export": Deed(202, "/api/backup/export", {"project_id": "<tenant>"}),
    "POST /api/backup/export-logs": Deed(202, "/api/backup/export-logs", {"project_id": "<tenant>"}),
    "POST /api/backup/estimate": Deed(200, "/api/backup/estimate", {"project_id": "<tenant>"}),
    "PUT /api/backup/settings": Deed(200, "/api/backup/settings?project_id=<tenant>", {"format": "tar"}),
    "POST /api/backup/settings/preview": Deed(200, "/api/backup/settings/preview?project_id=<tenant>", {}),
    "POST /api/backup/settings/test": Deed(
        200, "/api/backup/settings/test?project_id=<tenant>", {"notify": {"email": ["ops@example.com"]}}
    ),
    "POST /api/backup/{id}/pin": Deed(200, "/api/backup/<backup>/pin"),
    "POST /api/backup/{id}/unpin": Deed(409, "/api/backup/<backup>/unpin"),
    "POST /api/backup/{id}/verify": Deed(202, "/api/backup/<backup>/verify", {}),
    "POST /api/backup/{id}/compare": Deed(202, "/api/backup/<backup>/compare", {"entities": ["tasks"]}),
    "POST /api/backup/compare/{id}/bring-back": Deed(
        200, "/api/backup/compare/<compare>/bring-back", {"entity": "tasks", "ids": ["k"]}
    ),
    "POST /api/backup/restore": Deed(
        202, "/api/backup/restore", {"project_id": "<tenant>", "backup_id": "<backup>", "mode": "new_schema"}
    ),
    "POST /api/backup/restore/{job_id}/revert": Deed(404, "/api/backup/restore/<backup>/revert", {}),
    "DELETE /api/backup/{id}": Deed(204, "/api/backup/<backup>?force=true"),
    "POST /api/jobs/bulk": Deed(
        200, "/api/jobs/bulk", {"action": "cancel", "filter": {"project_id": "<tenant>", "type": "export"}}
    ),
    "POST /api/jobs/{id}/cancel": Deed(409, "/api/jobs/<export>/cancel"),
    "POST /api/jobs/{id}/retry": Deed(409, "/api/jobs/<export>/retry"),
    "POST /api/v1/api-keys": Deed(201, "/api/v1/api-keys", {"name": "for a program", "role": "viewer"}),
    "DELETE /api/v1/api-keys/{id}": Deed(204, "/api/v1/api-keys/<key>"),
    "POST /api/v1/batch": Deed(200, "/api/v1/batch", {"requests": [{"id": "a", "method": "GET", "path": "/tasks"}]}),
    "POST /api/v1/graphql": Deed(200, "/api/v1/graphql", {"query": '{ task(id: "k") { id } }'}),
    "POST /api/v1/{entity}": Deed(201, "/api/v1/tasks", {"title": "new"}),
    "PATCH /api/v1/{entity}/{id}": Deed(200, "/api/v1/tasks/k", {"title": "changed"}),
    "DELETE /api/v1/{entity}/{id}": Deed(200, "/api/v1/tasks/k"),
    "PATCH /api/v1/bulk/{entity}": Deed(200, "/api/v1/bulk/tasks", {"updates": [{"id": "k", "title": "changed"}]}),
    "POST /api/v1/bulk/{entity}/delete": Deed(200, "/api/v1/bulk/tasks/delete", {"ids": ["k"]}),
    "POST /api/v1/import/{entity}": Deed(201, "/api/v1/import/tasks", {"items": [{"title": "new"}]}),
    "POST /api/v1/import/{entity}/file": Deed(
        201, "/api/v1/import/tasks/file", {"filename": "t.csv", "size": 1, "type": "csv"}
    ),
    "POST /api/v1/import/{entity}/file/{id}/start": Deed(202, "/api/v1/import/tasks/file/<upload>/start", {}),
} | {
    f"{route.split()[0]} {mount}/{{guildId}}/{route.split()[1]}": Deed(
        deed.answer, f"{mount}/{{guildId}}/{deed.path}", deed.body
    )
    for mount in ("/api/guilds", "/api/v1/guilds")
    for route, deed in DASHBOARD.items()
}


@pytest.fixture(scope="module")
def shared(stack: RunningStack) -> Iterator[Scene]:
    """A scene that every request here is refused to change."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        scene = Scene(open_office(stack, database))
        assert scene.export
        assert scene.upload
        assert scene.compare
        assert scene.key
        yield scene
        scene.office.close()


@pytest.fixture(scope="module")
def elsewhere(stack: RunningStack) -> Iterator[Office]:
    """A tenant with nothing in it."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        office = open_office(stack, database)
        yield office
        office.close()


@contextmanager
def unchanged(scene: Scene, dynamodb: Any) -> Iterator[None]:
    """What is done in the block changes nothing."""
    before = scene.state(dynamodb)
    yield
    assert scene.state(dynamodb) == before


def do(api: Api, scene: Scene, route: str, headers: Json = None, tenant: str | None = None) -> requests.Response:
    """Send the route's request; for a tenant in its path or header other than its own, where one is given."""
    deed, own = DEEDS[route], scene.office.id
    path, body = scene.filled(deed.path), scene.filled(deed.body)
    if tenant:
        path = path.replace(f"/{own}/", f"/{tenant}/")
        body = {**body, "project_id": tenant} if body and "project_id" in body else body
    named = {"x-tenant-id": tenant or own} if ROUTES[route].tenant in ("header", "named") else {}
    return api.request(route.split(maxsplit=1)[0], path, json=body, headers=named | (headers or {}))


def test_every_route_that_changes_something_is_here() -> None:
    assert sorted(DEEDS) == [
        route for route in TEMPLATE_ROUTES if not route.startswith(("GET", "HEAD")) and route not in OPEN
    ]


@pytest.mark.parametrize("route", [route for route in DEEDS if "/api/v1/guilds" not in route])
def test_the_request_is_one_that_works(route: str, office: Office, anonymous: Api, dynamodb: Any) -> None:
    """By cookie, from a page of the console, for the lowest role that may: so it is refused below for nothing else."""
    scene = Scene(office)
    scene.filled(DEEDS[route].path)
    before = scene.state(dynamodb)
    token = office.caller(ROUTES[route].role or "").headers["authorization"].removeprefix("Bearer ")
    response = do(anonymous, scene, route, {"cookie": f"auth_token={token}", "origin": CONSOLE})
    assert response.status_code == DEEDS[route].answer, response.text
    changes = response.status_code not in (404, 409) and not route.endswith(
        ("estimate", "preview", "settings/test", "{entity}/file", "jobs/bulk", "batch", "graphql")
    )
    assert (scene.state(dynamodb) != before) == changes


def test_who_may_not_changes_nothing(shared: Scene, anonymous: Api, dynamodb: Any, subtests: pytest.Subtests) -> None:
    callers = {level: shared.office.caller(level) for level in LEVELS}
    with unchanged(shared, dynamodb):
        for route in DEEDS:
            with subtests.test(route):
                role = ROUTES[route].role
                assert role
                refusal(do(anonymous, shared, route), 401, "unauthenticated")
                for level in LEVELS[: LEVELS.index(role)]:
                    refusal(do(callers[level], shared, route), 403, "role_too_low")


def test_an_admin_of_another_tenant_changes_nothing_and_learns_nothing(
    shared: Scene, other: Api, dynamodb: Any, subtests: pytest.Subtests
) -> None:
    with unchanged(shared, dynamodb):
        for route in DEEDS:
            with subtests.test(route):
                is_of_run = ROUTES[route].tenant == "run"
                told = refusal(do(other, shared, route), 404, "not_found" if is_of_run else "tenant_not_found")
                if not is_of_run:
                    missing = refusal(do(other, shared, route, tenant="nosuch"), 404, "tenant_not_found")
                    assert told | {"requestId": ""} == missing | {"requestId": ""}


def test_ids_of_one_tenant_mean_nothing_in_another(
    shared: Scene, elsewhere: Office, dynamodb: Any, subtests: pytest.Subtests
) -> None:
    """Also to somebody who may see both."""
    both = shared.office.caller("admin", tenants=[shared.office.id, elsewhere.id])
    with unchanged(shared, dynamodb):
        for route in [route for route, deed in DEEDS.items() if deed.by_id]:
            with subtests.test(route):
                response = do(both, shared, route, tenant=elsewhere.id)
                assert response.status_code in (404, 207), response.text
                if response.status_code == 207:
                    told = response.json()
                    failures = told["results"] if "results" in told else told["data"]["failures"]
                    assert [failure["code"] for failure in failures] == ["not_found"]


def test_by_cookie_alone_only_pages_of_the_console_change_anything(
    shared: Scene, anonymous: Api, dynamodb: Any, subtests: pytest.Subtests
) -> None:
    token = shared.office.caller("admin").headers["authorization"].removeprefix("Bearer ")
    with unchanged(shared, dynamodb):
        for route in DEEDS:
            with subtests.test(route):
                for headers in FOREIGN:
                    cookie = {"cookie": f"auth_token={token}"} | headers
                    refusal(do(anonymous, shared, route, cookie), 403, "foreign_origin")


def test_the_same_origin_and_what_the_browser_vouches_for_are_taken(
    stack: RunningStack, anonymous: Api, subtests: pytest.Subtests
) -> None:
    """Taken means not refused for it: the requests are for a tenant that the token does not name."""
    cookie = {"cookie": f"auth_token={stack.tokens['other']}", "x-tenant-id": "nosuch"}
    for route, deed in DEEDS.items():
        path = deed.path.replace("{guildId}", "nosuch").replace("<", "").replace(">", "")
        body = {**deed.body, "project_id": "nosuch"} if "project_id" in (deed.body or {}) else deed.body
        for page in ({"origin": stack.api_url}, {"sec-fetch-site": "same-origin"}):
            with subtests.test(route, **page):
                response = anonymous.request(route.partition(" ")[0], path, json=body, headers=cookie | page)
                assert response.status_code == 404, response.text


READS = [route for route in TEMPLATE_ROUTES if route.startswith("GET") and ROUTES[route].role]


def test_reading_by_cookie_needs_no_page_of_ours(
    stack: RunningStack, anonymous: Api, subtests: pytest.Subtests
) -> None:
    cookie = {"cookie": f"auth_token={stack.tokens['admin']}", "x-tenant-id": "acme2"}
    for route in READS:
        headers = cookie if ROUTES[route].tenant in ("named", "header") else {"cookie": cookie["cookie"]}
        path = route.partition(" ")[2].replace("{guildId}", "acme2").replace("{entity}", "tasks")
        path = "/".join("01a1f7ff-0000-7000-8000-000000000000" if "{" in part else part for part in path.split("/"))
        with subtests.test(route):
            for foreign in FOREIGN:
                assert anonymous.get(path, headers=headers | foreign).status_code == ROUTES[route].answer
