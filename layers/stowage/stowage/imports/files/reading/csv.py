"""CSV as RFC 4180 has it, and as `stowage.exports.formats.csv` writes it: an empty cell is null, `""` an empty text.

Python's own reader parses; it takes lines one by one, so the place behind each row is known to the byte.
"""

import csv
import io
from collections.abc import Iterator

from stowage.imports.files.reading.rows import Broken, Place, Row, broken_file, check_encoding

LONGEST_LINE = 16 << 20
"""Bytes; also of a cell. A quote that is never closed must not fill the memory."""


class CsvRows:
    """Rows of a CSV file; a byte that is no UTF-8 stays visible as a lone surrogate."""

    def __init__(self, file: io.BufferedReader, place: Place) -> None:
        csv.field_size_limit(LONGEST_LINE)
        self._lines = _Lines(file)
        skipped = check_encoding(file.peek(4)[:4])
        self._lines.go_to(skipped, 0)
        try:
            first = next(iter(self._parser()), None)
        except csv.Error as error:
            raise broken_file(f"The header cannot be read. {_sentence(error, self._lines)}") from error
        if first is None or not any(first):
            raise broken_file("The file has no header: its first line names the columns.")
        self.header: list[str] | None = [name or "" for name in first]
        if place.position > self._lines.position:
            self._lines.go_to(place.position, place.line)
        self.position, self.line = self._lines.position, self._lines.line

    def __iter__(self) -> Iterator[Row]:
        """Each row; lines without anything are none."""
        assert self.header is not None
        width, lines = len(self.header), self._lines
        parser = self._parser()
        while True:
            begins = lines.line + 1
            lines.keep = []
            try:
                cells = next(parser)
            except StopIteration:
                return
            except csv.Error as error:
                if _never_closed(error, lines):
                    raise broken_file(f"A quote is opened in line {begins:,} and never closed.") from error
                self.position, self.line = lines.position, lines.line
                yield begins, Broken("invalid_csv", _sentence(error, lines), self.text)
                continue
            self.position, self.line = lines.position, lines.line
            if len(cells) == width:
                yield begins, cells
            elif cells:
                message = f"The row has {len(cells)} cells, the header {width}."
                yield begins, Broken("wrong_columns", message, self.text)

    def read_bytes(self) -> int:
        """How far, in bytes."""
        return self._lines.position

    @property
    def text(self) -> str:
        """The last row as it stands in the file, without its end."""
        return "".join(self._lines.keep).rstrip("\r\n")

    def _parser(self) -> Iterator[list[str | None]]:
        return csv.reader(self._lines, strict=True, quoting=csv.QUOTE_NOTNULL)  # type: ignore[return-value]


def _never_closed(error: csv.Error, lines: "_Lines") -> bool:
    message = str(error)
    return "field larger" in message or (lines.ended and "unexpected end" in message)


def _sentence(error: csv.Error, lines: "_Lines") -> str:
    """Python's csv errors in words for people."""
    if _never_closed(error, lines):
        return "A quote is opened and never closed."
    message = str(error)
    if "expected after" in message:
        return "A quote stands inside a cell; quotes within quotes are doubled."
    if "new-line character" in message:
        return "A carriage return stands in a cell without quotes."
    return "The row is not CSV."


class _Lines:
    """The file's lines as text; `position` is the byte behind the last one."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.position = self.line = 0
        self.ended = False
        self.keep: list[str] = []
        """The text of the lines given since somebody emptied it."""

    def go_to(self, position: int, line: int) -> None:
        """Go on from a byte."""
        self._file.seek(position)
        self.position, self.line, self.ended = position, line, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._file.readline(LONGEST_LINE)
        if not data:
            self.ended = True
            raise StopIteration
        if len(data) == LONGEST_LINE:
            raise broken_file(f"Line {self.line + 1:,} is longer than 16 MB.")
        self.position += len(data)
        self.line += 1
        text = data.decode("utf-8", "surrogateescape")
        self.keep.append(text)
        return text
