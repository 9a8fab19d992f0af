"""One artifact from its source into storage: read, compress, hash, cut into parts, upload. Memory stays flat.

Threads compress and upload, this one reads and hashes: all of that releases the interpreter's lock. There is no Python
work per row or byte, which would slow every one of them down (measured: 17 times, beside one busy thread).
"""

import base64
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Protocol

from isal import isal_zlib

from stowage.basics.errors import RunError
from stowage.pipeline.compress import Compressor
from stowage.pipeline.parts import MOST_PARTS, Part, part_size
from stowage.pipeline.source import Source
from stowage.pipeline.threads import DaemonThreads

WATCH_SECONDS = 0.5
"""How often `watch` is called: within the second in which a cancelled run has to be noticed."""
ABANDON_SECONDS = 2.0
"""How long an ending transfer waits for parts in flight: the worker has to stop within five seconds of a cancel."""

Watch = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Stored:
    """A whole artifact in storage: `sha256` in hex, `crc32` in base64, both of the stored bytes.

    `source_bytes` is what the source gave before compression, `rows` what it counted (0 where it does not).
    """

    key: str
    size_bytes: int
    sha256: str
    crc32: str
    source_bytes: int
    rows: int


class Upload(Protocol):
    """Where the stored bytes go. `part` is called from several threads at once, the others from one at a time."""

    key: str

    def create(self) -> None:
        """Begin."""

    def part(self, number: int, data: bytearray, crc32: str) -> Part:
        """Store one part, whose CRC32 is given in base64."""
        ...

    def complete(self, parts: list[Part], *, crc32: str, size: int) -> None:
        """Make the object of all parts: CRC32 of the whole in base64, size in bytes."""

    def abort(self) -> None:
        """Take everything away again."""


def transfer(
    source: Source, upload: Upload, *, compress: Compressor | None, watch: Watch, in_flight: int = 1
) -> Stored:
    """Store everything that `source` gives under `upload.key`, whole or not at all.

    `watch(bytes_read, bytes_stored, rows)` is called about twice a second, also while the source is silent as long as
    the source gives empty chunks meanwhile; whatever it raises ends the transfer. At most `in_flight` + 1 parts are in
    memory.

    Whatever goes wrong is raised after the source is closed (its process gone) and the upload aborted. Nothing is
    complete before the source's own `finish` has said that it was whole: a killed child looks like a clean end of file.
    """
    storing = _Storing(source, upload, watch, in_flight)
    try:
        upload.create()
        for chunk in source.chunks():
            storing.source_bytes += len(chunk)
            if chunk:
                storing.write(compress.compress(chunk) if compress else chunk)
            storing.look_around()
        source.finish()
        if compress:
            storing.write(compress.flush())
        return storing.complete()
    except BaseException as error:
        # The child first: it holds locks and a snapshot in the database, the upload only costs storage.
        _note_failure(error, source.close)
        storing.abandon()
        _note_failure(error, upload.abort)
        raise
    finally:
        source.close()
        if compress:
            compress.close()
        storing.threads.close()


class _Storing:
    """The stored side of one transfer: a part being filled, parts in flight, and what is known of the whole."""

    def __init__(self, source: Source, upload: Upload, watch: Watch, in_flight: int) -> None:
        self.source_bytes = 0
        self.threads = DaemonThreads(in_flight, "upload")
        self._source, self._upload, self._watch, self._in_flight = source, upload, watch, in_flight
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._size = 0
        self._parts: list[Part] = []
        self._cut = 0
        self._buffer = bytearray(part_size(1))
        self._filled = 0
        self._spare: list[bytearray] = []
        self._pending: dict[Future[Part], bytearray] = {}
        self._next_look = 0.0

    def write(self, data: bytes) -> None:
        """Take the next stored bytes."""
        self._sha256.update(data)
        rest = memoryview(data)
        while rest:
            space = len(self._buffer) - self._filled
            piece = rest[:space]
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
            if self._filled == len(self._buffer):
                self._send()
                self._buffer = self._next_buffer()

    def look_around(self) -> None:
        """Call `watch` when it is time, and learn of parts that failed."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + WATCH_SECONDS
        self._collect(timeout=0)
        self._watch(self.source_bytes, self._size + self._filled, self._source.rows)

    def complete(self) -> Stored:
        """Send the last part, wait for all, and make the object; the object is there when this returns."""
        if self._filled or not self._cut:  # an empty artifact is one empty part
            del self._buffer[self._filled :]
            self._send()
        while self._pending:
            self._collect(timeout=WATCH_SECONDS)
            self.look_around()
        crc32 = _base64(self._crc32)
        parts = sorted(self._parts, key=lambda part: part.number)
        self._complete_upload(parts, crc32)
        return Stored(
            self._upload.key, self._size, self._sha256.hexdigest(), crc32, self.source_bytes, self._source.rows
        )

    def abandon(self) -> None:
        """Wait a little for the parts in flight, so that none arrives after the abort."""
        wait(self._pending, timeout=ABANDON_SECONDS)

    def _send(self) -> None:
        """Give the filled buffer to a thread, once there is room for another part in flight."""
        while len(self._pending) >= self._in_flight:
            self._collect(timeout=WATCH_SECONDS)
            self.look_around()
        if self._cut == MOST_PARTS:
            raise RunError(f"The artifact does not fit into {MOST_PARTS:,} parts.", "artifact_too_large")
        self._cut += 1
        number, data = self._cut, self._buffer
        checksum = isal_zlib.crc32(data)
        self._crc32 = isal_zlib.crc32_combine(self._crc32, checksum, len(data))
        self._size += len(data)
        self._filled = 0
        future = self.threads.submit(lambda: self._upload.part(number, data, _base64(checksum)))
        self._pending[future] = data

    def _next_buffer(self) -> bytearray:
        size = part_size(self._cut + 1)
        while self._spare:
            buffer = self._spare.pop()
            if len(buffer) == size:
                return buffer
        return bytearray(size)

    def _collect(self, timeout: float) -> None:
        """Take the parts that are done; raise what the first failed one raised."""
        if not self._pending:
            return
        done, _ = wait(self._pending, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in done:
            self._spare.append(self._pending.pop(future))
            self._parts.append(future.result())

    def _complete_upload(self, parts: list[Part], crc32: str) -> None:
        """Complete beside the watch, because storage may take minutes over a large object.

        A cancel that comes now is raised only once the outcome is known: then the abort knows what to take away.
        """
        completing = self.threads.submit(lambda: self._upload.complete(parts, crc32=crc32, size=self._size))
        stopped: BaseException | None = None
        while not wait([completing], timeout=WATCH_SECONDS).done:
            try:
                self.look_around()
            except BaseException as error:  # raised below, once the outcome is known
                stopped = stopped or error
        completing.result()
        if stopped:
            raise stopped


def _base64(crc32: int) -> str:
    """Write a CRC32 as S3 does: base64 of its four bytes, the highest first."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _note_failure(error: BaseException, clean_up: Callable[[], None]) -> None:
    """Clean up without hiding `error`, which is the reason why there is something to clean up."""
    try:
        clean_up()
    except Exception as failure:  # noted on the error that matters
        error.add_note(f"Cleaning up failed too: {failure!r}")
