"""Upstream mode: the dashboards' routes forward to a backend, here a real HTTP server, and give back its answers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from exports.create_export import app as create_export
from exports.get_export import app as get_export
from exports.get_export_progress import app as get_export_progress
from exports.list_exports import app as list_exports
from stowage.entry import upstream
from stowage.settings import settings

EVENTS = Path(__file__).parents[2] / "events"


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, Any]] = {}
    seen: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.seen.append(
            {
                "method": self.command,
                "target": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": self.rfile.read(length),
            }
        )
        answer = self.answers
        time.sleep(answer.get("delay", 0))
        if answer.get("close"):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        body = answer.get("body", b"{}")
        self.send_response_only(answer.get("status", 200))
        for name, value in answer.get("headers", {"content-type": "application/json"}).items():
            self.send_header(name, value)
        if answer.get("endless"):
            self.end_headers()
            self.close_connection = True
            try:
                while True:
                    self.wfile.write(body)
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                return
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Backend]]:
    Backend.answers, Backend.seen = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name, value in {
        "TABLE": "none",
        "EXPORTS_BUCKET": "none",
        "BACKUPS_BUCKET": "none",
        "CONSOLE_ORIGINS": "https://app.example.com",
        "BACKEND_API_URL": f"http://127.0.0.1:{server.server_port}/base/",
    }.items():
        monkeypatch.setenv(f"STOWAGE_{name}", value)
    settings.cache_clear()
    yield Backend
    server.shutdown()
    thread.join()
    server.server_close()
    settings.cache_clear()


def event(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    headers = changes.pop("headers", {})
    found["headers"] = {key: value for key, value in {**found["headers"], **headers}.items() if value is not None}
    return found | changes


def test_method_query_body_token_and_idempotency_key_pass_through(backend: type[Backend]) -> None:
    backend.answers = {"status": 202, "body": b'{"id": "x"}'}
    answer = create_export(event("create_export", rawQueryString="a=1&a=2"), None)
    assert (answer["statusCode"], answer["body"]) == (202, '{"id": "x"}')
    (request,) = backend.seen
    assert request["method"] == "POST"
    assert request["target"] == "/base/api/v1/guilds/acme/exports?a=1&a=2"
    assert json.loads(request["body"])["dataType"] == "accounts"
    assert request["headers"]["authorization"].startswith("Bearer eyJ")
    assert request["headers"]["idempotency-key"] == "4f6d-8c4b"
    assert not {"cookie", "x-forwarded-for", "host-header"} & request["headers"].keys()


@pytest.mark.parametrize("status", [200, 207, 400, 404, 409, 422, 429, 500, 503])
def test_the_backends_status_and_body_come_back_as_they_are(backend: type[Backend], status: int) -> None:
    headers = {"content-type": "application/json", "retry-after": "7", "set-cookie": "a=b", "ratelimit-limit": "3"}
    backend.answers = {"status": status, "body": '{"näh": 1}'.encode(), "headers": headers}
    answer = list_exports(event("list_exports"), None)
    assert (answer["statusCode"], answer["body"]) == (status, '{"näh": 1}')
    assert (answer["headers"]["retry-after"], answer["headers"]["ratelimit-limit"]) == ("7", "3")
    assert "set-cookie" not in answer["headers"]


def test_without_a_token_nothing_is_called(backend: type[Backend]) -> None:
    answer = list_exports(event("list_exports", headers={"authorization": None}), None)
    assert answer["statusCode"] == 401
    assert backend.seen == []


def test_a_token_in_the_cookie_is_passed_on_as_a_header(backend: type[Backend]) -> None:
    list_exports(event("list_exports", headers={"authorization": None}, cookies=["auth_token=abc"]), None)
    assert backend.seen[0]["headers"]["authorization"] == "Bearer abc"


def test_a_header_counts_before_a_cookie(backend: type[Backend]) -> None:
    list_exports(event("list_exports", headers={"authorization": "Bearer head"}, cookies=["auth_token=cook"]), None)
    assert backend.seen[0]["headers"]["authorization"] == "Bearer head"


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 403), ("https://evil.example", 403), ("https://app.example.com", 200)]
)
def test_a_change_by_cookie_needs_an_own_origin(backend: type[Backend], origin: str | None, status: int) -> None:
    headers = {"authorization": None, "origin": origin}
    answer = create_export(event("create_export", headers=headers, cookies=["auth_token=abc"]), None)
    assert answer["statusCode"] == status
    assert len(backend.seen) == (status == 200)


def test_an_id_that_is_a_url_reaches_the_backend_encoded(backend: type[Backend]) -> None:
    get_export(event("get_export", pathParameters={"guildId": "acme", "exportId": "https://x.example/?a=1"}), None)
    assert backend.seen[0]["target"] == "/base/api/v1/guilds/acme/exports/~aHR0cHM6Ly94LmV4YW1wbGUvP2E9MQ"


def test_a_redirect_is_given_back_not_followed(backend: type[Backend]) -> None:
    backend.answers = {"status": 302, "headers": {"location": "https://elsewhere.example/"}, "body": b""}
    answer = list_exports(event("list_exports"), None)
    assert (answer["statusCode"], answer["headers"]["location"]) == (302, "https://elsewhere.example/")
    assert len(backend.seen) == 1


def test_a_backend_that_is_not_there_is_a_502(backend: type[Backend], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_BACKEND_API_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    answer = list_exports(event("list_exports"), None)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (502, "upstream_unreachable")


def test_a_backend_that_hangs_up_is_a_502(backend: type[Backend]) -> None:
    backend.answers = {"close": True}
    assert list_exports(event("list_exports"), None)["statusCode"] == 502


def test_a_backend_that_is_too_slow_is_a_504(backend: type[Backend], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 0.3)
    backend.answers = {"delay": 1}
    answer = list_exports(event("list_exports"), None)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (504, "upstream_timeout")


def test_a_drip_of_bytes_does_not_hold_the_answer_open(backend: type[Backend], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 0.5)
    backend.answers = {"endless": True, "body": b" "}
    started = time.monotonic()
    assert list_exports(event("list_exports"), None)["statusCode"] == 504
    assert time.monotonic() - started < 3


def test_an_endless_event_stream_is_cut_between_two_events(
    backend: type[Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "STREAM_SECONDS", 0.4)
    backend.answers = {"endless": True, "body": b"data: 1\n\n", "headers": {"content-type": "text/event-stream"}}
    answer = get_export_progress(event("get_export_progress"), None)
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"] == "text/event-stream"
    assert answer["body"].endswith("data: 1\n\n")


def test_an_answer_over_five_megabytes_is_refused(backend: type[Backend]) -> None:
    backend.answers = {"body": b"x" * 5_000_001}
    answer = list_exports(event("list_exports"), None)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (502, "upstream_too_large")


def test_an_answer_that_is_no_text_comes_back_whole(backend: type[Backend]) -> None:
    backend.answers = {"body": b"\xff\xfe\x00", "headers": {"content-type": "application/octet-stream"}}
    answer = list_exports(event("list_exports"), None)
    assert (answer["isBase64Encoded"], answer["body"]) == (True, "//4A")
