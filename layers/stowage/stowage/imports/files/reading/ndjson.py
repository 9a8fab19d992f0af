"""NDJSON: one JSON object a line; lines without anything are none."""

import io
import json
from collections.abc import Iterator

from stowage.imports.files.reading.rows import Broken, Place, Row, broken_file, check_encoding

LONGEST_LINE = 16 << 20


class NdjsonRows:
    """Rows of an NDJSON file, each an object."""

    header: list[str] | None = None

    def __init__(self, file: io.BufferedReader, place: Place) -> None:
        self._file = file
        self.position = max(place.position, check_encoding(file.peek(4)[:4]))
        self.line = place.line
        self.text = ""
        """The text of the last row."""

    def __iter__(self) -> Iterator[Row]:
        """Each object."""
        self._file.seek(self.position)
        while data := self._file.readline(LONGEST_LINE):
            if len(data) == LONGEST_LINE:
                raise broken_file(f"Line {self.line + 1:,} is longer than 16 MB.")
            self.position += len(data)
            self.line += 1
            stripped = data.strip()
            if not stripped:
                continue
            self.text = stripped.decode("utf-8", "surrogateescape")
            try:
                given = json.loads(self.text)
            except (ValueError, RecursionError):
                yield self.line, Broken("invalid_json", "The line is not JSON.", self.text)
                continue
            if isinstance(given, dict):
                yield self.line, given
            else:
                yield self.line, Broken("invalid_json", "The line is no JSON object.", self.text)

    def read_bytes(self) -> int:
        """How far, in bytes."""
        return self.position
