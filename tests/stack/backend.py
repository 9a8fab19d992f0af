"""A backend for upstream mode: a real HTTP server that keeps what it is asked and answers as a test tells it."""

import contextlib
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

type Headers = list[tuple[str, str]]
JSON = [("content-type", "application/json")]
BASE = "/base/path"
"""Where this backend is mounted: `BackendApiUrl` may have a path."""


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> list[str]:
        """The values of every header of this name."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Answer:
    """An answer, sent with its length."""

    status: int = 200
    body: bytes = b"{}"
    headers: Headers = field(default_factory=lambda: list(JSON))

    def __call__(self, client: "Client") -> None:
        client.send_response_only(self.status)
        for name, value in self.headers:
            client.send_header(name, value)
        if self.status not in (204, 304):
            client.send_header("content-length", str(len(self.body)))
        client.end_headers()
        client.wfile.write(self.body)


@dataclass
class Stream:
    """An answer without a length: pieces, each so many seconds after the last, until they end or the client goes."""

    pieces: Iterable[bytes]
    headers: Headers
    pause: float = 0.0

    def __call__(self, client: "Client") -> None:
        client.send_response_only(200)
        for name, value in self.headers:
            client.send_header(name, value)
        client.end_headers()
        client.close_connection = True
        for piece in self.pieces:
            client.wfile.write(piece)
            if client.backend.closing.wait(self.pause):
                return


@dataclass
class Raw:
    """These bytes, be they an answer or not, and then the end of the connection."""

    data: bytes

    def __call__(self, client: "Client") -> None:
        client.wfile.write(self.data)
        client.close_connection = True


def silence(client: "Client") -> None:
    """No answer for as long as anybody waits."""
    client.backend.closing.wait(60)
    client.close_connection = True


class Client(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    @property
    def backend(self) -> "Backend":
        return self.server.backend

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        tenant = self.path.partition("/guilds/")[2].partition("/")[0]
        self.backend.received[tenant].append(Received(self.command, self.path, self.headers.items(), body))
        with contextlib.suppress(ConnectionError):
            self.backend.answers.get(tenant, Answer())(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    backend: "Backend"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Backend:
    """Listens on one port from `start` to `stop`, more than once if need be; every tenant has its own answer."""

    def __init__(self, port: int, certificate: tuple[Path, Path] | None = None) -> None:
        self.port, self.certificate = port, certificate
        self.answers: dict[str, Callable[[Client], None]] = {}
        self.received: defaultdict[str, list[Received]] = defaultdict(list)
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """What `BackendApiUrl` names."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}{BASE}/"

    @property
    def count(self) -> int:
        """How many requests have come."""
        return sum(map(len, self.received.values()))

    def start(self) -> None:
        self.closing.clear()
        self._server = _Server(("127.0.0.1", self.port), Client)
        self._server.backend = self
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Leave the port: connections are refused from now on."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody listens meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def swamped(self) -> Iterator[None]:
        """Meanwhile the port takes no connection and refuses none, as a host behind a firewall."""
        with self.gone(), contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", self.port), backlog=0))
            waiting = stack.enter_context(socket.create_connection(listener.getsockname()))
            waiting.settimeout(0.2)
            try:
                while True:
                    stack.enter_context(socket.create_connection(listener.getsockname(), timeout=0.2))
            except TimeoutError:
                yield
