"""CSV as RFC 4180 has it, and as `stowage.exports.formats.csv` writes it: an empty cell is null, `""` an empty text.

Python's own reader parses; it takes lines one by one, so the place behind each row is known to the byte.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import suppress

from stowage.imports.files.reading.lines import LONGEST_LINE, Lines
from stowage.imports.files.reading.rows import (
    SEPARATORS,
    Broken,
    Place,
    Row,
    Rows,
    broken_file,
    check_width,
    is_blank,
    use_delimiter,
)

_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""With which Excel notes the delimiter, before the header."""


class CsvRows(Rows):
    """Rows of a CSV file; a byte that is no character stays visible as a lone surrogate."""

    is_trimmed = False
    """Whether empty cells beyond the header were taken off the last row."""

    def _open(self, place: Place) -> None:
        csv.field_size_limit(LONGEST_LINE)
        told = self._layout.encoding is not None or self._layout.delimiter is not None
        self._lines = Lines(self._file, self._layout.encoding, lone_returns=told)
        if self._lines.has_lone_returns and not told:
            raise broken_file(
                "The lines end in a carriage return alone, as on old Macs. Save the file with line feeds, or send "
                '"delimiter": "," for it.'
            )
        self._pass_over_sep_line()
        self._lines.keep = []
        try:
            names = next((names for names in self._parser() if not is_blank(names)), None)
        except csv.Error as error:
            hint = "" if self._layout.delimiter else _meant_delimiter(self.text)
            raise broken_file(f"The header cannot be read. {hint or _sentence(error, self._lines)}") from error
        if names is None:
            raise broken_file("The file has no header: its first line names the columns.")
        check_width(len(names))
        self.header = [name or "" for name in names]
        if place.position > self._lines.position:
            self._lines.go_to(place.position, place.line)
        self.position, self.line = self._lines.position, self._lines.line

    def _pass_over_sep_line(self) -> None:
        found = _SEP_LINE.fullmatch(next(self._lines, ""))
        if found is None:
            self._lines.go_to(self._lines.begins_at, 0)
        elif self._layout.delimiter is None:
            raise broken_file(
                f'The first line, "sep={found[1]}", is Excel\'s note of the delimiter, no header. Send "delimiter": '
                f'"{found[1]}" for the file, or take the line away.'
            )

    def _rows(self) -> Iterator[Row]:
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
            self.is_trimmed = len(cells) > width
            if len(cells) == width or is_blank(cells):
                yield begins, cells
            elif len(cells) > width and (self._layout.drops_unnamed or is_blank(cells[width:])):
                yield begins, cells[:width]
            else:
                message = f"The row has {len(cells)} cells, the header {width}."
                yield begins, Broken("wrong_columns", message, self.text)

    def read_bytes(self) -> int:
        """How far, in bytes."""
        return self._lines.position

    def is_plain(self) -> bool:
        """Whether rows can be copied as they are."""
        return super().is_plain() and not self._lines.has_lone_returns

    @property
    def text(self) -> str:
        """The last row as it stands in the file, without its end."""
        return "".join(self._lines.keep).rstrip("\r\n")

    def _parser(self) -> Iterator[list[str | None]]:
        return csv.reader(  # type: ignore[return-value]
            self._lines, strict=True, quoting=csv.QUOTE_NOTNULL, delimiter=self._layout.delimiter or ","
        )


def _meant_delimiter(header: str) -> str:
    """The sentence for a header in quotes, which another separator than the comma makes readable."""
    for separator in SEPARATORS:
        with suppress(csv.Error):
            if len(next(csv.reader([header], strict=True, delimiter=separator), ())) > 1:
                return use_delimiter(separator)
    return ""


def _never_closed(error: csv.Error, lines: Lines) -> bool:
    message = str(error)
    return "field larger" in message or (lines.ended and "unexpected end" in message)


def _sentence(error: csv.Error, lines: Lines) -> str:
    """Python's csv errors in words for people."""
    if _never_closed(error, lines):
        return "A quote is opened and never closed."
    message = str(error)
    if "expected after" in message:
        return "A quote stands inside a cell; quotes within quotes are doubled."
    if "new-line character" in message:
        return "A carriage return stands in a cell without quotes."
    return "The row is not CSV."
