"""The files that an export can be: csv, json, ndjson, xlsx, parquet, and a zip of everything a tenant holds."""

from dataclasses import dataclass

from stowage.basics.errors import BadRequestError
from stowage.entities.filters import EVERYTHING, Filters, parse_filters
from stowage.exports.formats.csv import csv_file, csv_file_with_mark
from stowage.exports.formats.export import Export, FileFormat
from stowage.exports.formats.gdpr import gdpr_file
from stowage.exports.formats.json import json_file, ndjson_file
from stowage.exports.formats.parquet import parquet_file
from stowage.exports.formats.xlsx import xlsx_file
from stowage.postgres.reads.selection import Column, expected, select, select_everything
from stowage.postgres.session.connection import Connection

__all__ = [
    "CONTENT_TYPES",
    "EVERYTHING",
    "EXTENSIONS",
    "Estimate",
    "Export",
    "Filters",
    "estimate",
    "open_export",
    "parse_filters",
]

FORMATS: dict[str, FileFormat] = {
    "csv": csv_file,
    "json": json_file,
    "ndjson": ndjson_file,
    "xlsx": xlsx_file,
    "parquet": parquet_file,
}
EXTENSIONS = {name: name for name in FORMATS} | {EVERYTHING: "zip"}
CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
    EVERYTHING: "application/zip",
}


def open_export(
    connection: Connection,
    schema: str,
    tenant: str,
    *,
    data_type: str,
    format: str,
    filters: Filters | None,
    bom: bool = False,
) -> Export:
    """The export of an entity, of the journal (`audit`) or of everything (`gdpr`) as a source of the pipeline.

    `schema` is the tenant's, `tenant` its id as the journal knows it. With `bom` a CSV begins with a byte order mark.
    The connection, in autocommit, belongs to the export from now on; nothing is sent before its first chunk is asked
    for. BadRequestError for a `data_type` or `format` that is not declared.
    """
    file = csv_file_with_mark if bom and format == "csv" else file_format(format)
    if data_type == EVERYTHING:
        selections = select_everything(schema, tenant)
        return Export(connection, schema, lambda snapshot: gdpr_file(snapshot, selections, file, EXTENSIONS[format]))
    selection = select(schema, tenant, data_type, filters)
    return Export(connection, schema, lambda snapshot: file(snapshot, selection))


def file_format(name: str) -> FileFormat:
    """The format of that name; BadRequestError that lists those there are."""
    if name not in FORMATS:
        raise BadRequestError(f"{name!r} is not one of {', '.join(FORMATS)}.", "unknown_format")
    return FORMATS[name]


@dataclass(frozen=True)
class Estimate:
    """What an export will come to: data rows, and bytes of its file."""

    rows: int
    bytes: int


# Bytes that a format adds to a cell's value (delimiters, tags, the rest of a moment's text), and the share of the whole
# that is left after its compression, as measured on the sample's posts.
_CELL_BYTES = {"csv": 3, "json": 6, "ndjson": 6, "xlsx": 50, "parquet": 1}
_MOMENT_BYTES = {"csv": 20, "json": 21, "ndjson": 21, "xlsx": 8, "parquet": 0}
_SHARE = {"csv": 1.0, "json": 1.0, "ndjson": 1.0, "xlsx": 0.15, "parquet": 0.4}
_ZIPPED_SHARE = {"csv": 0.3, "json": 0.2, "ndjson": 0.2, "xlsx": 0.15, "parquet": 0.4}


def estimate(
    connection: Connection,
    schema: str,
    tenant: str,
    data_type: str,
    filters: Filters | None,
    format: str,
) -> Estimate:
    """What Postgres's planner expects of that export, in milliseconds; errors as of `open_export`, and RunError where a
    table is not there or may not be read.
    """
    file_format(format)
    whole = data_type == EVERYTHING
    selections = select_everything(schema, tenant) if whole else [select(schema, tenant, data_type, filters)]
    share = (_ZIPPED_SHARE if whole else _SHARE)[format]
    rows = size = 0
    for selection in selections:
        expected_rows, width = expected(connection, selection)
        rows += expected_rows
        size += expected_rows * (width + _added_bytes(selection.columns, format))
    return Estimate(rows, int(size * share))


def _added_bytes(columns: tuple[Column, ...], format: str) -> int:
    moments = sum(column.type == "timestamp" and not column.is_array for column in columns)
    keys = sum(len(column.name) for column in columns) if format in ("json", "ndjson") else 0
    return keys + len(columns) * _CELL_BYTES[format] + moments * _MOMENT_BYTES[format]
