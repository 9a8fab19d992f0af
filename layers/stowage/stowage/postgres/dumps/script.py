"""What a plain dump holds: the rows of each table, and whether it came to its end."""

import hashlib
import re
from collections.abc import Iterable

from stowage.postgres.dumps.plain import Piece, Splitter

NAME = rb"""(?:"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)"""
"""An identifier as pg_dump writes it."""
_COPY = re.compile(rb"COPY (" + NAME + rb")\.(" + NAME + rb") .*FROM stdin;", re.DOTALL)
_SEQUENCE_VALUE = b"SELECT pg_catalog.setval("
_END = b"\n-- PostgreSQL database dump complete\n"
"""The words with which pg_dump and pg_restore end every script."""


class Script:
    """What is known of a dump that is fed in pieces of any size; memory stays flat, whatever the rows are.

    `counts` has the rows of each table by its schema and its name. `is_whole` is known after `finish`: whether the
    dump ended as pg_dump ends one.
    """

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.is_whole = False
        self._statements = hashlib.sha256()
        self._splitter = Splitter()
        self._schema = self._table = ""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all statements but those that give sequences their values: of what the rows are held in."""
        return self._statements.hexdigest()

    @property
    def row_count(self) -> int:
        """The rows of all tables so far."""
        return sum(sum(rows.values()) for rows in self.counts.values())

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        self._read(self._splitter.feed(data))

    def finish(self) -> None:
        """Read what is left: no more bytes come."""
        self._read(self._splitter.finish())
        self.is_whole = self.is_whole and self._splitter.is_between

    def _read(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            match piece.kind:
                case "rows":
                    self.take_rows(piece.text)
                case "statement":
                    self.is_whole = False
                    if not piece.text.startswith(_SEQUENCE_VALUE):
                        self._statements.update(piece.text)
                    self.take_statement(piece.text)
                case "gap":
                    self.is_whole = self.is_whole or _END in b"\n" + piece.text

    def take_statement(self, statement: bytes) -> None:
        """Note the next statement."""
        if found := _COPY.fullmatch(statement):
            self._schema, self._table = map(name_of, found.groups())
            rows = self.counts.setdefault(self._schema, {})
            # The pieces of rows begin with the line feed of this statement, and end with that of their end mark.
            rows[self._table] = rows.get(self._table, 0) - 2

    def take_rows(self, text: bytes) -> None:
        """Note some of the rows that the last statement copies."""
        self.counts[self._schema][self._table] += text.count(b"\n")


def name_of(quoted: bytes) -> str:
    """The name that an identifier of SQL writes, in quotes or without."""
    name = quoted[1:-1].replace(b'""', b'"') if quoted.startswith(b'"') else quoted
    return name.decode(errors="replace")
