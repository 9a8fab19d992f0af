"""What a browser lets the pages of a dashboard do: at the front by the API's rules, at storage by the bucket's."""

import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import ask, csv_file, ended, start
from tests.stack.test_access_routes import TEMPLATE_ROUTES, send

CONSOLE, FOREIGN = "http://localhost:3000", "https://evil.example.com"
SENT = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "X-API-Key",
    "X-Tenant-Id",
)  # fmt: skip
"""The headers that clients send beside those which need no leave."""
READ = (
    "etag", "location", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
    "content-disposition",
)  # fmt: skip
"""The headers of answers that clients read."""
TASKS = csv_file("title", "from a browser")


def names(response: requests.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers.get(header, "").split(",")} - {""}


def asked(api: Api, route: str, origin: str) -> requests.Response:
    """What a browser is told that asks whether a page may call this route with these headers."""
    method, path = route.split()
    return send(
        api,
        f"OPTIONS {path}",
        headers={
            "origin": origin,
            "access-control-request-method": method,
            "access-control-request-headers": ",".join(SENT).lower(),
        },
    )


@pytest.mark.parametrize("route", [route for route in TEMPLATE_ROUTES if not route.startswith("HEAD")])
def test_a_page_of_the_console_may_call_every_route_with_the_headers_of_its_clients(route: str, anonymous: Api) -> None:
    told = asked(anonymous, route, CONSOLE)
    assert (told.status_code, told.content) == (204, b"")
    assert told.headers["access-control-allow-origin"] == CONSOLE
    assert told.headers["access-control-allow-credentials"] == "true"
    assert route.partition(" ")[0].lower() in names(told, "access-control-allow-methods")
    assert names(told, "access-control-allow-headers") >= {name.lower() for name in SENT}


@pytest.mark.parametrize("route", TEMPLATE_ROUTES)
def test_a_page_of_somebody_else_may_call_none(route: str, anonymous: Api) -> None:
    told = asked(anonymous, route, FOREIGN)
    assert not [name for name in told.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("origin", ["null", "http://localhost:3001", "https://localhost:3000", CONSOLE + ".evil.com"])
def test_an_origin_is_listed_or_not(origin: str, anonymous: Api) -> None:
    told = asked(anonymous, "GET /api/jobs", origin)
    assert "access-control-allow-origin" not in told.headers


def test_a_page_of_the_console_reads_refusals_and_headers_too(anonymous: Api) -> None:
    answer = anonymous.get("/api/jobs", headers={"origin": CONSOLE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, CONSOLE)
    assert names(answer, "access-control-expose-headers") >= set(READ)


@pytest.fixture
def storage(stack: RunningStack) -> str:
    """The address to which files of imports are uploaded."""
    return f"{stack.aws_url}/{stack.resources['UploadsBucket']}"


def asked_of_storage(storage: str, origin: str, method: str = "POST") -> requests.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "content-type, x-requested-with",
    }
    return requests.options(storage, headers=headers, timeout=10)


def test_storage_lets_pages_of_the_console_upload_and_nothing_else(storage: str) -> None:
    told = asked_of_storage(storage, CONSOLE)
    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == CONSOLE
    assert names(told, "access-control-allow-methods") == {"post"}
    assert names(told, "access-control-allow-headers") == {"content-type", "x-requested-with"}
    for refused in (
        asked_of_storage(storage, FOREIGN),
        asked_of_storage(storage, CONSOLE, "PUT"),
        asked_of_storage(storage, CONSOLE, "GET"),
    ):
        assert refused.status_code == 403
        assert "AccessForbidden" in refused.text
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("bucket", ["ExportsBucket", "BackupsBucket"])
def test_no_page_may_ask_the_other_buckets(stack: RunningStack, bucket: str) -> None:
    told = asked_of_storage(f"{stack.aws_url}/{stack.resources[bucket]}", CONSOLE)
    assert told.status_code == 403
    assert "access-control-allow-origin" not in told.headers


def test_a_browser_uploads_a_file_and_has_it_imported(operator: Api, storage: str) -> None:
    made = ask(operator, "tasks", "csv", len(TASKS)).json()["data"]
    assert made["upload"]["url"] == storage
    form, file = made["upload"]["fields"], {"file": ("tasks.csv", TASKS, "text/csv")}

    foreign = requests.post(storage, data=form, files=file, headers={"origin": FOREIGN}, timeout=10)
    assert not [name for name in foreign.headers if name.lower().startswith("access-control-")]
    put = requests.post(storage, data=form, files=file, headers={"origin": CONSOLE}, timeout=10)
    assert (put.status_code, put.headers["access-control-allow-origin"]) == (204, CONSOLE)
    assert names(put, "access-control-expose-headers") == {"etag"}
    assert put.headers["etag"].strip('"')

    assert start(operator, "tasks", made["id"]).status_code == 202
    assert ended(operator, made["id"])["result"]["created"] == 1


def test_a_page_of_the_console_reads_why_storage_refuses(operator: Api, storage: str) -> None:
    form = ask(operator, "tasks", "csv", 1).json()["data"]["upload"]["fields"]
    refused = requests.post(storage, data=form, files={"file": b"too long"}, headers={"origin": CONSOLE}, timeout=10)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, CONSOLE)
    assert "EntityTooLarge" in refused.text
