"""Upstream mode: the stack deployed with `BackendApiUrl`, asked through its front (docs/api.md, Ids)."""

import gzip
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from itertools import count, repeat
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import jwt
import pytest

from local.configuration import ACCOUNT, REGION
from stowage.basics.ids import is_emitted
from stowage.entry.routes import ROUTES
from tests.conftest import Api, LocalStack, RunningStack, free_ports, make_home
from tests.direct import Direct
from tests.stack.backend import BASE, JSON, Answer, Backend, Headers, Raw, Received, Stream, silence
from tests.stack.open_front import open_front
from tests.stack.route_surface import completed_export, ended_job, start_backup

type Json = Any
MOUNTS = ("/api/guilds/", "/api/v1/guilds/")
LINES = [*ROUTES]
DASHBOARD = [line for line in LINES if line.split()[1].startswith(MOUNTS)]
"""Every route of the dashboards: tests/structure holds this list against the template."""
CHANGING = [line for line in DASHBOARD if not line.startswith("GET ")]
OTHERS = [line for line in LINES if line not in DASHBOARD]

API_KEY = "key-of-the-backend"
EVENT_STREAM = [("content-type", "text/event-stream"), ("cache-control", "no-cache")]
MOST = 5_000_000
BODY = '{ "ids" : ["ä", "\\u00e9", 1.0,  2e3],\n"x": null, "x": 1 }\n'.encode()
"""JSON that would not survive being parsed and written anew."""


@dataclass(frozen=True)
class Reply:
    """What a client of the front gets."""

    status: int
    headers: Headers
    body: bytes
    seconds: float

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


@dataclass
class Dashboard:
    """One tenant's dashboard in front of the stack, and what the backend was asked for this tenant."""

    stack: RunningStack
    backend: Backend
    tenant: str
    mount: str = MOUNTS[0]

    def send(
        self,
        method: str,
        path: str,
        headers: Headers | None = None,
        body: bytes | None = None,
        token: str | None = "token",
    ) -> Reply:
        """Send exactly this, below the tenant's path; `token` goes as a header."""
        front = urlsplit(self.stack.api_url)
        connection = HTTPConnection(front.hostname or "", front.port, timeout=40)
        started = time.monotonic()
        try:
            connection.putrequest(method, f"{self.mount}{self.tenant}/{path}", skip_accept_encoding=True)
            if token is not None:
                connection.putheader("Authorization", f"Bearer {token}")
            for name, value in headers or []:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return Reply(response.status, response.getheaders(), content, time.monotonic() - started)

    def follow(self, route: str, headers: Headers | None = None, token: str | None = "token") -> Reply:
        """Send a request by a route of the template, its parameters filled in."""
        method, path = route.split()
        self.mount = next(mount for mount in MOUNTS if path.startswith(mount))
        below = re.sub(r"\{\w+\}", "id-1", path.partition("{guildId}/")[2])
        changes = method != "GET"
        sent = [("content-type", "application/json"), *(headers or [])] if changes else headers
        return self.send(method, below, sent, BODY if changes else None, token)

    def answers(self, answer: Any) -> None:
        """How the backend answers from now on."""
        self.backend.answers[self.tenant] = answer

    @property
    def received(self) -> list[Received]:
        """What has come to the backend."""
        return self.backend.received[self.tenant]


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """A backend that runs."""
    made = Backend(free_ports(1)[0])
    made.start()
    yield made
    made.stop()


@dataclass(frozen=True)
class Deployed:
    """A stack in upstream mode, and the export that was made there before it was."""

    stack: RunningStack
    export: Json


def export_without_backend(stack: RunningStack) -> Json:
    """An export as the same deployment made it before it had a backend: its functions did their work themselves."""
    handlers = Direct(stack.description, {"RetrySeconds": "1"})
    with handlers.warm(), Api(stack.api_url, stack.tokens["admin"]) as admin:
        Api.direct = handlers
        try:
            return completed_export(admin)
        finally:
            Api.direct = None


@pytest.fixture(scope="module")
def deployed(backend: Backend) -> Iterator[Deployed]:
    """A stack that was deployed with a backend and the key for it, with an export from before."""
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:backend"
    local = LocalStack(
        make_home(),
        STOWAGE_PARAMETER_RetrySeconds="1",
        STOWAGE_PARAMETER_BackendApiUrl=backend.url,
        STOWAGE_PARAMETER_BackendApiKeySecretArn=secret,
    )
    try:
        stack = local.start()
        client = stack.aws("secretsmanager")
        client.create_secret(Name="backend", SecretString=API_KEY)
        client.close()
        yield Deployed(stack, export_without_backend(stack))
    finally:
        local.stop()
        shutil.rmtree(local.home, ignore_errors=True)


