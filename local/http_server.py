"""Threaded HTTP/1.1 servers: kept connections, files sent by the kernel, requests read as RFC 9112 says.

docs/decisions.md, "An HTTP server of its own for the local stack", has the figures of the alternatives.
"""

import contextlib
import re
import socket
import socketserver
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedIOBase
from typing import IO

type Headers = list[tuple[str, str]]
WITHOUT_BODY = (204, 304)
MOST_HEAD_BYTES = 64 * 1024
MOST_CHUNKED_BYTES = 64 * 1024 * 1024
MOST_UNREAD_BYTES = 1024 * 1024
"""A body that nobody wanted is read to its end up to this size; beyond, the connection is closed."""
SILENCE_SECONDS = 60.0
"""A client that has promised a body may be silent for so long."""
_LINGER_SECONDS = 2.0
SILENT = "The body did not come."
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")


class DropConnectionError(Exception):
    """Close the connection instead of answering."""


class RefusedError(Exception):
    """A request that is not let in: a status, a sentence, and a code where it is one of ours."""

    def __init__(self, status: int, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.code = status, sentence, code


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
    """A request; its body, of `length` bytes, is still on the connection unless it is given."""

    method: str
    target: str
    headers: Headers
    client: str
    length: int
    stream: BufferedIOBase
    _body: bytes | None = None

    def __post_init__(self) -> None:
        self.left = self.length if self._body is None else 0
        """The bytes of the body that nobody has read."""

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
        return next(iter(self.all_headers(name)), default)

    def all_headers(self, name: str) -> list[str]:
        """Every header of this name, whatever its case."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]

    @property
    def body(self) -> bytes:
        """The whole body, read at first use; RefusedError where it does not come whole."""
        if self._body is None:
            self._body = b"".join(self.pieces())
            if self.left:
                raise RefusedError(400, "The body is shorter than its Content-Length.")
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body

    def pieces(self, size: int = 1 << 18) -> Iterator[bytes]:
        """The body piece by piece, for bodies that are not to be held; `left` tells of one that ended early."""
        if self._body is not None:
            yield self._body
            return
        while self.left and (piece := self._read(min(self.left, size))):
            self.left -= len(piece)
            yield piece

    def _read(self, count: int) -> bytes:
        try:
            return self.stream.read(count)
        except TimeoutError:
            raise RefusedError(408, SILENT) from None


class _Handler(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: "Server"

    def handle(self) -> None:
        """Answer one request after the other, until one of the two sides has enough."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while self._serve():
                pass

    def _serve(self) -> bool:
        """Answer one request; whether another one may follow on this connection."""
        request, kept = None, False
        try:
            head = _read_head(self.rfile)
            if head is None:
                return False
            method, target, headers, version = head
            request = Request(method, target, headers, self.client_address[0], 0, self.rfile)
            self.server.door(request)
            self.connection.settimeout(SILENCE_SECONDS)
            self._find_body(request, version)
            kept = _may_be_kept(request, version)
            response = self.server.answer(request)
        except DropConnectionError:
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        except RefusedError as error:
            response, kept = self.server.refuse(error, request), False
        except Exception:
            traceback.print_exc()
            response = self.server.refuse(RefusedError(500, "The local stack failed; its terminal says how."), request)
        kept = kept and request is not None and self._reads_rest(request)
        self.connection.settimeout(None)
        self._write(response, request.method if request else "GET", kept=kept)
        if not kept:
            self._linger()
        return kept

    def _find_body(self, request: Request, version: tuple[int, int]) -> None:
        """How long the body is, as RFC 9112 §6.3 says; one in chunks is read at once."""
        lengths, codings = request.all_headers("content-length"), request.all_headers("transfer-encoding")
        if codings and (lengths or version < (1, 1)):
            raise RefusedError(400, "Transfer-Encoding stands for Content-Length, not beside it.")
        if codings and [coding.lower() for coding in codings] != ["chunked"]:
            raise RefusedError(501, "The only Transfer-Encoding is chunked.")
        if len(lengths) > 1 or (lengths and not re.fullmatch(r"[0-9]{1,18}", lengths[0])):
            raise RefusedError(400, "Content-Length is not one number of bytes.")
        expected = request.header("expect").lower()
        if expected not in ("", "100-continue"):
            raise RefusedError(417, "The only Expect is 100-continue.")
        if expected and version >= (1, 1):
            # At once: boto3 waits a second for it before every part.
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        request.length = request.left = int(lengths[0]) if lengths else 0
        if codings:
            try:
                request.body = _read_chunks(self.rfile)
            except TimeoutError:
                raise RefusedError(408, SILENT) from None
            request.length = len(request.body)

    def _reads_rest(self, request: Request) -> bool:
        """Read what of a body nobody wanted, so that the next request can be found; False where that is too much."""
        if request.left > MOST_UNREAD_BYTES:
            return False
        self.connection.settimeout(_LINGER_SECONDS)
        try:
            for _ in request.pieces():
                pass
        except RefusedError:
            return False
        return not request.left

    def _linger(self) -> None:
        """Let the client read the answer: what it still sends would else reset the connection."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            for _ in range(MOST_UNREAD_BYTES >> 16):
                if not self.connection.recv(1 << 16):
                    break

    def _write(self, response: Response, method: str, *, kept: bool) -> None:
        body = response.body
        head = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
        head += [f"{name}: {value}" for name, value in response.headers]
        if response.status not in WITHOUT_BODY and not any(
            name.lower() == "content-length" for name, _ in response.headers
        ):
            head.append(f"content-length: {body.size if isinstance(body, FileParts) else len(body)}")
        if not kept:
            head.append("connection: close")
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1", "replace"))
        sends_body = method != "HEAD" and response.status not in WITHOUT_BODY
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


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _may_be_kept(request: Request, version: tuple[int, int]) -> bool:
    options = {option.strip().lower() for value in request.all_headers("connection") for option in value.split(",")}
    return version >= (1, 1) and "close" not in options


def _read_head(stream: BufferedIOBase) -> tuple[str, str, Headers, tuple[int, int]] | None:
    """Method, target, headers and version; None where the client has nothing more to say."""
    line = stream.readline(MOST_HEAD_BYTES + 1)
    if line in (b"\r\n", b"\n"):  # RFC 9112 §2.2 asks to bear one before a request
        line = stream.readline(MOST_HEAD_BYTES + 1)
    if not line:
        return None
    size = len(line)
    if size > MOST_HEAD_BYTES:
        raise RefusedError(414, "The address is too long.")
    match = _REQUEST_LINE.fullmatch(_text(line))
    if not match:
        raise RefusedError(400, "This is no HTTP request.")
    version = int(match[3]), int(match[4])
    if version[0] != 1:
        raise RefusedError(505, "The only version is HTTP/1.1.")
    headers: Headers = []
    while line := stream.readline(MOST_HEAD_BYTES + 1):
        size += len(line)
        if size > MOST_HEAD_BYTES:
            raise RefusedError(431, "Request Header Fields Too Large")
        if line in (b"\r\n", b"\n"):
            return match[1], *_origin_form(match[2], headers), version
        found = _HEADER.fullmatch(_text(line))
        if not found:
            raise RefusedError(400, "A header is broken.")
        headers.append((found[1], found[2].rstrip(" \t")))
    raise RefusedError(400, "The headers have no end.")


def _origin_form(target: str, headers: Headers) -> tuple[str, Headers]:
    """Path and headers of a request whose target may be a whole URL: that one's host counts (RFC 9112 §3.2.2)."""
    absolute = re.fullmatch(r"https?://([^/?#]*)(.*)", target, re.IGNORECASE)
    if absolute:
        others = [(name, value) for name, value in headers if name.lower() != "host"]
        target, headers = "/" + absolute[2].removeprefix("/"), [("Host", absolute[1]), *others]
    if not target.startswith("/"):
        raise RefusedError(400, "This is no HTTP request.")
    return target, headers


def _text(line: bytes) -> str:
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")


def _read_chunks(stream: BufferedIOBase) -> bytes:
    """The body of a request with `Transfer-Encoding: chunked` (RFC 9112 §7.1)."""
    pieces, total = [], 0
    while True:
        size = _CHUNK_SIZE.fullmatch(stream.readline(256))
        if not size:
            raise RefusedError(400, "A chunk does not begin with its size.")
        count = int(size[1], 16)
        total += count
        if total > MOST_CHUNKED_BYTES:
            raise RefusedError(413, "The body is too large.")
        if not count:
            break
        piece = stream.read(count)
        if len(piece) != count or stream.readline(3) not in (b"\r\n", b"\n"):
            raise RefusedError(400, "A chunk is not of its size.")
        pieces.append(piece)
    while (line := stream.readline(MOST_HEAD_BYTES)) not in (b"\r\n", b"\n"):
        if not line:
            raise RefusedError(400, "The chunks have no end.")
    return b"".join(pieces)


class Server(socketserver.ThreadingTCPServer):
    """Listens from the start on; serves once `answer` is set and `serve_forever` runs."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True
    answer: Callable[[Request], Response]

    def __init__(
        self,
        port: int,
        door: Callable[[Request], None],
        refuse: Callable[[RefusedError, Request | None], Response],
    ) -> None:
        """`door` raises RefusedError for a request that is not let in, `refuse` words it as this server's AWS does."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.door, self.refuse = door, refuse

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""
