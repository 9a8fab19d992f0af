"""Threaded HTTP/1.1 servers on the standard library: kept connections, files sent by the kernel."""

import contextlib
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import IO

type Headers = list[tuple[str, str]]
WITHOUT_BODY = (204, 304)


class DropConnectionError(Exception):
    """Close the connection instead of answering."""


@dataclass
class FileParts:
    """A body that lies in files: each an open file, the offset and the number of bytes to send."""

    parts: list[tuple[IO[bytes], int, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(count for _, _, count in self.parts)

    def close(self) -> None:
        """Close the files."""
        for file, _, _ in self.parts:
            file.close()


@dataclass
class Response:
    """An answer; its Content-Length is written from its body."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | FileParts = b""


@dataclass
class Request:
    """A request whose body is still on the connection."""

    method: str
    target: str
    headers: Headers
    client: str
    length: int
    stream: BufferedIOBase
    _body: bytes | None = None

    @property
    def path(self) -> str:
        """The path as sent, undecoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query string as sent."""
        return self.target.partition("?")[2]

    def header(self, name: str, default: str = "") -> str:
        """The first header of this name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    @property
    def body(self) -> bytes:
        """The whole body, read at first use."""
        if self._body is None:
            self._body = self.stream.read(self.length) if self.length else b""
        return self._body

    def pieces(self, size: int = 1 << 18) -> Iterator[bytes]:
        """The body piece by piece, for bodies that are not to be held."""
        if self._body is not None:
            self.length = 0
            yield self._body
            return
        self._body = b""
        left = self.length
        while left and (piece := self.stream.read(min(left, size))):
            left -= len(piece)
            yield piece
        self.length = left


class _Chunked:
    """The decoded body of a request with `Transfer-Encoding: chunked`."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream

    def read_all(self) -> bytes:
        pieces = []
        while size := int(self._stream.readline().split(b";")[0], 16):
            pieces.append(self._stream.read(size))
            self._stream.readline()
        while self._stream.readline().strip():
            pass
        return b"".join(pieces)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: "Server"

    def _serve(self) -> None:
        body = None
        length = int(self.headers.get("content-length") or 0)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = _Chunked(self.rfile).read_all()
            length = len(body)
        request = Request(
            self.command, self.path, self.headers.items(), self.client_address[0], length, self.rfile, body
        )
        try:
            response = self.server.answer(request)
        except DropConnectionError:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        except Exception:
            traceback.print_exc()
            response = Response(
                500, [("content-type", "text/plain")], b"The local stack failed; its terminal says how."
            )
        for _ in request.pieces():
            pass
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._write(response)

    def _write(self, response: Response) -> None:
        body = response.body
        self.send_response_only(response.status)
        given = False
        for name, value in response.headers:
            given |= name.lower() == "content-length"
            self.send_header(name, value)
        if response.status not in WITHOUT_BODY and not given:
            self.send_header("content-length", str(body.size if isinstance(body, FileParts) else len(body)))
        self.end_headers()
        sends_body = self.command != "HEAD" and response.status not in WITHOUT_BODY
        if isinstance(body, FileParts):
            self.wfile.flush()
            try:
                for file, offset, count in body.parts if sends_body else ():
                    self.connection.sendfile(file, offset, count)
            finally:
                body.close()
        elif sends_body:
            self.wfile.write(body)
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Send `100 Continue` at once: boto3 waits a second for it before every part."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def log_message(self, format: str, *args: object) -> None:
        """The servers log for themselves."""


class Server(ThreadingHTTPServer):
    """Listens from the start on; serves once `answer` is set and `serve_forever` runs."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True
    answer: Callable[[Request], Response]

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""
