"""Notices edited files: looks at their times before an event, at most five times a second."""

import os
import stat
import threading
import time
from pathlib import Path

SECONDS = 0.2
SHARE = 20
"""Looking may take a twentieth of the time, however slow the disk is."""
SETTLED_NANOSECONDS = 1_000_000_000
"""A folder that has changed just now may change once more without a new time."""
_SUFFIXES = (".py", ".sql", ".yaml", ".html", ".js", ".css", ".svg", ".json", ".toml")


class CodeWatch:
    """Watches files, and folders of source files."""

    def __init__(self, *watched: Path) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._next = 0.0
        self._listed: dict[str, tuple[int, list[str]]] = {}
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether a file has come, gone or been written since the last time this was true."""
        if time.monotonic() < self._next:
            return False
        with self._lock:
            if time.monotonic() < self._next:
                return False
            seen = self._look()
            changed, self._seen = seen != self._seen, seen
            return changed

    def _look(self) -> int:
        started = time.monotonic()
        seen: list[tuple[str, int]] = []
        for path in self._watched:
            self._add_times(str(path), seen)
        ended = time.monotonic()
        self._next = ended + max(SECONDS, SHARE * (ended - started))
        return hash(tuple(seen))

    def _add_times(self, path: str, seen: list[tuple[str, int]]) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116  in a third of Path's time
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            seen.append((path, status.st_mtime_ns))
            return
        # Most of the time went into reading folders that had not changed.
        listed, entries = self._listed.get(path, (0, []))
        if listed != status.st_mtime_ns or time.time_ns() - listed < SETTLED_NANOSECONDS:
            entries = _list(path)
            self._listed[path] = (status.st_mtime_ns, entries)
        for entry in entries:
            self._add_times(entry, seen)


def _list(folder: str) -> list[str]:
    """The folders and source files in a folder."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.path
            for entry in entries
            if (
                entry.name != "__pycache__" and not entry.name.startswith(".")
                if entry.is_dir(follow_symlinks=False)
                else entry.name.endswith(_SUFFIXES)
            )
        )
