"""An artifact's bytes unpacked as they come, a megabyte at a time, whatever a damaged file claims."""

from collections.abc import Iterator
from typing import Any, Protocol

from isal import igzip_lib, isal_zlib

UNPACKED_BYTES = 1 << 20
"""What stays in a processor's cache while it is unpacked, looked through and counted: twice as fast as with 4 MB."""
GZIP = 31
"""zlib's `wbits` for one gzip member with its header and its trailer."""


class Unpacking(Protocol):
    """Unpacks what it is fed; `is_whole` once that has come to its end without an error."""

    @property
    def is_whole(self) -> bool:
        """Whether everything was unpacked, and nothing came behind it."""
        ...

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes unpack to."""
        ...


def unpacking(compression: str | None) -> Unpacking:
    """What unpacks an artifact of that compression, as its manifest says it: `gzip`, or None for none."""
    return _Gunzip() if compression == "gzip" else _AsItIs()


class _AsItIs:
    is_whole = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Gunzip:
    """One gzip member; a megabyte at a time, whatever a damaged file claims."""

    def __init__(self) -> None:
        self._decompressor: Any = isal_zlib.decompressobj(GZIP)
        self._is_broken = False

    @property
    def is_whole(self) -> bool:
        return self._decompressor.eof and not self._is_broken

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._is_broken:
            if self._decompressor.eof:
                self._is_broken = True
                return
            try:
                unpacked = self._decompressor.decompress(data, UNPACKED_BYTES)
            except igzip_lib.IsalError:  # type: ignore[misc]  # its stub calls it an Exception, not a class
                self._is_broken = True
                return
            data = self._decompressor.unconsumed_tail or self._decompressor.unused_data
            yield unpacked