@pytest.fixture(scope="module")
def upstream(deployed: Deployed) -> RunningStack:
    """The stack in upstream mode."""
    return deployed.stack


@pytest.fixture(scope="module")
def open_upstream(upstream: RunningStack) -> Iterator[RunningStack]:
    """The same behind a front that lets in pages of every site."""
    with open_front(upstream) as opened:
        yield opened


@pytest.fixture
def dashboard(open_upstream: RunningStack, backend: Backend) -> Dashboard:
    """The dashboard of a tenant that nobody has heard of, the stack least of all."""
    return Dashboard(open_upstream, backend, uuid4().hex)


def target_of(route: str, tenant: str) -> str:
    """Where a route's request must come to the backend."""
    method, path = route.split()
    below = path.partition("{guildId}/")[2]
    if (method, below) == ("POST", "trash/{itemId}"):
        below = "trash/{itemId}/restore"
    return f"{BASE}/api/v1/guilds/{tenant}/" + re.sub(r"\{\w+\}", "id-1", below)


def refused(reply: Reply, status: int, code: str) -> Json:
    """The body of a refusal of our own, in the contract's one shape."""
    assert (reply.status, reply.header("content-type")) == (status, "application/json"), reply.body[:1000]
    body = json.loads(reply.body)
    assert set(body) - {"details", "detailCount"} == {"success", "error", "message", "code", "requestId"}
    assert (body["success"], body["code"]) == (False, code)
    return body


# ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", DASHBOARD)
def test_a_dashboards_request_reaches_the_backend_as_it_was_sent_and_nothing_more(
    route: str, dashboard: Dashboard
) -> None:
    dashboard.answers(Answer(207, b'{"operationId":  "op_1"}\n'))
    method, path = route.split()
    dashboard.mount = next(mount for mount in MOUNTS if path.startswith(mount))
    below = re.sub(r"\{\w+\}", "id-1", path.partition("{guildId}/")[2])
    query = "page=2&filter=b&filter=a%20c&filter=a+d&empty=&=x&%2F=/%3f?;~'&bare"
    passing = [
        ("Accept", "application/json, text/*;q=0.5"),
        ("Content-Encoding", "identity"),
        ("Content-Type", "application/json; charset=UTF-8"),
        ("Idempotency-Key", "4f6d 8c4b/€".encode().decode("latin-1")),
        ("If-Match", '"abc"'),
        ("If-None-Match", 'W/"def", "ghi"'),
        ("Last-Event-ID", "17"),
    ]
    staying = [
        ("Cookie", "auth_token=of-the-cookie; theme=dark"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Upgrade", "websocket"),
        ("X-API-Key", "key-of-the-client"),
        ("X-Tenant-Id", "acme"),
        ("X-Forwarded-For", "10.1.1.1"),
        ("Forwarded", "for=10.1.1.1"),
        ("Origin", "https://evil.example.com"),
        ("Referer", "https://evil.example.com/page"),
        ("User-Agent", "test"),
    ]
    body = BODY if method != "GET" else None
    reply = dashboard.send(method, f"{below}?{query}", passing + staying, body, "a.b-c_d")

    [request] = dashboard.received
    assert (request.method, request.target) == (method, f"{target_of(route, dashboard.tenant)}?{query}")
    assert request.body == (body or b"")
    assert {name.lower(): value for name, value in request.headers} == {
        **{name.lower(): value for name, value in passing},
        **({"content-length": str(len(body))} if body else {}),
        "host": f"127.0.0.1:{dashboard.backend.port}",
        "accept-encoding": "identity",
        "authorization": "Bearer a.b-c_d",
        "x-api-key": API_KEY,
    }
    assert len(request.headers) == len({name.lower() for name, _ in request.headers})
    assert (reply.status, reply.body) == (207, b'{"operationId":  "op_1"}\n')


def test_a_post_without_a_body_has_none_at_the_backend(dashboard: Dashboard) -> None:
    assert dashboard.send("POST", "exports/id-1/cancel").status == 200
    [request] = dashboard.received
    assert (request.body, request.header("content-length")) == (b"", ["0"])


def test_a_body_of_four_megabytes_passes_and_a_larger_one_does_not(dashboard: Dashboard) -> None:
    body = b'{"x":"' + b"y" * 4_499_990 + b'"}'
    headers = [("Content-Type", "application/json")]
    assert dashboard.send("POST", "bulk/delete", headers, body).status == 200
    assert dashboard.received[0].body == body
    refused(dashboard.send("POST", "bulk/delete", headers, body + b" " * 100), 413, "too_large")
    assert len(dashboard.received) == 1


def test_a_body_that_is_no_json_is_the_backends_to_refuse(dashboard: Dashboard) -> None:
    for content_type, body in (("text/plain", b"{"), ("application/json", b"[1]"), ("image/png", b"\x89PNG\xff\x00")):
        dashboard.send("POST", "bulk/delete", [("Content-Type", content_type)], body)
        assert dashboard.received[-1].body == body


def test_a_body_whose_bytes_are_not_utf8_arrives_unchanged(dashboard: Dashboard) -> None:
    body = b'{"ids": ["\xf0\x9f\x98", "\xff"]}'
    headers = [("Content-Type", "application/json")]
    assert dashboard.send("POST", "bulk/delete", headers, body).status == 200
    [request] = dashboard.received
    assert request.body == body


def test_a_query_that_no_request_line_may_hold_is_quoted(dashboard: Dashboard) -> None:
    front = urlsplit(dashboard.stack.api_url)
    head = f"GET /api/guilds/{dashboard.tenant}/exports?search=ü HTTP/1.1\r\nHost: localhost\r\n"
    head += "Authorization: Bearer x\r\n\r\n"
    with socket.create_connection((front.hostname, front.port)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
    [request] = dashboard.received
    assert re.fullmatch("search=(%[0-9A-F]{2})+", request.target.partition("?")[2])


@pytest.mark.parametrize(
    ("sent", "arriving"),
    [
        ("acc_01.x-Y", "acc_01.x-Y"),
        ("...", "..."),
        ("~aHR0cHM6Ly94LmV4YW1wbGUvP2E9MQ", "~aHR0cHM6Ly94LmV4YW1wbGUvP2E9MQ"),
        ("%7EaHR0cHM6Ly94LmV4YW1wbGUvP2E9MQ", "~aHR0cHM6Ly94LmV4YW1wbGUvP2E9MQ"),
        ("https%3A%2F%2Fx.example%2Fp%23a", "https%3A%2F%2Fx.example%2Fp%23a"),
        ("https%3a%2f%2fx.example%2fp", "https%3A%2F%2Fx.example%2Fp"),
        ("~YWNj", "~YWNj"),
        ("a%20b", "a%20b"),
        ("a+b:c@d", "a%2Bb%3Ac%40d"),
        ("%C3%BC", "%C3%BC"),
        ("%2541", "%2541"),
        ("%7E%2F...%2Fx", "~%2F...%2Fx"),
        ("a..b%2F.c", "a..b%2F.c"),
        ("%252E%252E", "%252E%252E"),
        ("%7BitemId%7D", "%7BitemId%7D"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "there"),
    [("GET", "exports/{}/progress", "exports/{}/progress"), ("POST", "trash/{}", "trash/{}/restore")],
)
def test_an_id_arrives_percent_encoded_as_it_came_and_changes_nothing_where_it_may_have_been_cut(
    sent: str, arriving: str, method: str, path: str, there: str, dashboard: Dashboard
) -> None:
    reply = dashboard.send(method, path.format(sent))
    if method != "GET" and not is_emitted(unquote(sent)):
        assert refused(reply, 400, "encode_id")["details"][0]["field"] == "itemId"
        assert dashboard.received == []
        return
    [request] = dashboard.received
    assert request.target == f"{BASE}/api/v1/guilds/{dashboard.tenant}/" + there.format(arriving)


CLIMBING = [
    "%2E", "%2E%2E", "%2e%2E", ".%2E", "%2E%2E%2Fadmin", "..%2f..%2fadmin", "a%2F..%2F..%2Fb", "a%2F.%2Fb", "a%2F..",
    "%2F..", "..%5Cadmin", "a%5C..", "https%3A%2F%2Fx.example%2F..%2Fp",
]  # fmt: skip


@pytest.mark.parametrize("climbing", CLIMBING)
def test_neither_an_id_nor_a_tenant_leads_to_another_path_of_the_backend(climbing: str, dashboard: Dashboard) -> None:
    for path in ("exports/{}", "exports/{}/progress"):
        told = refused(dashboard.send("GET", path.format(climbing)), 400, "encode_id")
        assert told["details"][0]["field"] == "exportId"
    assert dashboard.received == []
    dashboard.tenant = climbing
    for method, path, body in (("GET", "exports", None), ("POST", "bulk/delete", b"{}")):
        assert refused(dashboard.send(method, path, body=body), 400, "encode_id")["details"][0]["field"] == "guildId"
    assert not any("admin" in tenant or ".." in tenant for tenant in dashboard.backend.received)


def test_a_tenant_with_a_slash_stays_one_part_of_the_path(dashboard: Dashboard) -> None:
    dashboard.tenant = "a%2Fb"
    assert dashboard.send("GET", "exports").status == 200
    [request] = dashboard.backend.received.pop("a%2Fb")
    assert request.target == f"{BASE}/api/v1/guilds/a%2Fb/exports"
    refused(dashboard.send("POST", "bulk/delete", body=b"{}"), 400, "encode_id")


@pytest.mark.parametrize("headers", [[], [("Idempotency-Key", "")]], ids=["none", "empty"])
@pytest.mark.parametrize(("method", "path"), [("POST", "bulk/delete"), ("DELETE", "trash/id-1")])
def test_a_change_without_an_idempotency_key_gets_one_of_its_own(
    method: str, path: str, headers: Headers, dashboard: Dashboard
) -> None:
    for _ in range(2):
        assert dashboard.send(method, path, headers).status == 200
    keys = [request.header("idempotency-key") for request in dashboard.received]
    assert all(len(each) == 1 and 16 <= len(each[0]) <= 255 for each in keys)
    assert keys[0] != keys[1]


def test_a_read_gets_no_idempotency_key(dashboard: Dashboard) -> None:
    dashboard.send("GET", "exports")
    assert dashboard.received[0].header("idempotency-key") == []


# ── Who asks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", DASHBOARD)
def test_without_a_token_the_backend_is_not_called(route: str, dashboard: Dashboard) -> None:
    reply = dashboard.follow(route, token=None)
    refused(reply, 401, "unauthenticated")
    assert reply.header("www-authenticate") == "Bearer"
    assert dashboard.received == []


@pytest.mark.parametrize(
    ("headers", "arriving"),
    [
        ([("Authorization", "Bearer head")], "Bearer head"),
        ([("authorization", "bearer head")], "Bearer head"),
        ([("Cookie", "auth_token=cook")], "Bearer cook"),
        ([("Cookie", "a=b; auth_token=cook; c=d")], "Bearer cook"),
        ([("Authorization", "Bearer head"), ("Cookie", "auth_token=cook")], "Bearer head"),
        ([("X-API-Key", "stw_ours"), ("Cookie", "auth_token=cook")], "Bearer cook"),
        ([("Cookie", "auth_token=")], None),
        ([("Cookie", "other=cook")], None),
        ([("Authorization", "Bearer")], None),
        ([("Authorization", "Basic eDp5"), ("Cookie", "auth_token=cook")], None),
        ([("Authorization", "Bearer stw_ours")], None),
        ([("Authorization", "Bearer stw_ours"), ("Cookie", "auth_token=cook")], None),
        ([("X-API-Key", "stw_ours")], None),
    ],
    ids=str,
)
def test_the_token_is_the_headers_or_the_cookies_and_no_key_of_ours(
    headers: Headers, arriving: str | None, dashboard: Dashboard
) -> None:
    reply = dashboard.send("GET", "exports", headers, token=None)
    if arriving is None:
        refused(reply, 401, "unauthenticated")
        refused(dashboard.send("POST", "bulk/undo", headers, b"{}", token=None), 401, "unauthenticated")
        assert dashboard.received == []
    else:
        assert reply.status == 200
        [request] = dashboard.received
        assert request.header("authorization") == [arriving]
        assert request.header("cookie") == []


def test_whatever_the_token_says_the_backend_judges_it(upstream: RunningStack, dashboard: Dashboard) -> None:
    claims = {"sub": "eve@example.com", "role": "admin", "tenants": [dashboard.tenant], "exp": int(time.time()) + 60}
    foreign = jwt.encode(claims, "k" * 64, algorithm="HS256")
    expired = jwt.encode(claims | {"exp": 1}, "k" * 64, algorithm="HS256")
    tokens = ["nonsense", foreign, expired, upstream.tokens["viewer"], upstream.tokens["other"]]
    dashboard.answers(Answer(401, b'{"message": "who are you?"}'))
    for token in tokens:
        reply = dashboard.send("DELETE", "trash/id-1", token=token)
        assert (reply.status, reply.body) == (401, b'{"message": "who are you?"}')
    assert [request.header("authorization") for request in dashboard.received] == [[f"Bearer {t}"] for t in tokens]


@pytest.mark.parametrize("route", CHANGING)
def test_a_change_by_cookie_needs_a_page_of_ours(route: str, dashboard: Dashboard) -> None:
    cookie = ("Cookie", "auth_token=cook")
    for headers in (
        [],
        [("Origin", "https://evil.example.com")],
        [("Origin", "null")],
        [("Sec-Fetch-Site", "cross-site")],
        [("X-API-Key", "anything")],
    ):
        refused(dashboard.follow(route, [cookie, *headers], token=None), 403, "foreign_origin")
    assert dashboard.received == []
    ours = (("Origin", dashboard.stack.api_url), ("Origin", "http://localhost:3000"), ("Sec-Fetch-Site", "same-origin"))
    for header in ours:
        assert dashboard.follow(route, [cookie, header], token=None).status == 200
    assert [request.header("authorization") for request in dashboard.received] == [["Bearer cook"]] * len(ours)


def test_reading_by_cookie_and_changing_by_header_need_no_origin(dashboard: Dashboard) -> None:
    foreign = ("Origin", "https://evil.example.com")
    assert dashboard.send("GET", "trash", [foreign, ("Cookie", "auth_token=cook")], token=None).status == 200
    assert dashboard.send("POST", "bulk/undo", [foreign], b"{}").status == 200
    assert len(dashboard.received) == 2


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "status", [200, 201, 202, 207, 400, 401, 403, 404, 405, 409, 410, 412, 415, 422, 429, 500, 502, 503, 504]
)
def test_the_backends_status_and_body_come_back_as_they_are(status: int, dashboard: Dashboard) -> None:
    body = '{ "error" : "nö",\r\n "n": 1.0, "n": 2 }\n'.encode()
    dashboard.answers(Answer(status, body))
    for method, path in (("GET", "exports"), ("POST", "bulk/delete"), ("DELETE", "trash/id-1")):
        reply = dashboard.send(method, path)
        assert (reply.status, reply.body, reply.header("content-type")) == (status, body, "application/json")


def test_headers_about_the_answer_come_back_and_those_about_the_connection_do_not(dashboard: Dashboard) -> None:
    passing = [
        ("content-type", "application/json; charset=utf-8"),
        ("etag", 'W/"1"'),
        ("location", "/api/v1/guilds/x/exports/1"),
        ("retry-after", "2"),
        ("cache-control", "no-store"),
        ("content-disposition", 'attachment; filename="a.csv"'),
        ("content-language", "de"),
        ("last-modified", "Fri, 20 Nov 2026 08:00:00 GMT"),
        ("www-authenticate", "Bearer"),
        ("vary", "accept"),
        ("allow", "GET"),
        ("ratelimit-limit", "10"),
        ("ratelimit-remaining", "3"),
        ("ratelimit-reset", "60"),
    ]
    staying = [
        ("set-cookie", "auth_token=evil; Path=/"),
        ("set-cookie", "b=2"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("trailer", "x-sum"),
        ("upgrade", "h2c"),
        ("access-control-allow-origin", "*"),
        ("server", "backend/1"),
        ("x-powered-by", "something"),
        ("strict-transport-security", "max-age=1"),
    ]
    dashboard.answers(Answer(202, b"{}", passing + staying + [("link", "</a>"), ("link", "</b>")]))
    reply = dashboard.send("GET", "exports", [("Origin", "https://evil.example.com")])
    given = {name.lower(): value for name, value in reply.headers}
    assert given.pop("apigw-requestid")
    assert given == dict(passing) | {"link": "</a>, </b>", "content-length": "2"}


def test_a_redirect_is_given_back_and_not_followed(dashboard: Dashboard) -> None:
    for status in (301, 302, 303, 307, 308):
        location = f"{dashboard.backend.url}elsewhere"
        dashboard.answers(Answer(status, b"moved", [("location", location), ("content-type", "text/html")]))
        before = dashboard.backend.count
        reply = dashboard.send("POST", "bulk/undo", body=b"{}")
        assert (reply.status, reply.header("location"), reply.body) == (status, location, b"moved")
        assert dashboard.backend.count == before + 1


def test_answers_without_a_body_have_none(dashboard: Dashboard) -> None:
    dashboard.answers(Answer(204, b"", []))
    reply = dashboard.send("GET", "exports/id-1/progress", [("Last-Event-ID", "9"), ("Accept", "text/event-stream")])
    assert (reply.status, reply.body, reply.header("content-type")) == (204, b"", None)
    dashboard.answers(Answer(304, b"", [("etag", '"9"')]))
    reply = dashboard.send("GET", "exports/id-1/progress", [("If-None-Match", '"9"')])
    assert (reply.status, reply.body, reply.header("etag")) == (304, b"", '"9"')
    dashboard.answers(Answer(200, b"", []))
    assert dashboard.send("GET", "exports").body == b""


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"\xff\xfe\x00\x01" + bytes(range(256))),
        ("text/plain", b"no JSON at all"),
        ("text/html; charset=iso-8859-1", "<h1>Störung</h1>".encode("latin-1")),
        ("application/json", b"{broken"),
        ("application/json", b'"\x00\x1f\xe2\x80\xa8"'),
        ("application/json", b'\xef\xbb\xbf{"bom": true}'),
        ("application/x-ndjson", b"{}\n{}\n"),
    ],
)
def test_an_answer_that_is_no_json_comes_back_to_the_byte(content_type: str, body: bytes, dashboard: Dashboard) -> None:
    dashboard.answers(Answer(500, body, [("content-type", content_type)]))
    reply = dashboard.send("GET", "exports")
    assert (reply.status, reply.body, reply.header("content-type")) == (500, body, content_type)


