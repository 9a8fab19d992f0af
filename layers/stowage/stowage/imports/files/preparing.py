"""Prepares a batch of rows for the database: reads fields, validates them, writes the CSV that COPY takes."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from uuid import UUID

from stowage.basics.errors import RunError
from stowage.basics.json_numbers import write_json
from stowage.entities.declaration import DATABASE, Entity
from stowage.exports.formats.formulas import restore
from stowage.imports.files.columns import DELETED_AT, Columns, Naming
from stowage.imports.files.reading import Broken, Row
from stowage.imports.files.reading.rows import is_blank
from stowage.imports.files.reading.workbook.cells import as_moment, as_text
from stowage.imports.files.validating import NO_UTF_8, Record, row_types, validate
from stowage.records.hooks import hooked_row

ID_DIGITS = 24
BATCH_ROWS = 5_000
BATCH_BYTES = 8_000_000
"""A batch ends after so many bytes of the file, so that rows of 10 kB do not fill the memory."""
_UNSTORABLE = "The row holds a NUL character or bytes that are no UTF-8."
_ANOTHER_ENCODING = f"The row holds bytes that are {NO_UTF_8}."
_IN_TRASH = ("in_trash", "deletedAt: the record was in the trash when the file was made.")


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file.

    `first_row` counts from 0. Reading goes on at `position` and `line`, `read_bytes` into the file. If the batch is
    the last one because reading failed, `broken` is the error.
    """

    first_row: int
    rows: Sequence[Row]
    position: int
    line: int
    read_bytes: int
    is_last: bool
    broken: RunError | None


@dataclass
class Prepared:
    """A batch after validation, row by row; the database has not seen it yet.

    Rows are counted from 1. `records` holds the valid rows, `failures` a code and a sentence for each invalid one.
    `parts` are the valid rows in groups: no two rows of a group have the same id or the same unique fields. `text` is
    the CSV of the valid rows: number, id, then `columns`. `text_of` gives the CSV of some of them.
    """

    batch: Batch
    records: dict[int, Record]
    failures: dict[int, tuple[str, str]]
    parts: list[list[int]]
    columns: tuple[str, ...]
    text: str
    text_of: Callable[[Sequence[int]], str]
    lacks_ids: bool
    filled: Sequence[str]


