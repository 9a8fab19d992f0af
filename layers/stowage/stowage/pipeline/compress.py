"""Compressors of the pipeline. Each call takes and gives bytes of one stream; none does Python work per byte.

Why igzip and not zlib-ng or zstandard: docs/decisions.md, measured by benchmarks/compressors.py.
"""

from typing import Protocol

from isal import isal_zlib

GZIP_WINDOW_BITS = 31
"""The largest window, with a gzip header and trailer (zlib's manual, deflateInit2)."""


class Compressor(Protocol):
    """Bytes in, fewer bytes out; `flush` ends the stream and is called once."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


def gzip_compressor() -> Compressor:
    """Give a compressor whose output is one ordinary `.gz` member (RFC 1952): no name, no time, so equal bytes in give
    equal bytes out. Intel's igzip at level 1: about ten times as fast as zlib's level 1 and no larger.
    """
    return isal_zlib.compressobj(level=1, wbits=GZIP_WINDOW_BITS)
