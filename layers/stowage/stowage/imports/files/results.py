"""The files that tell what became of an import's rows: successful, failed, unprocessed.

They are made from the uploaded file, read a second time, and from a letter that was kept for each row, so they take no
memory and are the same whichever attempt makes them. Rows of CSV and of workbooks are given as CSV with the file's own
columns, rows of NDJSON as NDJSON; what we add is passed over when such a file is uploaded again.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

from stowage.basics.errors import RunError
from stowage.basics.json_numbers import write_json
from stowage.entities.declaration import Entity
from stowage.exports.formats.formulas import neutralise, restore
from stowage.imports.files.columns import RESULT_COLUMNS
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import new_id
from stowage.imports.files.reading import Broken, Place, Row, Rows
from stowage.imports.files.reading.csv import CsvRows
from stowage.imports.files.reading.workbook.cells import as_moment, as_text
from stowage.imports.files.records import FileImportSpec
from stowage.imports.files.validating import row_types
from stowage.postgres.edits.file_batches import BatchOutcome

type Result = Literal["successful", "failed", "unprocessed"]

RESULTS: tuple[Result, ...] = ("successful", "failed", "unprocessed")
CHUNK_BYTES = 128 * 1024
_STATUS = {"c": "created", "u": "updated", "s": "skipped"}
_ADDED = {
    "successful": ("_line", "_status", "_id"),
    "failed": ("_line", "_code", "_error"),
    "unprocessed": (),
}


class ResultFile:
    """One of the files (a `stowage.pipeline.source.Source`)."""

    def __init__(
        self,
        result: Result,
        spec: FileImportSpec,
        entity: Entity,
        import_id: str,
        open_file: Callable[[], io.BufferedReader],
        outcomes: Iterator[BatchOutcome],
        place: Place,
    ) -> None:
        self.rows = self.blank = 0
        self._naming, self._layout = spec.naming(entity), spec.layout(entity)
        self._result, self._spec, self._entity, self._import_id = result, spec, entity, import_id
        self._file, self._outcomes, self._place = open_file(), outcomes, place

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{self._result}.{extension(self._spec)}"

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes."""
        if self._result == "unprocessed":
            return self._unprocessed()
        return self._judged()

    def finish(self) -> None:
        """Whole when its chunks have ended."""

    def close(self) -> None:
        """Give the connection to storage back."""
        self._file.close()

    def _judged(self) -> Iterator[bytes]:
        rows = open_rows(self._layout, self._file)
        table = self._table(rows)
        yield table.header()
        wanted = "f" if self._result == "failed" else "cus"
        given, id_of = iter(rows), self._ids(rows)
        for outcome in self._outcomes:
            failures = {row: (code, error) for row, code, error in outcome.failures}
            for number, letter in enumerate(outcome.outcomes, outcome.first_row):
                line, row = next(given)
                if letter not in wanted:
                    continue
                self.rows += 1
                if letter == "f":
                    table.add(row, (line, *failures[number]))
                else:
                    # Where other fields named a record that was there, its id is not known here.
                    record_id = id_of(row)
                    if not record_id and letter == "c":
                        record_id = outcome.made_ids.get(number) or new_id(self._entity, self._import_id, number)
                    table.add(row, (line, _STATUS[letter], record_id))
            yield table.take()
        if self._result == "successful":
            self._count_blank(rows, given)

    def _count_blank(self, rows: Rows, given: Iterator[Row]) -> None:
        """Count the blank rows, those behind the last row that was judged too."""
        try:
            next(given, None)
        except RunError as error:
            if error.retryable:
                raise
        self.blank = rows.blank

    def _unprocessed(self) -> Iterator[bytes]:
        if self._spec.type != "ndjson" or self._spec.encoding:
            rows = open_rows(self._layout, self._file)
            if self._spec.type == "xlsx" or not rows.is_plain():
                yield from self._unread_rows()
                return
            self._file.seek(0)
            yield self._file.read(rows.position)
        self._file.seek(self._place.position)
        while data := self._file.read(CHUNK_BYTES):
            self.rows += data.count(b"\n")
            yield data

    def _unread_rows(self) -> Iterator[bytes]:
        rows = open_rows(self._layout, self._file, self._place)
        table = self._table(rows)
        yield table.header()
        for _, row in rows:
            self.rows += 1
            table.add(row, ())
            if table.size() >= CHUNK_BYTES:
                yield table.take()
        yield table.take()

    def _table(self, rows: Rows) -> "_Table":
        added = _ADDED[self._result]
        if rows.header is None:
            return _NdjsonTable(added)
        if isinstance(rows, CsvRows):
            text = (lambda: None if rows.is_trimmed else rows.text) if rows.is_plain() else None
            return _CsvTable(rows.header, added, _same, text)
        texts = row_types(self._entity.name, self._spec.type).texts
        holds_text = [self._naming.field(column) in (None, *texts) for column in rows.header]
        return _CsvTable(rows.header, added, lambda n, cell: _typed(cell, holds_text[n]))

    def _ids(self, rows: Rows) -> Callable[[Any], object]:
        """What gives a row's own id, None where it brings none."""
        field = self._naming.field
        if rows.header is None:
            return lambda row: next((value for key, value in row.items() if field(key) == "id"), None)
        place = next((n for n, column in enumerate(rows.header) if field(column) == "id"), None)
        if place is None:
            return lambda _: None
        if self._spec.type == "csv":
            return lambda row: row[place] and restore(row[place])
        return lambda row: as_text(row[place])


