"""A zip archive as a stream: entries are written as they come, nothing is known of their sizes before.

APPNOTE.TXT 6.3.10: each entry is deflated and followed by a data descriptor (§4.3.9); what does not fit 32 bits stands
in zip64 records (§4.3.14, §4.5.3). The standard library's zipfile deflates at a sixth of igzip's speed.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from isal import isal_zlib

CHUNK_BYTES = 128 * 1024
# All bits set say that the true value stands in a zip64 record (§4.4.1.4).
_ELSEWHERE = 0xFFFFFFFF
_ENTRIES_ELSEWHERE = 0xFFFF
# Sizes in a descriptor behind the data (bit 3), name in UTF-8 (bit 11).
_FLAGS = 1 << 3 | 1 << 11
_DEFLATED = 8
_VERSION, _VERSION_ZIP64 = 20, 45
_MADE_ON_UNIX = 3 << 8
_FILE_MODE = 0o100644 << 16


@dataclass(frozen=True)
class _Entry:
    name: bytes
    crc32: int
    stored: int
    size: int
    offset: int
    zip64: bool


class ZipStream:
    """One archive, whose entries all bear the time `modified`: `entry` after `entry`, each to its end, then `end`."""

    def __init__(self, modified: datetime) -> None:
        self._time = modified.hour << 11 | modified.minute << 5 | modified.second // 2
        self._date = (max(modified.year, 1980) - 1980) << 9 | modified.month << 5 | modified.day
        self._entries: list[_Entry] = []
        self._offset = 0

    def entry(self, name: str, chunks: Iterable[bytes], *, large: bool = False) -> Iterator[bytes]:
        """The bytes of one entry; empty chunks pass at once, as a sign of life.

        `large` announces that it may have 4 GiB or more (zip64 from the start, which Excel refuses in a workbook).
        OverflowError where one grows so large without.
        """
        encoded, offset = name.encode(), self._offset
        crc32 = size = 0
        deflate = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
        ready = [self._local_header(encoded, large)]
        waiting = stored = 0
        for chunk in chunks:
            crc32 = isal_zlib.crc32(chunk, crc32)
            size += len(chunk)
            if packed := deflate.compress(chunk):
                ready.append(packed)
                stored += len(packed)
                waiting += len(packed)
            if waiting >= CHUNK_BYTES:
                yield self._give(b"".join(ready))
                ready, waiting = [], 0
            elif not chunk:
                yield b""
        packed = deflate.flush()
        stored += len(packed)
        if not large and max(size, stored) >= _ELSEWHERE:
            raise OverflowError(f"{name} has {size} bytes, more than a plain entry holds")
        descriptor = struct.pack("<LLQQ" if large else "<LLLL", 0x08074B50, crc32, stored, size)
        self._entries.append(_Entry(encoded, crc32, stored, size, offset, large))
        yield self._give(b"".join([*ready, packed, descriptor]))

    def end(self) -> bytes:
        """The central directory, which makes the archive whole."""
        directory = b"".join(self._directory_header(entry) for entry in self._entries)
        count, start, size = len(self._entries), self._offset, len(directory)
        tail = b""
        if count >= _ENTRIES_ELSEWHERE or max(start, size) >= _ELSEWHERE or any(entry.zip64 for entry in self._entries):
            tail = struct.pack(
                "<LQHHLLQQQQ",
                0x06064B50,
                44,
                _MADE_ON_UNIX | _VERSION_ZIP64,
                _VERSION_ZIP64,
                0,
                0,
                count,
                count,
                size,
                start,
            )
            tail += struct.pack("<LLQL", 0x07064B50, 0, start + size, 1)
        shown = min(count, _ENTRIES_ELSEWHERE)
        tail += struct.pack(
            "<LHHHHLLH", 0x06054B50, 0, 0, shown, shown, min(size, _ELSEWHERE), min(start, _ELSEWHERE), 0
        )
        return self._give(directory + tail)

    def _give(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data

    def _local_header(self, name: bytes, large: bool) -> bytes:
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if large else b""
        version, size = (_VERSION_ZIP64, _ELSEWHERE) if large else (_VERSION, 0)
        fields = (0x04034B50, version, _FLAGS, _DEFLATED, self._time, self._date, 0, size, size, len(name), len(extra))
        return struct.pack("<LHHHHHLLLHH", *fields) + name + extra

    def _directory_header(self, entry: _Entry) -> bytes:
        extra = b""
        sizes = [entry.size, entry.stored, entry.offset]
        if entry.zip64 or entry.offset >= _ELSEWHERE:
            extra = struct.pack("<HHQQQ", 1, 24, *sizes)
            sizes = [_ELSEWHERE, _ELSEWHERE, _ELSEWHERE]
        version = _VERSION_ZIP64 if extra else _VERSION
        fields = (
            0x02014B50, _MADE_ON_UNIX | version, version, _FLAGS, _DEFLATED, self._time, self._date, entry.crc32,
            sizes[1], sizes[0], len(entry.name), len(extra), 0, 0, 0, _FILE_MODE, sizes[2],
        )  # fmt: skip
        return struct.pack("<LHHHHHHLLLHHHHHLL", *fields) + entry.name + extra
