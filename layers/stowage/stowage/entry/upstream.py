"""Upstream mode: with a backend's URL set, the dashboards' routes forward instead of doing the work (docs/api.md).

The upstream judges the token; we only need one to be there. What it answers comes back as it is.
"""

import gzip
import http.client
import json
import re
import socket
import ssl
import string
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from stowage.basics.errors import BadRequestError, StowageError
from stowage.settings import settings

BACKEND_MOUNT = "/api/v1/guilds/"
ANSWER_SECONDS = 25.0
STREAM_SECONDS = 20.0
MOST_BYTES = 5_000_000
MOST_ESCAPED_BYTES = 6 * 1024 * 1024 - 64 * 1024
"""Lambda's limit, less what is beside the body: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_CONNECT_SECONDS = 5.0
_PIECE_BYTES = 64 * 1024
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n){2}")
"""Ends an event: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream"""
_SEPARATORS = re.compile(r"[/\\]")
_REFUSES_GZIP = re.compile(r";\s*q=0(\.0*)?$")

CHANGES = ("POST", "PATCH", "DELETE")
"""Each of these has an Idempotency-Key at the backend: the caller's, or else the request's id."""
PASSED_ON = (
    "accept", "content-encoding", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id",
)  # fmt: skip
PASSED_BACK = (
    "allow", "cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "etag",
    "last-modified", "link", "location", "retry-after", "vary", "www-authenticate",
)  # fmt: skip
PASSED_BACK_PREFIX = "ratelimit-"


class UpstreamError(StowageError):
    """502 or 504: the backend gave no answer that can be passed on."""

    status, code = 502, "upstream_unreachable"


class UpstreamTimeoutError(UpstreamError):
    """504: the backend took too long."""

    status, code = 504, "upstream_timeout"


def forward(event: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The backend's answer to a request, status and body as they are. UpstreamError when there is none to pass on."""
    base = urlsplit(settings().backend_api_url)
    headers = _headers(event, token)
    deadline = time.monotonic() + ANSWER_SECONDS
    connection = _connection(base.scheme, base.netloc)
    try:
        # Kept by ourselves: a connection that will close lets go of its socket once the answer has begun.
        sock = _connect(connection)
        sock.settimeout(_left(deadline))
        connection.request(
            event["requestContext"]["http"]["method"],
            base.path.rstrip("/") + _target(event),
            _body(event),
            headers,
        )
        sock.settimeout(_left(deadline))
        response = connection.getresponse()
        body = _read(sock, response, deadline)
    except TimeoutError:
        raise UpstreamTimeoutError("The backend took too long.") from None
    except (OSError, http.client.HTTPException):
        raise UpstreamError("The backend does not answer.") from None
    finally:
        connection.close()
    return _answer(response, body, event["headers"].get("accept-encoding", ""))


def _connection(scheme: str, netloc: str) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=_CONNECT_SECONDS, context=_authorities())
    return http.client.HTTPConnection(netloc, timeout=_CONNECT_SECONDS)


@cache
def _authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


def _connect(connection: http.client.HTTPConnection) -> socket.socket:
    try:
        connection.connect()
    except TimeoutError:
        raise ConnectionError from None  # nobody there, which is not the same as slow
    sock: socket.socket = connection.sock
    return sock


def _target(event: Mapping[str, Any]) -> str:
    """The backend's path of this route; each id percent-encoded as it came (its form is the backend's own).

    BadRequestError `encode_id` where an id holds a dot segment: percent-encoded or not, a server on the way may take
    it for the folder above (RFC 3986 §6.2.2.2 and §5.2.4), and the id would lead to another path of the backend.
    """
    method, _, path = event["routeKey"].partition(" ")
    path = BACKEND_MOUNT + path.partition("/guilds/")[2]
    if method == "POST" and path.endswith("/trash/{itemId}"):
        path += "/restore"
    for name, value in (event.get("pathParameters") or {}).items():
        if not {".", ".."}.isdisjoint(_SEPARATORS.split(value)):
            raise BadRequestError(
                "An address cannot hold '.' or '..' as a part.",
                "encode_id",
                details=[{"field": name, "message": "holds '.' or '..' as a part of a path"}],
            )
        path = path.replace("{" + name + "}", quote(value, safe=""))
    # As it came; only what no request line may hold is quoted.
    query = quote(event.get("rawQueryString") or "", safe=string.punctuation)
    return f"{path}?{query}" if query else path


def _body(event: Mapping[str, Any]) -> bytes | None:
    body = event.get("body")
    if body is None:
        return None
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _headers(event: Mapping[str, Any], token: str) -> dict[str, str]:
    headers = {name: event["headers"][name] for name in PASSED_ON if name in event["headers"]}
    headers["authorization"] = f"Bearer {token}"
    if event["requestContext"]["http"]["method"] in CHANGES and not headers.get("idempotency-key"):
        headers["idempotency-key"] = event["requestContext"]["requestId"]
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
    """The whole body. Of an event stream, which may never end, what came within 20 seconds."""
    is_stream = (response.getheader("content-type") or "").lower().startswith("text/event-stream")
    if is_stream:
        deadline = min(deadline, time.monotonic() + STREAM_SECONDS)
    body = bytearray()
    try:
        # Its last byte closes a response, and with it the socket of a connection that is not kept.
        while not response.isclosed():
            sock.settimeout(_left(deadline))
            body += response.read1(_PIECE_BYTES)
            if len(body) > MOST_BYTES:
                raise _too_large()
    except TimeoutError:
        if not is_stream:
            raise
        # What came after the last blank line is half an event.
        return bytes(body[: max((found.end() for found in _BLANK_LINE.finditer(body)), default=0)])
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)  # `read1` takes a cut body for a whole one
    return bytes(body)


def _too_large() -> UpstreamError:
    return UpstreamError("The backend's answer is too large to pass on.", "upstream_too_large")


def _answer(response: http.client.HTTPResponse, body: bytes, accepted: str) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        if key in PASSED_BACK or key.startswith(PASSED_BACK_PREFIX):
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    text = _text(body)
    if text is None and not _fits_encoded(body):
        if "content-encoding" in headers or not _accepts_gzip(accepted):
            raise _too_large()
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
        if not _fits_encoded(body):
            raise _too_large()
    return {
        "statusCode": response.status,
        "headers": headers,
        "body": b64encode(body).decode() if text is None else text,
        "isBase64Encoded": text is None,
    }


def _text(body: bytes) -> str | None:
    """The body as text; None if it is not UTF-8, or too long for Lambda's answer once it is escaped."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    escaped = json.dumps(text, ensure_ascii=False).encode()
    return text if len(escaped) <= MOST_ESCAPED_BYTES else None


def _fits_encoded(body: bytes) -> bool:
    return len(body) * 4 // 3 + 4 <= MOST_ESCAPED_BYTES


def _accepts_gzip(accepted: str) -> bool:
    return any(
        each.strip().lower().startswith("gzip") and not _REFUSES_GZIP.search(each.strip())
        for each in accepted.split(",")
    )
