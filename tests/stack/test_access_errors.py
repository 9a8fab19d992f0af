"""Errors have one shape, also where no route is, and ids survive whatever characters they hold."""

import socket
from base64 import urlsafe_b64encode
from urllib.parse import quote

import pytest
import requests

from stowage.basics.ids import encode_id
from tests.conftest import Api, RunningStack
from tests.stack.route_surface import UNKNOWN_RUN, completed_export, fields, refusal


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/nothing", "/api/jobs/", "/api//jobs", "/api/guilds//exports", "/API/jobs"]
)
def test_an_unknown_path_is_a_404_in_our_shape(path: str, admin: Api, anonymous: Api) -> None:
    for api in (admin, anonymous):
        for method in ("GET", "POST", "DELETE"):
            response = api.request(method, path)
            assert refusal(response, 404, "not_found")["error"] == "There is nothing at this address."


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/guilds/acme2/exports", "GET, POST"),
        ("PATCH", "/api/v1/guilds/acme2/exports/1", "DELETE, GET"),
        ("GET", "/api/guilds/acme2/exports/1/cancel", "POST"),
        ("DELETE", "/api/jobs", "GET"),
        ("POST", "/api/backup/1/download", "GET"),
        ("GET", "/api/session", "DELETE, POST"),
        ("PUT", "/api/v1/health", "GET"),
        ("PUT", "/api/v1/tasks", "GET, POST"),
    ],
)
def test_a_known_path_with_another_method_is_a_405_that_names_the_right_ones(
    method: str, path: str, allowed: str, anonymous: Api
) -> None:
    response = anonymous.request(method, path)
    assert refusal(response, 405, "method_not_allowed")["error"] == f"This address takes {allowed}."
    assert response.headers["allow"] == allowed


def test_head_is_not_a_method_of_any_route(admin: Api) -> None:
    response = admin.head("/api/jobs")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "GET", b"")


def test_every_answer_has_a_request_id_of_its_own(admin: Api) -> None:
    ids = {admin.get(f"/api/jobs/{UNKNOWN_RUN}").json()["requestId"] for _ in range(3)}
    assert len(ids) == 3


NASTY_IDS = (
    "https://example.com/p/1?a=b&c=d#e",
    "a/b",
    "../../jobs",
    "100%",
    "%2F",
    "%",
    "a?b",
    "a b",
    "a+b",
    "~",
    "~~",
    "~aGVsbG8",
    "{exportId}",
    "{guildId}",
    "ü💾",
    "\x00",
    "'; DROP TABLE x; --",
    "RUN#1",
    "a" * 2000,
)


@pytest.mark.parametrize("nasty", NASTY_IDS, ids=lambda nasty: nasty[:20].encode("unicode_escape").decode())
def test_an_id_may_hold_any_character(nasty: str, admin: Api) -> None:
    for form in (quote(nasty, safe=""), encode_id(nasty)):
        for path in (
            f"/api/jobs/{form}",
            f"/api/backup/{form}",
            f"/api/jobs/{form}/timeline",
            f"/api/guilds/acme2/exports/{form}",
            f"/api/guilds/acme2/exports/{form}/progress",
        ):
            response = admin.get(path)
            # Where the gateway cuts the path at a question mark, another route may answer: still a plain 404.
            refusal(response, 404, "not_found")
    refusal(admin.get(f"/api/guilds/{encode_id(nasty)}/exports"), 404, "tenant_not_found")


def test_an_id_is_taken_in_either_form(admin: Api) -> None:
    record = completed_export(admin, "initech")
    encoded = "~" + urlsafe_b64encode(record["id"].encode()).decode().rstrip("=")
    assert admin.get(f"/api/guilds/initech/exports/{encoded}").json()["id"] == record["id"]
    assert admin.get(f"/api/jobs/{encoded}").json()["data"]["id"] == record["id"]


def test_an_undeclared_query_parameter_is_refused(admin: Api) -> None:
    body = refusal(admin.get("/api/jobs?stauts=failed&limit=1&Page=2"), 400, "invalid_request")
    assert fields(body) == ["Page", "stauts"]
    assert body["error"] == "There is no query parameter Page, stauts here."


def test_a_repeated_query_parameter_is_refused_where_one_is_meant(admin: Api) -> None:
    assert fields(refusal(admin.get("/api/jobs?limit=1&limit=2"), 400, "invalid_request")) == ["limit"]


@pytest.mark.parametrize("number", ["1_0", "1.0", "+1", " 1", "٣", ""])
def test_a_number_in_a_query_is_plain_digits(number: str, admin: Api) -> None:
    assert fields(refusal(admin.get("/api/jobs", params={"limit": number}), 400, "invalid_request")) == ["limit"]


def test_the_gateway_refuses_in_a_shape_of_its_own(admin: Api) -> None:
    response = admin.get("/api/v1/me", headers={"x-large": "a" * 10_240})
    assert (response.status_code, list(response.json())) == (431, ["message"])


def test_a_browser_of_a_listed_origin_may_read_what_it_needs(stack: RunningStack, admin: Api) -> None:
    listed = admin.get("/api/v1/me", headers={"origin": "http://localhost:3000"})
    assert listed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert listed.headers["access-control-allow-credentials"] == "true"
    exposed = listed.headers["access-control-expose-headers"].split(",")
    assert {"etag", "location", "retry-after", "ratelimit-remaining", "content-disposition"} <= set(exposed)
    foreign = admin.get("/api/v1/me", headers={"origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in foreign.headers
    preflight = requests.options(
        f"{stack.api_url}/api/guilds/acme2/exports",
        headers={
            "origin": "http://localhost:3000",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,idempotency-key",
        },
        timeout=10,
    )
    assert preflight.status_code == 204
    allowed = preflight.headers["access-control-allow-headers"].split(",")
    assert {"authorization", "content-type", "idempotency-key", "last-event-id", "if-none-match"} <= set(allowed)


def test_a_path_that_is_not_utf8_is_a_404(stack: RunningStack) -> None:
    host, port = stack.api_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        token = stack.tokens["admin"]
        head = "GET /api/jobs/%FF%FE HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\n\r\n"
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 404 ")
