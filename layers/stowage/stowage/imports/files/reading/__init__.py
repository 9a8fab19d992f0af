"""Reading an uploaded file row by row, from any row on: csv, ndjson, xlsx."""

import io

from stowage.imports.files.reading.csv import CsvRows
from stowage.imports.files.reading.ndjson import NdjsonRows
from stowage.imports.files.reading.rows import Broken, Place, Row, Rows
from stowage.imports.files.reading.workbook import WorkbookRows

__all__ = ["Broken", "Place", "Row", "Rows", "open_rows"]

_READERS: dict[str, type[CsvRows] | type[NdjsonRows] | type[WorkbookRows]] = {
    "csv": CsvRows,
    "ndjson": NdjsonRows,
    "xlsx": WorkbookRows,
}


def open_rows(file_type: str, file: io.BufferedReader, place: Place | None = None) -> Rows:
    """The rows of a file behind a place (None: all). RunError for what is no such file."""
    return _READERS[file_type](file, place or Place())
