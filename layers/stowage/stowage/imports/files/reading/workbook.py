"""Excel workbooks (ECMA-376), streamed: what our own exports, Excel and LibreOffice write.

Cells are texts (inline, shared, results of formulas), numbers, booleans and dates (numbers in a date's format, or ISO
8601). A cell with an error value (`#REF!`) breaks its row. Sheets after the first must bear the same header or be
empty. Formulas are never computed: the value that the file holds counts.
"""

import array
import io
import mmap
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from posixpath import join, normpath
from typing import Any
from xml.parsers import expat

from stowage.imports.files.reading.rows import Broken, Place, Row, broken_file

PIECE_BYTES = 128 * 1024
MOST_SHARED_BYTES = 400_000_000
"""Of texts that cells share, unpacked: they lie in a temporary file, of which a function has 512 MB."""
MOST_PART_BYTES = 200_000_000
"""Of the small parts, unpacked."""
MOST_COLUMNS = 16_384
DOUBLE_DIGITS = 17
OFF_BY, OFF_BY_WITHOUT_A_DIGIT = 0.67, 1.1
"""Microseconds by which a moment of today can be off, once it was computed as days and written down."""

_MAIN = ("http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://purl.oclc.org/ooxml/spreadsheetml/main")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_COLUMN = re.compile(r"([A-Z]{1,3})[0-9]+\Z")


class WorkbookRows:
    """Rows of all sheets; `position` counts data rows."""

    def __init__(self, file: io.BufferedReader, place: Place) -> None:
        self._file = file
        self.position, self.line = place.position, place.line
        with _workbook_errors():
            self._archive = zipfile.ZipFile(file)
            self._book = _Book(self._archive)
            header = next((cells for _, cells in self._rows_of(self._book.sheets[0])), None)
        if header is None or not any(header):
            raise broken_file("The first sheet has no header: its first row names the columns.")
        while header[-1] in (None, ""):
            header.pop()
        self.header: list[str] | None = ["" if name is None else str(name) for name in header]
        with _workbook_errors():
            for sheet in self._book.sheets[1:]:
                self._check_header(sheet)

    def __iter__(self) -> Iterator[Row]:
        """Each row that has anything in it."""
        assert self.header is not None
        width, number = len(self.header), 0
        with _workbook_errors():
            for sheet in self._book.sheets:
                rows = self._rows_of(sheet)
                next(rows, None)
                for line, cells in rows:
                    if not any(cell is not None for cell in cells):
                        continue
                    number += 1
                    if number <= self.position:
                        continue
                    self.position, self.line = number, line
                    yield line, _fitted(cells, width)

    def read_bytes(self) -> int:
        """How far into the archive, about: sheets are read in its order."""
        return self._file.tell()

    def _rows_of(self, sheet: str) -> Iterator[tuple[int, list[Any]]]:
        with self._archive.open(sheet) as stream:
            yield from _SheetParser(self._book).rows(stream)

    def _check_header(self, sheet: str) -> None:
        header = next((cells for _, cells in self._rows_of(sheet)), None)
        if header is None or not any(cell is not None for cell in header):
            return
        while header[-1] in (None, ""):
            header.pop()
        if [str(name) for name in header] != self.header:
            raise broken_file("A further sheet has another header than the first; leave only sheets of one kind.")


def _fitted(cells: list[Any], width: int) -> list[Any] | Broken:
    broken = next((cell for cell in cells if isinstance(cell, Broken)), None)
    if any(cell is not None for cell in cells[width:]):
        broken = Broken("wrong_columns", f"The row has cells beyond the header's {width} columns.", "")
    fitted = cells[:width] + [None] * (width - len(cells))
    if broken is None:
        return fitted
    texts = (cell.text if isinstance(cell, Broken) else cell for cell in fitted)
    return Broken(broken.code, broken.error, broken.text, tuple(texts))


