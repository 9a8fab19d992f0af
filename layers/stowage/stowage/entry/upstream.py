"""Upstream mode: with a backend's URL set, the dashboards' routes forward instead of doing the work (CONTRACT §1).

The upstream judges the token; we only need one to be there. What it answers comes back as it is.
"""

import http.client
import socket
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from stowage.entry.auth import token_of
from stowage.errors import StowageError, UnauthenticatedError
from stowage.ids import encode_id
from stowage.settings import settings

BACKEND_MOUNT = "/api/v1/guilds/"
ANSWER_SECONDS = 25.0
STREAM_SECONDS = 20.0
MOST_BYTES = 5_000_000
_CONNECT_SECONDS = 5.0
_PIECE_BYTES = 64 * 1024

PASSED_ON = ("accept", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id")
PASSED_BACK = ("content-type", "etag", "location", "retry-after", "cache-control", "content-disposition")
PASSED_BACK_PREFIX = "ratelimit-"


class UpstreamError(StowageError):
    """502 or 504: the backend did not answer, or not as one can pass on."""

    status, code = 502, "upstream_unreachable"


class UpstreamTimeoutError(UpstreamError):
    """504: the backend took too long."""

    status, code = 504, "upstream_timeout"


def forward(event: Mapping[str, Any]) -> dict[str, Any]:
    """The backend's answer to a request, status and body as they are. UpstreamError when there is none to pass on."""
    token, _ = token_of(event["headers"], event.get("cookies") or [])
    if not token:
        raise UnauthenticatedError("Sign in first.")
    base = urlsplit(settings().backend_api_url)
    connection = _connection(base.scheme, base.netloc)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        connection.request(
            event["requestContext"]["http"]["method"],
            base.path.rstrip("/") + _target(event),
            _body(event),
            _headers(event, token),
        )
        # Kept by ourselves: a connection that will close lets go of its socket once the answer has begun.
        sock = connection.sock
        sock.settimeout(_left(deadline))
        response = connection.getresponse()
        body = _read(sock, response, deadline)
    except TimeoutError:
        raise UpstreamTimeoutError("The backend took too long.") from None
    except (OSError, http.client.HTTPException):
        raise UpstreamError("The backend does not answer.") from None
    finally:
        connection.close()
    return _answer(response, body)


def _connection(scheme: str, netloc: str) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=_CONNECT_SECONDS, context=ssl.create_default_context())
    return http.client.HTTPConnection(netloc, timeout=_CONNECT_SECONDS)


def _target(event: Mapping[str, Any]) -> str:
    """The backend's path of this route; ids in the form that every path survives."""
    method, _, path = event["routeKey"].partition(" ")
    path = BACKEND_MOUNT + path.partition("/guilds/")[2]
    if method == "POST" and path.endswith("/trash/{itemId}"):
        path += "/restore"
    for name, value in (event.get("pathParameters") or {}).items():
        given = value if value.startswith("~") else encode_id(value)
        path = path.replace("{" + name + "}", quote(given, safe="~"))
    query = event.get("rawQueryString")
    return f"{path}?{query}" if query else path


def _body(event: Mapping[str, Any]) -> bytes | None:
    body = event.get("body")
    if body is None:
        return None
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _headers(event: Mapping[str, Any], token: str) -> dict[str, str]:
    headers = {name: event["headers"][name] for name in PASSED_ON if name in event["headers"]}
    headers["authorization"] = f"Bearer {token}"
    if settings().backend_api_key:
        headers["x-api-key"] = _api_key(settings().backend_api_key)
    return headers


@cache
def _api_key(secret: str) -> str:
    from stowage.aws.secrets import read_secret

    return read_secret(secret)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(sock: socket.socket, response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, whole; an event stream as far as it came in 20 seconds, for it may have no end."""
    is_stream = (response.getheader("content-type") or "").startswith("text/event-stream")
    if is_stream:
        deadline = min(deadline, time.monotonic() + STREAM_SECONDS)
    body = bytearray()
    try:
        while True:
            sock.settimeout(_left(deadline))
            piece = response.read1(_PIECE_BYTES)
            if not piece:
                return bytes(body)
            body += piece
            if len(body) > MOST_BYTES:
                raise UpstreamError("The backend's answer is too large to pass on.", "upstream_too_large")
    except TimeoutError:
        if not is_stream:
            raise
        # What came after the last blank line is half an event.
        return bytes(body[: body.rfind(b"\n\n") + 2]) if b"\n\n" in body else b""


def _answer(response: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
    headers = {
        name.lower(): value
        for name, value in response.getheaders()
        if name.lower() in PASSED_BACK or name.lower().startswith(PASSED_BACK_PREFIX)
    }
    try:
        return {"statusCode": response.status, "headers": headers, "body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        text = b64encode(body).decode()
        return {"statusCode": response.status, "headers": headers, "body": text, "isBase64Encoded": True}
