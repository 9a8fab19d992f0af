"""The local HTTP API does what API Gateway's does, its awkward sides included."""

import base64
import json
import re
import socket
from typing import Any

import pytest

from local.function_pool import Outcome
from local.functions import Function
from local.gateway import Gateway
from local.http_server import Request

CORS = {
    "allowOrigins": ["https://app.example.com"],
    "allowMethods": ["GET", "POST"],
    "allowHeaders": ["authorization"],
    "exposeHeaders": ["etag"],
    "allowCredentials": True,
    "maxAge": 600,
}


class EchoingFunctions:
    """Functions that answer with the event itself, or with what the test sets."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.event: dict[str, Any] = {}
        self.waited: float | None = None

    def __getitem__(self, key: str) -> Function:
        return Function(key.rpartition(":")[2], "name", "handler", 29, 128, ())

    def invoke(self, function: Function, event: bytes, timeout: float | None = None) -> Outcome:
        self.event, self.waited = json.loads(event), timeout
        return self.outcome or Outcome("", json.dumps({"statusCode": 200, "body": function.logical_id}).encode())


@pytest.fixture
def functions() -> EchoingFunctions:
    return EchoingFunctions()


@pytest.fixture
def gateway(functions: EchoingFunctions) -> Gateway:
    def operation(function: str) -> dict[str, Any]:
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
        return {
            "x-amazon-apigateway-integration": {
                "uri": f"arn:aws:apigateway:x:lambda:path/y/functions/{arn}/invocations"
            }
        }

    made = Gateway(functions, lambda: "300 MB, 2 workers")  # type: ignore[arg-type]
    paths = {
        "/things/{id}": {"get": operation("GetThing"), "post": operation("PostThing")},
        "/things/stats": {"get": operation("GetStats")},
        "/$default": {"x-amazon-apigateway-any-method": operation("Unknown")},
    }
    made.add_api({"Body": {"paths": paths, "x-amazon-apigateway-cors": CORS}})
    return made


def request(method: str, target: str, headers: list[tuple[str, str]] | None = None, body: bytes = b"") -> Request:
    return Request(method, target, [("Host", "127.0.0.1:8080"), *(headers or [])], "10.1.2.3", len(body), None, body)  # type: ignore[arg-type]


def test_the_path_arrives_decoded_and_cut_at_a_decoded_question_mark(
    gateway: Gateway, functions: EchoingFunctions
) -> None:
    gateway.answer(request("GET", "/things/https%3A%2F%2Fx.example%2Fa%3Fb=1?c=2"))
    assert functions.event["rawPath"] == "/things/https://x.example/a"
    assert functions.event["pathParameters"] == {"id": "https://x.example/a"}
    assert functions.event["rawQueryString"] == "c=2"


def test_cookies_come_as_a_list_and_never_as_a_header(gateway: Gateway, functions: EchoingFunctions) -> None:
    gateway.answer(request("GET", "/things/1", [("Cookie", "a=1; b=2"), ("X-Two", "1"), ("x-two", "2")]))
    assert functions.event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in functions.event["headers"]
    assert functions.event["headers"]["x-two"] == "1,2"


def test_repeated_query_keys_are_joined_by_commas(gateway: Gateway, functions: EchoingFunctions) -> None:
    gateway.answer(request("GET", "/things/1?a=1&a=2&b=%20x&c="))
    assert functions.event["queryStringParameters"] == {"a": "1,2", "b": " x", "c": ""}


def test_the_caller_is_the_address_of_the_connection_whatever_it_claims(
    gateway: Gateway, functions: EchoingFunctions
) -> None:
    gateway.answer(request("GET", "/things/1", [("X-Forwarded-For", "1.1.1.1")]))
    assert functions.event["requestContext"]["http"]["sourceIp"] == "10.1.2.3"
    assert functions.event["headers"]["x-forwarded-for"] == "1.1.1.1, 10.1.2.3"
    assert functions.event["headers"]["x-forwarded-proto"] == "http"
    assert functions.event["headers"]["x-forwarded-port"] == "8080"


@pytest.mark.parametrize(
    ("content_type", "encoded"), [("application/json", False), ("text/csv", False), ("image/png", True)]
)
def test_only_text_bodies_come_as_they_are(
    gateway: Gateway, functions: EchoingFunctions, content_type: str, encoded: bool
) -> None:
    gateway.answer(request("POST", "/things/1", [("Content-Type", content_type)], b"{}"))
    assert functions.event["isBase64Encoded"] is encoded
    assert functions.event["body"] == (base64.b64encode(b"{}").decode() if encoded else "{}")


def test_a_literal_route_wins_and_unknown_ones_go_to_the_default(gateway: Gateway, functions: EchoingFunctions) -> None:
    assert gateway.answer(request("GET", "/things/stats")).body == b"GetStats"
    assert gateway.answer(request("GET", "/things/1")).body == b"GetThing"
    assert functions.event["routeKey"] == "GET /things/{id}"
    for method, target in (("DELETE", "/things/1"), ("HEAD", "/things/1"), ("GET", "/nowhere")):
        assert gateway.answer(request(method, target)).body == b"Unknown"
        assert functions.event["routeKey"] == "$default"


def test_the_event_may_hold_six_megabytes_escaped(gateway: Gateway, functions: EchoingFunctions) -> None:
    json_type = [("Content-Type", "application/json")]
    assert gateway.answer(request("POST", "/things/1", json_type, b"a" * 5_000_000)).status == 200
    assert gateway.answer(request("POST", "/things/1", json_type, b'"' * 5_000_000)).status == 413
    assert gateway.answer(request("POST", "/things/1", json_type, b"a" * 11_000_000)).status == 413


def test_too_many_headers_are_refused_by_the_gateway_in_its_own_shape(gateway: Gateway) -> None:
    response = gateway.answer(request("GET", "/things/1", [("X-Large", "a" * 10_240)]))
    assert response.status == 431
    assert json.loads(response.body) == {"message": "Request Header Fields Too Large"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b'{"errorType": "ValueError", "errorMessage": "secret"}', 500),
        (b'{"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "x"}', 502),
    ],
)
def test_a_failing_function_says_nothing_to_the_client(
    gateway: Gateway, functions: EchoingFunctions, payload: bytes, status: int
) -> None:
    functions.outcome = Outcome("Unhandled", payload)
    response = gateway.answer(request("GET", "/things/1"))
    assert response.status == status
    assert set(json.loads(response.body)) == {"message"}  # type: ignore[arg-type]


def test_functions_have_thirty_seconds(gateway: Gateway, functions: EchoingFunctions) -> None:
    gateway.answer(request("GET", "/things/1"))
    assert functions.waited == 30


def test_answers_become_http(gateway: Gateway, functions: EchoingFunctions) -> None:
    answer = {
        "statusCode": 207,
        "headers": {"ETag": '"1"', "Access-Control-Allow-Origin": "*"},
        "cookies": ["a=1", "b=2"],
        "body": base64.b64encode(b"\x00\x01").decode(),
        "isBase64Encoded": True,
    }
    functions.outcome = Outcome("", json.dumps(answer).encode())
    response = gateway.answer(request("GET", "/things/1", [("Origin", "https://evil.example.com")]))
    assert (response.status, response.body) == (207, b"\x00\x01")
    assert ("etag", '"1"') in response.headers
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert not [name for name, _ in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://app.example.com", True), ("https://evil.example.com", False)]
)
def test_cors_is_the_gateways(gateway: Gateway, functions: EchoingFunctions, origin: str, allowed: bool) -> None:
    preflight = [("Origin", origin), ("Access-Control-Request-Method", "POST")]
    response = gateway.answer(request("OPTIONS", "/things/1", preflight))
    headers = dict(response.headers)
    assert response.status == 204
    assert functions.event == {}
    assert headers.get("access-control-allow-methods") == ("GET,POST" if allowed else None)
    headers = dict(gateway.answer(request("GET", "/things/1", [("Origin", origin)])).headers)
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert headers.get("access-control-expose-headers") == ("etag" if allowed else None)
    assert headers.get("access-control-allow-credentials") == ("true" if allowed else None)


def test_every_request_has_a_line_on_the_terminal(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer(request("GET", f"/things/{'t' * 100}?token=secret"))
    line = r"\d\d:\d\d:\d\d GET    /things/tttttttt… 200 \d+ ms GetThing \(300 MB, 2 workers\)\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_connections_are_kept(stack: Any) -> None:
    port = int(stack.api_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rwb") as file:
        for _ in range(2):
            file.write(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            file.flush()
            assert file.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert file.read(length) == b'{"status":"ok"}'