@pytest.mark.parametrize(
    "sent",
    [
        b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{"a": 1}\n',
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"a": 1}\n',
        b'HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 1}\n',
        b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}\n',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 1}\n',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n5;x=y\r\n: 1}\n\r\n0\r\nX-Sum: 1\r\n\r\n',
    ],
    ids=lambda sent: repr(sent[:70]),
)
def test_an_answer_may_come_in_every_way_that_http_has(sent: bytes, dashboard: Dashboard) -> None:
    dashboard.answers(Raw(sent))
    reply = dashboard.send("GET", "exports")
    assert (reply.status, reply.body) == (200, b'{"a": 1}\n')


def test_an_answer_that_the_backend_compressed_says_so(dashboard: Dashboard) -> None:
    body = gzip.compress(b'{"a": 1}')
    dashboard.answers(Answer(200, body, [*JSON, ("content-encoding", "gzip")]))
    reply = dashboard.send("GET", "exports")
    assert (reply.header("content-encoding"), reply.body) == ("gzip", body)


LARGE: dict[str, Callable[[], bytes]] = {
    "letters": lambda: b"x" * MOST,
    "two bytes each": lambda: "ü".encode() * (MOST // 2),
    "quotes": lambda: b'"' * MOST,
    "control characters": lambda: b"\x01" * MOST,
    "backslashes and records": lambda: (b'{"id":"a\\\\b","name":"\\"x\\""},\n' * (MOST // 20))[:MOST],
    "bytes that are no text": lambda: b"\xff" * MOST,
}


@pytest.mark.parametrize("kind", LARGE)
def test_an_answer_of_just_five_megabytes_passes_whatever_its_characters(kind: str, dashboard: Dashboard) -> None:
    body = LARGE[kind]()
    assert len(body) == MOST
    dashboard.answers(Answer(200, body))
    reply = dashboard.send("GET", "exports", [("Accept-Encoding", "deflate, gzip;q=0.5")])
    compressed = reply.header("content-encoding") == "gzip"
    assert reply.status == 200
    assert (gzip.decompress(reply.body) if compressed else reply.body) == body
    assert compressed == (kind not in ("letters", "two bytes each"))


def test_who_takes_no_compression_gets_as_much_as_the_gateway_carries(dashboard: Dashboard) -> None:
    for body in (b"x" * MOST, b'"' * 4_600_000, os.urandom(4_600_000)):
        dashboard.answers(Answer(200, body))
        reply = dashboard.send("GET", "exports")
        assert (reply.status, reply.header("content-encoding")) == (200, None)
        assert reply.body == body
    dashboard.answers(Answer(200, b'"' * MOST))
    for accepted in (None, "identity", "deflate, br", "gzip;q=0", "gzip; q=0.0, br"):
        headers = [("Accept-Encoding", accepted)] if accepted else []
        refused(dashboard.send("GET", "exports", headers), 502, "upstream_too_large")


def test_what_cannot_be_made_smaller_is_too_large(dashboard: Dashboard) -> None:
    for answer in (
        Answer(200, os.urandom(MOST)),
        Answer(200, gzip.compress(os.urandom(MOST - 10_000), 1), [*JSON, ("content-encoding", "gzip")]),
    ):
        dashboard.answers(answer)
        refused(dashboard.send("GET", "exports", [("Accept-Encoding", "gzip")]), 502, "upstream_too_large")


def test_an_answer_over_five_megabytes_is_refused(dashboard: Dashboard) -> None:
    for answer in (
        Answer(200, b"x" * (MOST + 1)),
        Answer(500, b"x" * 20_000_000),
        Stream(repeat(b"x" * 100_000), JSON),
        Stream(repeat(b"data: " + b"x" * 100_000 + b"\n\n"), EVENT_STREAM),
    ):
        dashboard.answers(answer)
        reply = dashboard.send("GET", "exports", [("Accept-Encoding", "gzip")])
        refused(reply, 502, "upstream_too_large")
        assert reply.seconds < 10


# ── A backend that does not answer ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"half": ',
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{"half": \r\n',
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
    ],
    ids=lambda sent: repr(sent[:70]),
)
def test_a_connection_that_breaks_off_is_a_502(sent: bytes, dashboard: Dashboard) -> None:
    dashboard.answers(Raw(sent))
    for method in ("GET", "POST"):
        refused(dashboard.send(method, "exports", body=b"{}"), 502, "upstream_unreachable")
    assert len(dashboard.received) == 2, "what may have been done is not done again"


def test_a_backend_that_is_not_there_is_a_502(dashboard: Dashboard) -> None:
    with dashboard.backend.gone():
        refused(dashboard.send("GET", "trash"), 502, "upstream_unreachable")
    assert dashboard.send("GET", "trash").status == 200


def test_a_backend_that_takes_no_connection_is_not_there(dashboard: Dashboard) -> None:
    with dashboard.backend.swamped():
        reply = dashboard.send("GET", "trash")
    refused(reply, 502, "upstream_unreachable")
    assert reply.seconds < 10


def half_events() -> Iterator[bytes]:
    for number in count(1):
        yield b"id: %d\r\nda" % number
        yield b'ta: {"progress": %d}\r\n\r' % number
        yield b"\n"


STALLED = b'retry: 2000\n\nid: 1\ndata: {"progress": 1}\n\n: still here\n\n'
LATE = {
    "silent": silence,
    "dripping": Stream(repeat(b" "), JSON, pause=0.2),
    "no body": Stream([b""], [*JSON, ("content-length", "2")], pause=60),
    "endless events": Stream(half_events(), EVENT_STREAM, pause=0.05),
    "stalled events": Stream([STALLED, b"id: 2\ndata: ha"], EVENT_STREAM, pause=60),
    "no event": Stream([b""], [("Content-Type", "Text/Event-Stream; charset=utf-8")], pause=60),
}


@pytest.fixture(scope="module")
def late(upstream: RunningStack, backend: Backend) -> dict[str, Reply]:
    """The front's replies where the backend takes its time, waited for all at once."""
    for kind, answer in LATE.items():
        backend.answers[kind.replace(" ", "-")] = answer
    with ThreadPoolExecutor(len(LATE)) as threads:
        waiting = {
            kind: threads.submit(
                partial(Dashboard(upstream, backend, kind.replace(" ", "-")).send, "GET", "exports/id-1/progress")
            )
            for kind in LATE
        }
        return {kind: future.result() for kind, future in waiting.items()}


@pytest.mark.parametrize("kind", ["silent", "dripping", "no body"])
def test_a_backend_that_takes_longer_than_25_seconds_is_a_504(kind: str, late: dict[str, Reply]) -> None:
    refused(late[kind], 504, "upstream_timeout")
    assert 25 <= late[kind].seconds < 29


def test_an_endless_event_stream_is_cut_after_20_seconds_between_two_events(late: dict[str, Reply]) -> None:
    reply = late["endless events"]
    assert (reply.status, reply.header("content-type")) == (200, "text/event-stream")
    assert 20 <= reply.seconds < 25
    numbers = range(1, reply.body.count(b"data:") + 1)
    assert len(numbers) > 20
    assert reply.body.rstrip(b"\n") + b"\n" == b"".join(
        b'id: %d\r\ndata: {"progress": %d}\r\n\r\n' % (number, number) for number in numbers
    )


def test_half_an_event_is_left_out_where_a_stream_stalls(late: dict[str, Reply]) -> None:
    assert (late["stalled events"].status, late["stalled events"].body) == (200, STALLED)
    assert (late["no event"].status, late["no event"].body) == (200, b"")
    assert 20 <= late["no event"].seconds < 25


def test_a_finite_event_stream_comes_as_it_is(dashboard: Dashboard) -> None:
    events = 'retry: 2000\n\nid: 1\ndata: {"progress": 50}\n\nid: 2\ndata: {"status": "complété"}\n\nno end'.encode()
    dashboard.answers(Stream([events[:30], events[30:61], events[61:]], EVENT_STREAM, pause=0.01))
    for mount in MOUNTS:
        dashboard.mount = mount
        reply = dashboard.send("GET", "exports/id-1/progress?wait=5", [("Accept", "text/event-stream")])
        assert (reply.status, reply.body) == (200, events)
        assert reply.header("content-type") == "text/event-stream"
        assert reply.header("cache-control") == "no-cache"
        assert reply.seconds < 10
    assert [request.header("accept") for request in dashboard.received] == [["text/event-stream"]] * 2


# ── What is not forwarded ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", OTHERS)
def test_a_route_of_no_dashboard_is_not_forwarded(route: str, upstream: RunningStack, backend: Backend) -> None:
    before = backend.count
    method, path = route.split()
    filled = re.sub(r"\{\w+\}", "nothing", path.replace("{entity}", "tasks"))
    with Api(upstream.api_url, upstream.tokens["admin"]) as admin:
        response = admin.request(method, filled, json=None if method == "GET" else {}, allow_redirects=False)
    assert response.status_code < 500
    assert backend.count == before


def test_unknown_paths_and_methods_are_still_answered_here(dashboard: Dashboard) -> None:
    refused(dashboard.send("GET", "nothing/here"), 404, "not_found")
    refused(dashboard.send("PATCH", "trash/id-1"), 405, "method_not_allowed")
    assert dashboard.received == []


def test_backups_and_jobs_work_here(upstream: RunningStack, backend: Backend) -> None:
    before = backend.count
    with Api(upstream.api_url, upstream.tokens["admin"]) as admin:
        job = ended_job(admin, start_backup(admin, "initech"))
        assert job["status"] == "completed"
        assert job["id"] in [each["id"] for each in admin.get("/api/jobs").json()["data"]]
        backup_id = job["result"]["backup_id"]
        assert admin.get(f"/api/backup/{backup_id}").json()["data"]["status"] == "completed"
        assert admin.get(f"/api/backup/{backup_id}/download").content[:2] == b"\x1f\x8b"
        assert admin.post("/api/jobs/nothing/cancel").json()["code"] == "not_found"
    with Api(upstream.api_url, upstream.tokens["viewer"]) as viewer:
        assert viewer.post("/api/backup/export", json={"project_id": "initech"}).status_code == 403
    assert backend.count == before


def test_records_work_here(upstream: RunningStack, backend: Backend) -> None:
    before = backend.count
    with Api(upstream.api_url, upstream.tokens["admin"]) as admin:
        admin.headers["x-tenant-id"] = "initech"
        made = admin.post("/api/v1/tasks", json={"title": "here"}).json()["data"]
        changed = admin.patch(f"/api/v1/tasks/{made['id']}", json={"title": "still here"}).json()["data"]
        assert [task["title"] for task in admin.get("/api/v1/tasks").json()["data"]] == ["still here"]
        assert (changed["id"], changed["title"]) == (made["id"], "still here")
        assert admin.delete(f"/api/v1/tasks/{made['id']}").status_code == 200
        imported = admin.post("/api/v1/import/tasks", json={"items": [{"title": "a"}, {"title": "b"}]})
        assert imported.json()["data"]["created"] == 2
    assert backend.count == before


def test_a_download_link_from_before_still_works(deployed: Deployed, backend: Backend) -> None:
    before = backend.count
    with Api(deployed.stack.api_url, None) as anyone:
        response = anyone.get(deployed.export["downloadUrl"])
    assert response.status_code == 200
    assert response.content.count(b"\r\n") == deployed.export["recordCount"] + 1
    assert backend.count == before


def test_the_export_that_was_made_here_is_the_backends_to_know(deployed: Deployed, dashboard: Dashboard) -> None:
    dashboard.tenant = "acme2"
    dashboard.answers(Answer(404, b'{"error": "never heard of it"}'))
    reply = dashboard.send("GET", f"exports/{deployed.export['id']}", token=deployed.stack.tokens["admin"])
    assert (reply.status, reply.body) == (404, b'{"error": "never heard of it"}')
