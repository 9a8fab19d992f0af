"""A proxy in front of the storage endpoint that fails on request: the faults that moto never has.

    with S3Proxy(endpoint) as proxy:            # use proxy.url as the endpoint
        proxy.fail("CompleteMultipartUpload", lost_answer())
        …
        assert proxy.calls["CompleteMultipartUpload"] == 2

Each fault applies to one call; several for one operation apply to its calls in order. Other AWS calls pass through too.
"""

import http.client
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect"})


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


type Forward = Callable[[], Answer]
type Fault = Callable[[Forward], Answer | None]
"""Gets a function that passes the call on; gives the answer, or None for a connection that is cut without one."""


def refused(status: int, code: str) -> Fault:
    """Storage answers with this status and code and does nothing."""
    return lambda forward: Answer(status, _error(code), [("Content-Type", "application/xml")])


def slow_down() -> Fault:
    """503, as storage says when it is asked too much."""
    return refused(503, "SlowDown")


def error_in_body(code: str = "InternalError", *, committed: bool = False) -> Fault:
    """200 with an error in the body (S3 API reference, CompleteMultipartUpload), before or after doing it."""

    def fault(forward: Forward) -> Answer:
        if committed:
            forward()
        return Answer(200, _error(code), [("Content-Type", "application/xml")])

    return fault


def cut() -> Fault:
    """The connection breaks before storage has seen the call."""
    return lambda forward: None


def lost_answer() -> Fault:
    """Storage does it, and the connection breaks before the answer."""

    def fault(forward: Forward) -> None:
        forward()

    return fault


def silent(seconds: float, *, committed: bool = False) -> Fault:
    """No answer for so long, then none at all."""

    def fault(forward: Forward) -> None:
        if committed:
            forward()
        time.sleep(seconds)

    return fault


def late(seconds: float) -> Fault:
    """The right answer, late."""

    def fault(forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward()

    return fault


class S3Proxy:
    """Listens on a free port of 127.0.0.1 while the block lasts."""

    def __init__(self, endpoint: str) -> None:
        target = urlsplit(endpoint)
        self.calls: Counter[str] = Counter()
        self._host, self._port = target.hostname or "127.0.0.1", target.port or 80
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, operation: str, *faults: Fault) -> None:
        """Let the next calls of an operation (`UploadPart`, …) go wrong in these ways, one each."""
        self._faults[operation].extend(faults)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer | None:
        operation = operation_of(method, path, dict(headers))
        self.calls[operation] += 1
        faults = self._faults[operation]

        def forward() -> Answer:
            return self._forward(method, path, headers, body)

        return faults.popleft()(forward) if faults else forward()

    def _forward(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOP_HEADERS:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.getheaders())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_call(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = proxy._answer(self.command, self.path, self.headers.items(), body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    if name.lower() not in HOP_HEADERS or (self.command == "HEAD" and name.lower() == "content-length"):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                self.wfile.flush()

            def handle_expect_100(self) -> bool:
                going_on = super().handle_expect_100()
                self.wfile.flush()  # else the client waits a second before it sends the body
                return going_on

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output quiet."""

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_one_call

        return Handler


def operation_of(method: str, path: str, headers: dict[str, str]) -> str:
    """Name the call as AWS does: by its target header where there is one, else as one of S3's."""
    target = {name.lower(): value for name, value in headers.items()}.get("x-amz-target")
    if target:
        return target.rpartition(".")[2]
    url = urlsplit(path)
    query = parse_qs(url.query, keep_blank_values=True)
    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in query:
        part = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return part.get(method, "ListParts")
    has_key = url.path.strip("/").count("/") > 0
    return f"{method.capitalize()}{'Object' if has_key else 'Bucket'}"


def _error(code: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>'.encode()
    )
