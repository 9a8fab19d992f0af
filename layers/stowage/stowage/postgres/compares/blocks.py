"""The rows of chosen tables, cut out of a dump that streams by. Nothing of the dump is ever run.

A dump of a partitioned table has its rows under the names of its partitions, and one of a table with children theirs
under their own: the dump's own statements say whose they are.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from stowage.postgres.dumps.script import NAME, Script, name_of

type Table = tuple[str, str]
"""A schema and a table."""

_QUALIFIED = rb"(" + NAME + rb")\.(" + NAME + rb")"
_COPY = re.compile(rb"COPY " + _QUALIFIED + rb" \((.*)\) FROM stdin;", re.DOTALL)
_COLUMN = re.compile(NAME)
_ATTACH = re.compile(rb"ALTER TABLE ONLY " + _QUALIFIED + rb" ATTACH PARTITION " + _QUALIFIED + rb" .*;", re.DOTALL)
_CREATE = re.compile(rb"CREATE (?:UNLOGGED )?TABLE " + _QUALIFIED + rb" \(")
_INHERITS = re.compile(rb"\nINHERITS \((" + NAME + rb"\." + NAME + rb"(?:, " + NAME + rb"\." + NAME + rb")*)\)")
_NAMES = re.compile(_QUALIFIED)
_ENCODING = re.compile(rb"SET client_encoding = '([A-Za-z0-9_]+)';")
_END_MARK = b"\\.\n"


@dataclass(frozen=True)
class Block:
    """The rows of one COPY: the chosen table that they belong to, their columns, the encoding of their text."""

    table: Table
    columns: tuple[str, ...]
    encoding: str


class Rows(Protocol):
    """Takes the rows of a block, as COPY's text format has them."""

    def write(self, text: bytes) -> None:
        """Take some more bytes."""

    def close(self) -> None:
        """No more come."""


class Blocks(Script):
    """A `Script` that also hands on the rows of the tables `wanted`: `opened(block)` says where they go.

    What `opened` or its rows raise is kept in `error`, because another thread may be reading; then nothing more is
    handed on.
    """

    def __init__(self, wanted: Collection[Table], opened: Callable[[Block], Rows]) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._wanted, self._opened = wanted, opened
        self._rows: Rows | None = None
        self._is_first = False
        self._encoding = "UTF8"
        self._parents: dict[Table, list[Table]] = {}

    def take_statement(self, statement: bytes) -> None:
        """Note the next statement, and open what its rows go to."""
        super().take_statement(statement)
        if found := _COPY.fullmatch(statement):
            if self.error is None:
                self._guarded(partial(self._open, found))
        elif found := _ATTACH.fullmatch(statement):
            parent, child = _table(found[1], found[2]), _table(found[3], found[4])
            self._parents.setdefault(child, []).append(parent)
        elif (found := _CREATE.match(statement)) and (parents := _INHERITS.search(statement)):
            child = _table(found[1], found[2])
            self._parents.setdefault(child, []).extend(_table(*each.groups()) for each in _NAMES.finditer(parents[1]))
        elif found := _ENCODING.fullmatch(statement):
            self._encoding = found[1].decode()

    def take_rows(self, text: bytes) -> None:
        """Note some rows, and hand them on without the line feed of their statement and without their end mark."""
        super().take_rows(text)
        rows = self._rows
        if rows is None:
            return
        is_last = text.endswith(b"\n" + _END_MARK)
        body = text[1:] if self._is_first else text
        self._is_first = False
        if is_last:
            body = body[: -len(_END_MARK)]
            self._rows = None

        def hand_on() -> None:
            if body:
                rows.write(body)
            if is_last:
                rows.close()

        self._guarded(hand_on)

    def _open(self, found: re.Match[bytes]) -> None:
        table = self._chosen(_table(found[1], found[2]))
        if table is not None:
            columns = tuple(name_of(each[0]) for each in _COLUMN.finditer(found[3]))
            self._rows, self._is_first = self._opened(Block(table, columns, self._encoding)), True

    def _chosen(self, table: Table) -> Table | None:
        """The chosen table that a table is, or is a part of."""
        seen, ahead = set[Table](), [table]
        while ahead:
            each = ahead.pop()
            if each in self._wanted:
                return each
            if each not in seen:
                seen.add(each)
                ahead += self._parents.get(each, [])
        return None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.error, self._rows = error, None


def _table(schema: bytes, name: bytes) -> Table:
    return name_of(schema), name_of(name)
