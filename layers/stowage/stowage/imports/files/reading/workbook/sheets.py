"""The rows of one sheet, read a piece of XML at a time."""

import re
from collections.abc import Iterator
from typing import Any

from stowage.imports.files.reading.rows import MOST_COLUMNS, broken_file
from stowage.imports.files.reading.workbook.book import Book
from stowage.imports.files.reading.workbook.cells import NOT_COMPUTED, Shared, value_of
from stowage.imports.files.reading.workbook.parts import Handlers, Parts
from stowage.imports.files.reading.workbook.texts import LONGEST_TEXT, too_long_text

LONGEST_ROW = 1_000_000
"""Characters of all cells of a row."""
_COLUMN = re.compile(r"\$?([A-Za-z]{1,3})\$?[0-9]+\Z", re.ASCII)

MOST_LINES = 1 << 31

type Cells = dict[int, Any]
"""The values of a row's cells by their columns, counted from 0."""


def sheet_rows(parts: Parts, book: Book, part: str) -> Iterator[tuple[int, Cells, int]]:
    """Each row that has cells: its number from 1, their values (`cells.value_of`), and how many characters in all."""
    sheet = _Sheet(book)
    for _ in parts.pieces(part, sheet):
        for line, cells, length in sheet.done:
            yield line, cells, _look_up(cells, length, book)
        sheet.done.clear()


class _Sheet(Handlers):
    """What the XML parser tells of a sheet; `done` are the rows that have ended since somebody emptied it."""

    def __init__(self, book: Book) -> None:
        self.done: list[tuple[int, Cells, int]] = []
        self._book = book
        self._cells: Cells = {}
        self._line, self._column = 0, -1
        self._type, self._style, self._texts = "n", 0, list[str]()
        self._row_length = self._text_length = 0
        self._inside = self._phonetic = self._has_value = False
        self._computed = False
        self._row_tag = self._cell_tag = self._phonetic_tag = self._formula_tag = ""
        self._value_tags: tuple[str, ...] = ()
        self._line_text = "0"

    def start(self, name: str, given: dict[str, str]) -> None:
        self.depth += 1
        if name == self._cell_tag:
            place = given.get("r")
            self._column += 1
            if place is not None and place != _NAMES[self._column] + self._line_text:
                self._column = _column_number(place)
            if self._column >= MOST_COLUMNS:
                raise broken_file("A cell lies beyond a sheet's last column.")
            self._type = given.get("t", "n")
            self._style = int(given.get("s", 0))
            self._has_value = self._computed = False
        elif name in self._value_tags:
            self._inside = self._has_value = True
        elif name == self._row_tag:
            self._cells, self._column, self._row_length = {}, -1, 0
            self._line = int(given["r"]) if "r" in given else self._line + 1
            self._line_text = str(self._line)
            if not 0 < self._line < MOST_LINES:
                raise broken_file("A row has no place in its sheet.")
        elif name == self._formula_tag:
            self._computed = True
        elif name == self._phonetic_tag:
            self._phonetic = True
        elif not self._row_tag:
            # Whatever namespace the sheet itself has is that of its rows: there are two, and some programs' own.
            space = name.removesuffix("worksheet")
            self._row_tag, self._cell_tag, self._phonetic_tag = f"{space}row", f"{space}c", f"{space}rPh"
            self._value_tags, self._formula_tag = (f"{space}v", f"{space}t"), f"{space}f"

    def end(self, name: str) -> None:
        self.depth -= 1
        if name in self._value_tags:
            self._inside = False
        elif name == self._cell_tag:
            value = None
            if self._has_value:
                text = self._texts[0] if len(self._texts) == 1 else "".join(self._texts)
                value = value_of(text, self._type, self._book.style(self._style), since_1904=self._book.since_1904)
                self._row_length += len(text)
                _check_length(self._row_length)
                self._texts.clear()
                self._text_length = 0
            self._cells[self._column] = NOT_COMPUTED if value is None and self._computed else value
        elif name == self._row_tag:
            if self._cells:
                self.done.append((self._line, self._cells, self._row_length))
        elif name == self._phonetic_tag:
            self._phonetic = False

    def text(self, data: str) -> None:
        if self._inside and not self._phonetic:
            self._text_length += len(data)
            if self._text_length > LONGEST_TEXT:
                raise too_long_text()
            self._texts.append(data)


def _look_up(row: Cells, length: int, book: Book) -> int:
    """Put the shared texts into a row, one row at a time: a short row may refer to megabytes. Its length in all."""
    for column, value in row.items():
        if type(value) is Shared:
            row[column] = text = book.texts[value]
            length += len(text)
            _check_length(length)
    return length


def _check_length(characters: int) -> None:
    if characters > LONGEST_ROW:
        raise broken_file(f"A row of the workbook holds more than {LONGEST_ROW:,} characters; save the file as CSV.")


def _column_number(place: str) -> int:
    found = _COLUMN.match(place)
    if found is None:
        raise broken_file("A cell has no place in its sheet.")
    number = 0
    for letter in found[1].upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def _column_name(number: int) -> str:
    name = ""
    while number >= 0:
        number, letter = divmod(number, 26)
        name, number = chr(65 + letter) + name, number - 1
    return name


_NAMES = [_column_name(number) for number in range(MOST_COLUMNS + 1)]
"""The columns' names by their numbers: most cells stand where they are expected, which is quicker to ask."""
