"""Parquet by pyarrow, which only the worker's image has, hence imported where it is used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stowage.basics.errors import RunError
from stowage.postgres.reads.copy import Rows, Snapshot
from stowage.postgres.reads.rendering import copy_values, is_decimal
from stowage.postgres.reads.selection import Column, Selection

if TYPE_CHECKING:
    import pyarrow

PARSED_BYTES = 2 << 20
GROUP_BYTES = 16 << 20
"""A row group holds about so much text: small enough for flat memory, large enough for readers that skip groups."""


def parquet_file(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """One file: int64, double, decimal128, bool, string, date32, time64[us], timestamp[us] with UTC or none; zstd. Null
    and an empty text stay different.

    RunError where a number does not fit its declared type.
    """
    import pyarrow
    import pyarrow.parquet

    sink = _Sink()
    schema = _schema(selection)
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


def _schema(selection: Selection) -> "pyarrow.Schema":
    import pyarrow

    types = {
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "timestamp": pyarrow.timestamp("us", tz="UTC"),
        "local_timestamp": pyarrow.timestamp("us"),
        "date": pyarrow.date32(),
        "time": pyarrow.time64("us"),
    }

    def type_of(column: Column) -> "pyarrow.DataType":
        if column.is_array:
            return pyarrow.string()
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
        return table.cast(schema)
    except pyarrow.ArrowInvalid as error:
        raise RunError(f"A value in {selection.name} does not fit its declared type.", "value_does_not_fit") from error


def _parsed_type(column: Column, schema: "pyarrow.Schema") -> Any:
    import pyarrow

    if not column.is_array and column.type in ("timestamp", "local_timestamp", "time"):
        return pyarrow.int64()
    if not column.is_array and column.type == "date":
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
