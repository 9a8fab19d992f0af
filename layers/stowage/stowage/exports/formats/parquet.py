"""Parquet by pyarrow, which only the worker's image has, hence imported where it is used."""

from base64 import b64decode
from collections.abc import Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from stowage.basics.errors import RunError
from stowage.basics.json_numbers import read_json, write_json
from stowage.postgres.reads.copy import Rows, Snapshot
from stowage.postgres.reads.rendering import copy_values, have_nested, is_decimal
from stowage.postgres.reads.selection import Column, Selection

if TYPE_CHECKING:
    import pyarrow

PARSED_BYTES = 2 << 20
_OF_LISTS = ("integer", "number", "boolean")
"""The types that lists hold as such; what is of another type is a text in a list."""
GROUP_BYTES = 16 << 20
"""A row group holds about so much text: small enough for flat memory, large enough for readers that skip groups."""


def parquet_file(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """One file: int64, double, decimal128, bool, string, binary, date32, time64[us], timestamp[us] with UTC or none,
    lists; zstd. Null and an empty text stay different.

    RunError where a number does not fit its declared type.
    """
    import pyarrow
    import pyarrow.parquet

    sink = _Sink()
    schema = _schema(selection, _nested(snapshot, selection))
    group: list[pyarrow.Table] = []
    size = 0
    with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd", compression_level=1) as writer:
        for rows, parsed_size in _gathered(snapshot.copy(copy_values(selection), selection.name)):
            if rows:
                group.append(_table(rows, selection, schema))
                size += parsed_size
            if size >= GROUP_BYTES:
                writer.write_table(pyarrow.concat_tables(group), row_group_size=1 << 30)
                group, size = [], 0
            yield sink.take()
        if group:
            writer.write_table(pyarrow.concat_tables(group), row_group_size=1 << 30)
    yield sink.take()


def _gathered(batches: Iterator[Rows]) -> Iterator[tuple[list[memoryview], int]]:
    """Join batches until parsing them is worth a call. Yields rows and their bytes; no rows while
    Postgres is silent.
    """
    rows, size = list[memoryview](), 0
    for batch in batches:
        if not batch:
            yield [], 0
        rows.extend(batch)
        size += sum(map(len, batch))
        if size >= PARSED_BYTES:
            yield rows, size
            rows, size = [], 0
    yield rows, size


def _nested(snapshot: Snapshot, selection: Selection) -> set[str]:
    """The columns of arrays of which a value has several dimensions: a type of Postgres does not say how many."""
    arrays = [column for column in selection.columns if column.is_array]
    found = snapshot.row(have_nested(selection, arrays), selection.name) if arrays else ()
    return {column.name for column, is_nested in zip(arrays, found, strict=True) if is_nested}


def _schema(selection: Selection, nested: Collection[str]) -> "pyarrow.Schema":
    import pyarrow

    types = {
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "timestamp": pyarrow.timestamp("us", tz="UTC"),
        "local_timestamp": pyarrow.timestamp("us"),
        "date": pyarrow.date32(),
        "time": pyarrow.time64("us"),
        "bytes": pyarrow.binary(),
    }

    def type_of(column: Column) -> "pyarrow.DataType":
        if column.is_array:
            of = types[column.type] if column.type in _OF_LISTS else pyarrow.string()
            return pyarrow.string() if column.name in nested else pyarrow.list_(of)
        if column.precision is not None and is_decimal(column):
            return pyarrow.decimal128(column.precision, column.scale or 0)
        return types.get(column.type, pyarrow.string())

    return pyarrow.schema([(column.name, type_of(column)) for column in selection.columns])


def _table(rows: list[memoryview], selection: Selection, schema: "pyarrow.Schema") -> "pyarrow.Table":
    """Whole rows, parsed at once: a block that ends inside a row would be an error for rows larger than a block."""
    import pyarrow
    import pyarrow.csv

    data = b"".join(rows)
    try:
        table = pyarrow.csv.read_csv(
            pyarrow.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=[column.name for column in selection.columns]
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={column.name: _parsed_type(column, schema) for column in selection.columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        return _with_python_values(table, selection, schema).cast(schema)
    except pyarrow.ArrowInvalid as error:
        raise RunError(f"A value in {selection.name} does not fit its declared type.", "value_does_not_fit") from error


def _with_python_values(table: "pyarrow.Table", selection: Selection, schema: "pyarrow.Schema") -> "pyarrow.Table":
    """The table with bytes and lists in place of their texts, which no parser of Arrow's reads."""
    import pyarrow

    for place, column in enumerate(selection.columns):
        kind = schema.field(column.name).type
        read = partial(_list, column.type) if pyarrow.types.is_list(kind) else b64decode
        if pyarrow.types.is_list(kind) or pyarrow.types.is_binary(kind):
            values = [None if text is None else read(text) for text in table.column(place).to_pylist()]
            table = table.set_column(place, column.name, pyarrow.array(values, kind))
    return table


def _list(type: str, text: str) -> list[Any]:
    """The elements of an array's JSON, those of a type without a list of its own as texts."""
    elements = read_json(text)
    if type == "number":  # "NaN" and the infinities are texts
        return [None if each is None else float(each) for each in elements]
    if type in _OF_LISTS:
        return list(elements)
    return [each if each is None or isinstance(each, str) else write_json(each) for each in elements]


def _parsed_type(column: Column, schema: "pyarrow.Schema") -> Any:
    import pyarrow

    if column.is_array or column.type == "bytes":
        return pyarrow.string()
    if column.type in ("timestamp", "local_timestamp", "time"):
        return pyarrow.int64()
    if column.type == "date":
        return pyarrow.int32()
    return schema.field(column.name).type


class _Sink:
    """A file that the writer appends to, and that we empty."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The writer has nothing more."""

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