class _workbook_errors:  # noqa: N801 (used like a function)
    """Errors of zip and XML as ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case (
                zipfile.BadZipFile()
                | zlib.error()
                | expat.ExpatError()
                | EOFError()
                | KeyError()
                | NotImplementedError()
            ):
                raise broken_file("The file is no Excel workbook, or not a whole one.") from error
            case RuntimeError() if "password" in str(error):
                raise broken_file("The workbook is protected by a password.") from error


class _Book:
    """What cells refer to: the sheets in their order, shared texts, which styles are dates, the first day."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        targets = {relation["Id"]: relation for relation in self._elements("_rels/.rels", "Relationship")}
        book = next(
            (
                _path("", relation["Target"])
                for relation in targets.values()
                if relation["Type"].endswith("/officeDocument")
            ),
            None,
        )
        if book is None:
            raise broken_file("The file is no Excel workbook.")
        folder = book.rpartition("/")[0]
        relations = {
            relation["Id"]: relation
            for relation in self._elements(join(folder, "_rels", book.rpartition("/")[2] + ".rels"), "Relationship")
            if relation.get("TargetMode") != "External"
        }
        self.sheets: list[str] = []
        self.first_day = datetime(1899, 12, 30, tzinfo=UTC)
        for name, given in self._starts(book):
            if name == "workbookPr" and given.get("date1904") in ("1", "true"):
                self.first_day = datetime(1904, 1, 1, tzinfo=UTC)
            elif name == "sheet":
                relation = relations[next(value for key, value in given.items() if key.endswith(" id"))]
                if relation["Type"].endswith("/worksheet"):
                    self.sheets.append(_path(folder, relation["Target"]))
        if not self.sheets:
            raise broken_file("The workbook has no sheets.")
        parts = {
            relation["Type"].rpartition("/")[2]: _path(folder, relation["Target"]) for relation in relations.values()
        }
        self.date_styles = self._date_styles(parts["styles"]) if "styles" in parts else frozenset()
        self.texts = _SharedTexts()
        if "sharedStrings" in parts:
            with archive.open(parts["sharedStrings"]) as stream:
                self.texts.read(stream)

    def _elements(self, part: str, wanted: str) -> list[dict[str, str]]:
        return [given for name, given in self._starts(part) if name == wanted]

    def _starts(self, part: str) -> list[tuple[str, dict[str, str]]]:
        """All elements of a small part in order: the local name and the attributes."""
        found: list[tuple[str, dict[str, str]]] = []
        parser = _parser()
        parser.StartElementHandler = lambda name, given: found.append((name.rpartition(" ")[2], given))
        if self._archive.getinfo(part).file_size > MOST_PART_BYTES:
            raise broken_file("The workbook is too large to be read.")
        parser.Parse(self._archive.read(part), True)
        return found

    def _date_styles(self, part: str) -> frozenset[int]:
        formats: dict[int, str] = {}
        styles: list[int] = []
        inside = False
        for name, given in self._starts(part):
            if name == "numFmt":
                formats[int(given["numFmtId"])] = given["formatCode"]
            elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
                inside = name == "cellXfs"
            elif name == "xf" and inside:
                styles.append(int(given.get("numFmtId", 0)))
        return frozenset(n for n, number in enumerate(styles) if _is_date(number, formats.get(number)))


_DATE_FORMATS = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
"""Built-in formats of dates and times (ECMA-376 Part 1, §18.8.30)."""
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)


def _is_date(number: int, code: str | None) -> bool:
    if code is None:
        return number in _DATE_FORMATS
    return re.search(r"[ymdhs]", _NOT_CODE.sub("", code), re.IGNORECASE) is not None and code.lower() != "general"


def _path(folder: str, target: str) -> str:
    return target.lstrip("/") if target.startswith("/") else normpath(join(folder, target))


def _parser() -> Any:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_: object) -> None:
    raise broken_file("The workbook's XML has a document type, which no workbook has.")


def _unescaped(text: str) -> str:
    """A text as it was meant: `_x000D_` stands for a character (ECMA-376 Part 1, §22.9.2.19)."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


class _SharedTexts:
    """The texts that cells refer to by number, in a temporary file: a large workbook has hundreds of megabytes."""

    def __init__(self) -> None:
        self._ends = array.array("Q", [0])
        self._map: mmap.mmap | bytes = b""

    def read(self, stream: Any) -> None:
        """Read the part `sharedStrings`."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the map keeps it)
        pieces: list[str] = []
        depth = {"t": False, "rPh": False}
        size = 0

        def start(name: str, _: dict[str, str]) -> None:
            local = name.rpartition(" ")[2]
            if local == "si":
                pieces.clear()
            elif local in depth:
                depth[local] = True

        def end(name: str) -> None:
            nonlocal size
            local = name.rpartition(" ")[2]
            if local in depth:
                depth[local] = False
            elif local == "si":
                data = _unescaped("".join(pieces)).encode("utf-8", "surrogatepass")
                size += len(data)
                if size > MOST_SHARED_BYTES:
                    raise broken_file("The workbook's shared texts are too large; save the file as CSV.")
                file.write(data)
                self._ends.append(size)

        def text(data: str) -> None:
            if depth["t"] and not depth["rPh"]:
                pieces.append(data)

        parser = _parser()
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
        while data := stream.read(PIECE_BYTES):
            parser.Parse(data)
        parser.Parse(b"", True)
        file.flush()
        if size:
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        file.close()

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._ends) - 1:
            raise broken_file("A cell refers to a shared text that is not there.")
        return bytes(self._map[self._ends[number] : self._ends[number + 1]]).decode("utf-8", "surrogatepass")


