"""Opening an uploaded file as rows: csv, ndjson, xlsx."""

import io

from stowage.imports.files.reading import Layout, Place, Rows
from stowage.imports.files.reading.csv import CsvRows
from stowage.imports.files.reading.ndjson import NdjsonRows
from stowage.imports.files.reading.workbook import WorkbookRows

_READERS: dict[str, type[Rows]] = {"csv": CsvRows, "ndjson": NdjsonRows, "xlsx": WorkbookRows}


def open_rows(layout: Layout, file: io.BufferedReader, place: Place | None = None) -> Rows:
    """The rows of a file behind a place (None: all). RunError for what is no such file."""
    return _READERS[layout.type](file, place or Place(), layout)
