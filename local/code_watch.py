"""Notices edited files: looks at their times before an event, at most five times a second."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 0.2


class CodeWatch:
    """Watches files, and folders of source files."""

    def __init__(self, *watched: Path) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._looked = 0.0
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether a file has come, gone or been written since the last time this was true."""
        if time.monotonic() - self._looked < SECONDS:
            return False
        with self._lock:
            if time.monotonic() - self._looked < SECONDS:
                return False
            seen = self._look()
            changed, self._seen = seen != self._seen, seen
            return changed

    def _look(self) -> int:
        self._looked = time.monotonic()
        return hash(tuple(sorted(entry for path in self._watched for entry in _files(path))))


def _files(folder: Path | str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        yield str(folder), Path(folder).stat().st_mtime_ns
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__" and not entry.name.startswith("."):
                yield from _files(entry.path)
        elif entry.name.endswith((".py", ".sql", ".yaml", ".html", ".js", ".css", ".svg", ".json", ".toml")):
            yield entry.path, entry.stat().st_mtime_ns