class Preparer:
    """Prepares the batches of one import. `columns` is None where each row names its own fields."""

    def __init__(
        self,
        entity: Entity,
        import_id: str,
        file_type: str,
        columns: Columns | None,
        naming: Naming,
    ) -> None:
        self._entity, self._import_id, self._naming = entity, import_id, naming
        self._types = row_types(entity.name, file_type)
        self._columns = columns
        self._is_csv = file_type == "csv"
        given = columns.given - {DELETED_AT} if columns else {field.name for field in entity.fields}
        given |= {field.name for field in entity.own if field.hook}
        times = {time.name for time in entity.times}
        fields = [
            field
            for field in entity.fields
            if field.name in given and field.name != "id" and (field.name in times or not field.is_read_only)
        ]
        self._fields = tuple(field.name for field in fields)
        self._database_columns = tuple(field.column for field in fields)
        self._whole = len(fields) + ("id" in given)
        self._all: Callable[[Record], Sequence[Any]] = _getter(self._fields)
        defaults = {name: self._types.defaults.get(name) for name in self._fields}
        self._defaults = {name: None if value is DATABASE else value for name, value in defaults.items()}
        self._filled = [field.column for field in fields if defaults[field.name] is DATABASE and not field.is_nullable]
        self._written = [n for n, field in enumerate(fields, 2) if field.is_array or field.type == "json"]
        self._as_json = {n for n, field in enumerate(fields, 2) if field.type == "json" and not field.is_array}

    def prepare(self, batch: Batch) -> Prepared:
        """Read and validate the rows of a batch."""
        failures: dict[int, tuple[str, str]] = {}
        numbers: list[int] = []
        given: list[Record] = []
        for number, (_, row) in enumerate(batch.rows, 1):
            if isinstance(row, Broken):
                failures[number] = (row.code, row.error)
                continue
            record = self._of_object(row) if isinstance(row, dict) else self._of_cells(row)
            if isinstance(record, Broken):
                failures[number] = (record.code, record.error)
                continue
            if self._entity.soft_delete and record.pop(DELETED_AT, None):
                failures[number] = _IN_TRASH
            else:
                numbers.append(number)
                given.append(record)
        validated, errors = validate(self._types, given)
        for place, error in errors.items():
            failures[numbers[place]] = ("invalid", error)
        records = {number: record for number, record in zip(numbers, validated, strict=True) if record is not None}
        for number, record in [*records.items()]:
            records[number], refused = hooked_row(self._entity, record, is_new=True)
            if refused:
                failures[number] = ("invalid", "; ".join(f"{each['field']}: {each['message']}" for each in refused))
                del records[number]
        text = self._csv(batch.first_row, records)
        if not _storable(text):
            for number, texts in [(number, "".join(_texts(record))) for number, record in records.items()]:
                if not _storable(texts):
                    failures[number] = ("invalid", _UNSTORABLE if "\0" in texts else _ANOTHER_ENCODING)
                    del records[number]
            text = self._csv(batch.first_row, records)
        return Prepared(
            batch,
            records,
            failures,
            self._parts(records),
            self._database_columns,
            text,
            lambda rows: self._csv(batch.first_row, {number: records[number] for number in rows}),
            any(record.get("id") is None for record in records.values()),
            self._filled,
        )

    def _of_cells(self, cells: list[Any]) -> Record | Broken:
        assert self._columns is not None
        keeps, texts, is_csv = self._types.keeps, self._types.texts, self._is_csv
        for n in self._columns.unnamed:
            if not self._naming.drops_unnamed and not is_blank(cells[n : n + 1]):
                sentence = (
                    f'Column {n + 1} has a value, but no name in the header; {{"": null}} in a mapping leaves it out.'
                )
                return Broken("wrong_columns", sentence, "")
        record: Record = {}
        for n, name in self._columns.used:
            value = cells[n]
            if value is None:
                if name in keeps:
                    continue
            elif is_csv:
                if value[:1] == "'":
                    value = restore(value)
            elif isinstance(value, Broken):
                return Broken(value.code, f"{name}: {value.error[:1].lower()}{value.error[1:]}", "")
            else:
                value = as_text(value) if name in texts else as_moment(value)
            record[name] = value
        return record

    def _of_object(self, given: dict[str, Any]) -> Record | Broken:
        keeps, field = self._types.keeps, self._naming.field
        record: Record = {}
        for key, value in given.items():
            name = field(key)
            if name is None:
                continue
            if name in record:
                return Broken("invalid", f"{name}: stands there twice, once as {key[:100]!r}", "")
            if not (value is None and name in keeps):
                record[name] = value
        return record

    def _csv(self, first_row: int, records: Mapping[int, Record]) -> str:
        fields, defaults = self._fields, self._defaults
        lines: list[Sequence[Any]] = []
        for number, record in records.items():
            given_id = record.get("id")
            made = given_id is None
            head = (-number, self._new_id(first_row + number - 1)) if made else (number, given_id)
            if len(record) == self._whole:
                lines.append((*head, *self._all(record)))
            else:
                lines.append((*head, *[record[name] if name in record else defaults[name] for name in fields]))
        if self._written:
            lines = [self._with_written(line) for line in lines]
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_NOTNULL, lineterminator="\n").writerows(lines)
        return text.getvalue()

    def _with_written(self, line: Sequence[Any]) -> Sequence[Any]:
        """A line of values with its lists and its JSON as the texts that Postgres reads."""
        cells = [*line]
        for n in self._written:
            if cells[n] is not None:
                cells[n] = write_json(cells[n], json.dumps) if n in self._as_json else array_text(cells[n])
        return cells

    def _new_id(self, row: int) -> str | None:
        """The id for a row that has none: the same in every attempt; None where the database will make it."""
        return None if self._entity.key.made_by == "database" else new_id(self._entity, self._import_id, row)

    def _parts(self, records: Mapping[int, Record]) -> list[list[int]]:
        """Split rows so that a row never shares an id or a unique value with an earlier row of its part."""
        rules = [_getter(rule) for rule in [("id",), *self._entity.unique]]
        parts: list[list[int]] = [[]]
        seen: list[set[Any]] = [set() for _ in rules]
        for number, record in records.items():
            keys = [_key(rule, record) for rule in rules]
            if any(key is not None and key in known for key, known in zip(keys, seen, strict=True)):
                parts.append([])
                seen = [set() for _ in rules]
            for key, known in zip(keys, seen, strict=True):
                known.add(key)
            parts[-1].append(number)
        return parts


def _key(rule: Callable[[Record], Sequence[Any]], record: Record) -> tuple[Any, ...] | None:
    """The values of a unique rule's fields; None if one is null or missing, because nulls are never equal."""
    try:
        key = tuple(rule(record))
    except KeyError:
        return None
    return None if None in key else key


def _getter(names: tuple[str, ...]) -> Callable[[Record], Sequence[Any]]:
    """A function that reads these fields of a record."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: [record[name] for name in names]


def array_text(values: Sequence[Any]) -> str:
    """An array as Postgres reads it (PostgreSQL documentation, "Array Input and Output Syntax")."""
    return "{" + ",".join(map(_element_text, values)) + "}"


def _element_text(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return array_text(value)
        case dict():
            value = write_json(value, json.dumps)
        case bool():
            value = "true" if value else "false"
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def new_id(entity: Entity, import_id: str, row: int) -> str:
    """The id for row `row` (from 0) that has none: the same in every attempt, so a retry inserts nothing twice."""
    made = hashlib.sha256(f"{import_id}/{row}".encode())
    if entity.key.type == "uuid":
        return str(UUID(bytes=made.digest()[:16], version=5))
    return entity.id_prefix + made.hexdigest()[:ID_DIGITS]


def _storable(text: str) -> bool:
    """Whether Postgres takes the text: no NUL, nothing that UTF-8 cannot hold."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(record: Record) -> Iterator[str]:
    return (value for value in record.values() if isinstance(value, str))
