"""Compressors of the pipeline. None does Python work per byte.

Why igzip and not zlib-ng or zstandard: docs/decisions.md, "igzip level 1, in blocks on two threads", measured by
benchmarks/compressors.py.
"""

import struct
import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from isal import isal_zlib

from stowage.pipeline.threads import DaemonThreads

LEVEL = 1
RAW_DEFLATE = -15
BLOCK_BYTES = 256 * 1024
"""Each block is compressed without knowledge of the one before: at this size that costs 1 % of the result."""
THREADS = 2
HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x04\xff"
"""RFC 1952, section 2.3: deflate, no flags, no time, "fastest", no operating system."""
LAST_BLOCK = b"\x03\x00"
"""An empty deflate block with the mark of the last one (RFC 1951, section 3.2.3)."""


class Compressor(Protocol):
    """Bytes in, fewer bytes out, perhaps of earlier calls; `flush` ends the stream and is called once.

    `close` frees what it holds, at any time, also twice.
    """

    def compress(self, data: bytes) -> bytes:
        """Take the next bytes and give what is ready."""
        ...

    def flush(self) -> bytes:
        """Give the rest."""
        ...

    def close(self) -> None:
        """Free everything."""


def gzip_compressor() -> Compressor:
    """Give a compressor whose output is one ordinary `.gz` of one member (RFC 1952), which any gunzip opens.

    No name and no time are in it, so equal bytes in give equal bytes out, however they are cut into calls.
    """
    return BlockGzip()


class BlockGzip:
    """Intel's igzip at level 1 on two threads, as pigz does it: one member, whose deflate blocks need no other block.

    One thread alone (0.5 GB/s) is slower than pg_dump from a database that has cores of its own.
    """

    def __init__(self) -> None:
        self._block = bytearray(BLOCK_BYTES)
        self._filled = 0
        self._spare: list[bytearray] = []
        self._pending: deque[tuple[Future[tuple[bytes, int]], bytearray]] = deque()
        self._threads = DaemonThreads(THREADS, "gzip")
        self._own = threading.local()
        self._crc32 = 0
        self._size = 0
        self._head = HEADER

    def compress(self, data: bytes) -> bytes:
        """Take the next bytes and give what is ready, in order; waits where more than three blocks are not."""
        ready = []
        rest = memoryview(data)
        while rest:
            piece = rest[: BLOCK_BYTES - self._filled]
            self._block[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
            if self._filled == BLOCK_BYTES:
                self._pending.append((self._threads.submit(partial(self._deflate, self._block)), self._block))
                ready.append(self._take(leave=THREADS + 1))
                self._block = self._spare.pop() if self._spare else bytearray(BLOCK_BYTES)
                self._filled = 0
        return b"".join(ready)

    def flush(self) -> bytes:
        """Give the rest and the trailer."""
        rest = self._take(leave=0)
        if self._filled:  # here and not in a thread: a small artifact needs none
            del self._block[self._filled :]
            rest += self._account(*self._deflate(self._block), len(self._block))
        self.close()
        head, self._head = self._head, b""
        return head + rest + LAST_BLOCK + struct.pack("<II", self._crc32, self._size & 0xFFFFFFFF)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _take(self, leave: int) -> bytes:
        ready = []
        while self._pending and (len(self._pending) > leave or self._pending[0][0].done()):
            future, block = self._pending.popleft()
            ready.append(self._account(*future.result(), len(block)))
            self._spare.append(block)
        if ready and self._head:
            ready.insert(0, self._head)
            self._head = b""
        return b"".join(ready)

    def _account(self, packed: bytes, crc32: int, size: int) -> bytes:
        self._crc32 = isal_zlib.crc32_combine(self._crc32, crc32, size)
        self._size += size
        return packed

    def _deflate(self, block: bytearray) -> tuple[bytes, int]:
        """Give a block compressed up to a byte's end, and its CRC32. Each thread keeps its compressor."""
        compressor: Any = getattr(self._own, "compressor", None)
        if compressor is None:
            compressor = self._own.compressor = isal_zlib.compressobj(LEVEL, wbits=RAW_DEFLATE)
        packed = compressor.compress(block) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
        return packed, isal_zlib.crc32(block)