class _SheetParser:
    """One sheet's rows, a piece of XML at a time."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._done: list[tuple[int, list[Any]]] = []
        self._cells: list[Any] = []
        self._line = 0
        self._type, self._style, self._column = "n", 0, 0
        self._text: list[str] = []
        self._has_value = self._inside = self._phonetic = False
        self._starts: dict[str, Callable[[dict[str, str]], None]] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        for namespace in _MAIN:
            self._starts |= {
                f"{namespace} row": self._begin_row,
                f"{namespace} c": self._begin_cell,
                f"{namespace} v": self._begin_value,
                f"{namespace} t": self._begin_value,
                f"{namespace} rPh": self._begin_phonetic,
            }
            self._ends |= {
                f"{namespace} row": self._end_row,
                f"{namespace} c": self._end_cell,
                f"{namespace} v": self._end_value,
                f"{namespace} t": self._end_value,
                f"{namespace} rPh": self._end_phonetic,
            }

    def rows(self, stream: Any) -> Iterator[tuple[int, list[Any]]]:
        """Each row's number and cells (None, str, int, float, bool, datetime or Broken)."""
        parser = _parser()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        while data := stream.read(PIECE_BYTES):
            parser.Parse(data)
            yield from self._done
            self._done = []
        parser.Parse(b"", True)
        yield from self._done

    def _start(self, name: str, given: dict[str, str]) -> None:
        handler = self._starts.get(name)
        if handler:
            handler(given)

    def _end(self, name: str) -> None:
        handler = self._ends.get(name)
        if handler:
            handler()

    def _characters(self, data: str) -> None:
        if self._inside and not self._phonetic:
            self._text.append(data)

    def _begin_row(self, given: dict[str, str]) -> None:
        self._line = int(given["r"]) if "r" in given else self._line + 1
        self._cells = []

    def _begin_cell(self, given: dict[str, str]) -> None:
        self._type, self._style = given.get("t", "n"), int(given.get("s", 0))
        self._column = _column_number(given["r"]) if "r" in given else len(self._cells)
        self._text, self._has_value = [], False

    def _begin_value(self, _: dict[str, str]) -> None:
        self._inside = self._has_value = True

    def _end_value(self) -> None:
        self._inside = False

    def _begin_phonetic(self, _: dict[str, str]) -> None:
        self._phonetic = True

    def _end_phonetic(self) -> None:
        self._phonetic = False

    def _end_cell(self) -> None:
        if self._column >= MOST_COLUMNS:
            raise broken_file("A cell lies beyond a sheet's last column.")
        while len(self._cells) < self._column:
            self._cells.append(None)
        self._cells.append(self._value("".join(self._text)) if self._has_value else None)

    def _end_row(self) -> None:
        self._done.append((self._line, self._cells))

    def _value(self, text: str) -> Any:
        match self._type:
            case "inlineStr" | "str":
                return _unescaped(text)
            case "s":
                return self._book.texts[int(text)]
            case "b":
                return text.strip() in ("1", "true")
            case "e":
                return Broken("cell_error", f"A cell holds the error {text}.", text)
            case "d":
                return _iso(text)
        if not text.strip():
            return None
        try:
            number = float(text)
        except ValueError:
            return text
        if self._style in self._book.date_styles:
            return _moment(text, number, self._book.first_day)
        if number.is_integer() and "." not in text and "e" not in text.lower():
            return int(text)
        return number


def _column_number(reference: str) -> int:
    found = _COLUMN.match(reference)
    if found is None:
        raise broken_file("A cell has no place in its sheet.")
    number = 0
    for letter in found[1]:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _moment(text: str, days: float, first_day: datetime) -> datetime | Broken:
    """Spreadsheets count days; their clock has no zone, and is UTC here, as in our own exports.

    A double just holds today's microseconds, and many programs write a digit less than it has: what is nearly a whole
    millisecond, which is what Excel keeps, is one.
    """
    try:
        whole, rest = divmod(days, 1)
        microseconds = rest * 86_400_000_000
        milliseconds = round(microseconds, -3)
        off_by = OFF_BY if sum(map(str.isdigit, text)) >= DOUBLE_DIGITS else OFF_BY_WITHOUT_A_DIGIT
        nearly = abs(microseconds - milliseconds) < off_by
        return first_day + timedelta(days=whole, microseconds=milliseconds if nearly else round(microseconds))
    except (OverflowError, ValueError):
        return Broken("invalid_date", f"{text} is no date.", text)


def _iso(text: str) -> datetime | str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return found if found.tzinfo else found.replace(tzinfo=UTC)
