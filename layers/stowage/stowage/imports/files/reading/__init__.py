"""Reading an uploaded file row by row, from any row on: csv, ndjson, xlsx."""

import io

from stowage.imports.files.reading.csv import CsvRows
from stowage.imports.files.reading.ndjson import NdjsonRows
from stowage.imports.files.reading.rows import Broken, Layout, Place, Row, Rows
from stowage.imports.files.reading.workbook import WorkbookRows

__all__ = ["Broken", "Layout", "Place", "Row", "Rows", "open_rows"]

_READERS: dict[str, type[Rows]] = {"csv": CsvRows, "ndjson": NdjsonRows, "xlsx": WorkbookRows}


def open_rows(layout: Layout, file: io.BufferedReader, place: Place | None = None) -> Rows:
    """The rows of a file behind a place (None: all). RunError for what is no such file."""
    return _READERS[layout.type](file, place or Place(), layout)
