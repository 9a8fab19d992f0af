"""Excel workbooks (ECMA-376), streamed: what our own exports, Excel, LibreOffice and others write.

Cells are texts (inline, shared, results of formulas), numbers, truth values, dates, times of day, durations and
moments (numbers by their format, or ISO 8601), or errors (`#REF!`). Formulas are never computed: the value that the
file holds counts. Sheets that people do not see are passed over. The first one with anything in it has the header;
further ones bear the same header or are empty.
"""

from collections.abc import Iterator
from typing import Any

from stowage.imports.files.reading.rows import Broken, Place, Row, Rows, broken_file, check_width, is_blank
from stowage.imports.files.reading.workbook.book import Book, Sheet
from stowage.imports.files.reading.workbook.cells import as_text
from stowage.imports.files.reading.workbook.parts import Parts
from stowage.imports.files.reading.workbook.sheets import Cells, sheet_rows

CHARACTER_BYTES = 4
"""What a character takes while its row is written for the database."""
CELL_BYTES = 25
"""What a cell takes of memory beside its text, about."""


class WorkbookRows(Rows):
    """Rows of all visible sheets; `position` counts data rows."""

    def _open(self, _: Place) -> None:
        self._weight = 0
        self._parts = Parts(self._file)
        self._book = Book(self._parts)
        self._sheets: list[Sheet] = []
        for sheet in self._book.sheets:
            header = self._header_of(sheet)
            if header is None:
                continue
            if self.header is None:
                self.header = header
                check_width(len(header))
            elif header != self.header:
                raise broken_file(
                    f"The sheet {sheet.name[:100]!r} has another header than {self._sheets[0].name[:100]!r}; leave or "
                    "hide all sheets but those of one kind."
                )
            self._sheets.append(sheet)
        if self.header is None:
            raise broken_file("The workbook has no header: the first row of a sheet names the columns.")

    def _header_of(self, sheet: Sheet) -> list[str] | None:
        """The names that the first row with anything in it holds; None for an empty sheet."""
        for _, cells, _length in sheet_rows(self._parts, self._book, sheet.part):
            if not is_blank(cells.values()):
                width = 1 + max(column for column, value in cells.items() if not is_blank([value]))
                return [_name(cells.get(column)) for column in range(width)]
        return None

    def _rows(self) -> Iterator[Row]:
        number = 0
        for sheet in self._sheets:
            is_header = True
            for line, cells, length in sheet_rows(self._parts, self._book, sheet.part):
                if is_blank(cells.values()):
                    self.blank += 1
                elif is_header:
                    is_header = False
                else:
                    number += 1
                    if number > self.position:
                        self._weight += CHARACTER_BYTES * length + CELL_BYTES * (len(cells) + len(self.header or ()))
                        self.position, self.line = number, line
                        yield line, self._fitted(cells)

    def read_bytes(self) -> int:
        """How far into the archive, about: sheets are read in its order."""
        return self._file.tell()

    def weight(self) -> int:
        """What the rows given so far take of memory, about."""
        return self._weight

    def _fitted(self, cells: Cells) -> list[Any] | Broken:
        assert self.header is not None
        width = len(self.header)
        fitted: list[Any] = [None] * width
        beyond = False
        for column, value in cells.items():
            if column < width:
                fitted[column] = value
            elif not is_blank([value]):
                beyond = True
        if beyond and not self._layout.drops_unnamed:
            message = f"The row has cells beyond the header's {width} columns."
            return Broken("wrong_columns", message, "", tuple(fitted))
        return fitted


def _name(value: Any) -> str:
    if value is None:
        return ""
    return value.text if isinstance(value, Broken) else str(as_text(value))
