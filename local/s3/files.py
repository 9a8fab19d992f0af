"""The bytes of objects in files: moto keeps names and metadata, and these instead of buffers in memory."""

import io
import itertools
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.http_server import FileParts


@dataclass(frozen=True)
class Segment:
    """One file of an object."""

    path: Path
    size: int


class FileBytes:
    """An object's bytes in files, one per part; plays the buffer that moto's `FakeKey` holds."""

    def __init__(self, store: "FileStore", segments: Iterable[Segment]) -> None:
        self.store, self.segments = store, list(segments)
        self.size = sum(segment.size for segment in self.segments)
        self._reader = io.BytesIO()

    def seek(self, offset: int) -> None:
        """Start to read; only from the beginning."""
        self._reader = io.BytesIO(b"".join(segment.path.read_bytes() for segment in self.segments))
        self._reader.seek(offset)

    def read(self, size: int = -1) -> bytes:
        """Read from where the last read ended; what was read to its end is not held any longer."""
        piece = self._reader.read(size)
        if len(piece) < size or size < 0:
            self._reader = io.BytesIO()
        return piece

    def close(self) -> None:
        """The object is gone: its files may go too, once that is written down."""
        self.store.discarded += [segment.path for segment in self.segments]

    def release(self) -> list[Segment]:
        """Hand the files over to another owner."""
        segments, self.segments = self.segments, []
        return segments

    def open(self, first: int, last: int) -> FileParts:
        """The bytes from `first` to `last` inclusive, as a body to send."""
        parts: list[tuple[IO[bytes], int, int]] = []
        start = 0
        for segment in self.segments:
            begin, end = max(first - start, 0), min(last - start + 1, segment.size)
            if begin < end:
                parts.append((open(segment.path, "rb"), begin, end - begin))
            start += segment.size
        return FileParts(parts)


class FileStore:
    """The folder of all object bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.discarded: list[Path] = []
        root.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self._start = f"{time.time_ns():x}"

    def new_path(self) -> Path:
        """A file name that was never used."""
        return self.root / f"{self._start}-{next(self._numbers):x}"

    def write(self, data: bytes) -> FileBytes:
        """Bytes of a small object."""
        path = self.new_path()
        path.write_bytes(data)
        return FileBytes(self, [Segment(path, len(data))])

    def delete_discarded(self) -> None:
        """Delete the files of objects that are gone for good."""
        while self.discarded:
            self.discarded.pop().unlink(missing_ok=True)

    def keep_only(self, names: set[str]) -> None:
        """Delete files that no object names: a killed stack leaves them."""
        for entry in os.scandir(self.root):
            if entry.name not in names:
                Path(entry.path).unlink()