def extension(spec: FileImportSpec) -> str:
    """What the results are: NDJSON of NDJSON, else CSV."""
    return "ndjson" if spec.type == "ndjson" else "csv"


class _Table(Protocol):
    def header(self) -> bytes: ...
    def add(self, row: Any, added: tuple[Any, ...]) -> None: ...
    def size(self) -> int: ...
    def take(self) -> bytes: ...


class _CsvTable:
    """Rows as CSV: the file's own cells, then ours. `cell` gives the cell of a column as CSV has it, `text` the last
    row where it is CSV already and has no more cells than the header.
    """

    def __init__(
        self,
        header: list[str],
        added: tuple[str, ...],
        cell: Callable[[int, Any], Any],
        text: Callable[[], str | None] | None = None,
    ) -> None:
        self._own = [n for n, column in enumerate(header) if column not in RESULT_COLUMNS]
        self._columns = [header[n] for n in self._own] + list(added)
        self._width = len(header)
        self._cell = cell
        self._text_of = text if len(self._own) == self._width else None
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, quoting=csv.QUOTE_NOTNULL, lineterminator="\r\n")

    def header(self) -> bytes:
        self._writer.writerow(self._columns)
        return self.take()

    def add(self, row: Any, added: tuple[Any, ...]) -> None:
        if isinstance(row, Broken):
            row = list(row.cells) or [row.text, *[None] * (self._width - 1)]
        elif self._text_of is not None and (text := self._text_of()) is not None:
            self._text.write(text)
            self._text.write(",")
            self._writer.writerow(added)
            return
        self._writer.writerow([*(self._cell(n, row[n]) for n in self._own), *added])

    def size(self) -> int:
        return self._text.tell()

    def take(self) -> bytes:
        text = self._text.getvalue()
        try:
            data = text.encode("utf-8", "surrogateescape")  # bytes of the file that are no UTF-8 stay as they were
        except UnicodeEncodeError:
            data = _without_surrogates(text).encode()
        self._text.seek(0)
        self._text.truncate()
        return data


def _same(_: int, cell: Any) -> Any:
    return cell


def _typed(value: Any, holds_text: bool) -> Any:
    """A cell of a workbook as CSV has it: as the text, or as what its column's field reads."""
    match value:
        case Broken():
            return neutralise(value.text)
        case str():
            return neutralise(value)
    text = as_text(value if holds_text else as_moment(value))
    return neutralise(text) if isinstance(text, str) and not isinstance(value, int | float) else text


_SURROGATES = re.compile("[\ud800-\udfff]")


def _without_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a character, which no encoding can hold."""
    return _SURROGATES.sub("\ufffd", text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _NdjsonTable:
    """Rows as NDJSON: the line as it was, with our keys before its own."""

    def __init__(self, added: tuple[str, ...]) -> None:
        self._names = added
        self._lines: list[str] = []

    def header(self) -> bytes:
        return b""

    def add(self, row: Any, added: tuple[Any, ...]) -> None:
        ours = dict(zip(self._names, added, strict=True))
        if isinstance(row, Broken):
            own: dict[str, Any] = {"_text": row.text}
        else:
            own = {key: value for key, value in row.items() if key not in RESULT_COLUMNS}
        self._lines.append(_without_surrogates(write_json(ours | own, _json)) + "\n")

    def size(self) -> int:
        return sum(map(len, self._lines))

    def take(self) -> bytes:
        data = "".join(self._lines).encode()
        self._lines = []
        return data
