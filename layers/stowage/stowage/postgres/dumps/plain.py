"""A plain dump cut into its statements, as psql would read it: quotes, dollar quotes, comments and
rows are never taken for anything else, whatever stands in them.

The rules are those of PostgreSQL's documentation ("Lexical Structure") and, for bodies between
BEGIN ATOMIC and END, of psql's own reader (PostgreSQL's source, `psqlscan.l`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gap", "statement", "command", "rows"]


@dataclass(frozen=True)
class Piece:
    r"""The next bytes of a dump. All pieces together are the dump.

    `gap`: white space and comments between statements, whole. `statement`: with its semicolon.
    `command`: a line for psql alone, as `\restrict`. `rows`: some of what a COPY copies, the end
    mark `\.` with the last.
    """

    kind: Kind
    text: bytes


@dataclass(frozen=True)
class Header:
    """What pg_dump says above each entry: `-- Name: posts; Type: TABLE; Schema: tenant_acme; Owner:
    shop`.

    Line ends in names are blanks, and what is missing is `-`.
    """

    name: bytes
    type: bytes
    schema: bytes
    owner: bytes


_HEADER = re.compile(
    rb"^--\n-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: (.*?)(?:; Tablespace: .*)?\n--$", re.M
)


def headers(gap: bytes) -> Iterator[Header]:
    """The headers in the comments between two statements. A name may look like a header's end, so
    the last one counts.
    """
    for found in _HEADER.finditer(gap):
        yield Header(*found.groups())


_TOKEN = re.compile(
    rb"(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)"
    rb"|(?P<opening>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|--|/\*|['\"])"
    rb"|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\Z"  # of a dollar quote that has not come whole
    rb"|\d[\w.$]*|\s+|[;()\\]|[^\w$'\"\\;()/\s\x80-\xff-]+|.",
    re.S,
)
_COMMENTS = (b"--", b"/*")
_COPY = re.compile(rb"COPY .* FROM stdin;", re.S)
_STRINGS = re.compile(rb"SET standard_conforming_strings = (on|off);")
_ROUTINE = re.compile(rb"create (?:or replace )?(?:function|procedure)\b")
_FIRST_WORDS = 4
_END_OF_ROWS = b"\n\\.\n"


@dataclass(frozen=True)
class _Opened:
    """A quote or comment: what to look for in it, which of that ends it, and what opens another one
    within.
    """

    marks: re.Pattern[bytes]
    end: bytes
    nests: bytes = b""


_STRING = _Opened(re.compile(rb"''|'"), b"'")
_STRING_WITH_ESCAPES = _Opened(re.compile(rb"\\.|''|['\\]", re.S), b"'")
_OPENED = {
    b"'": _STRING,
    b'"': _Opened(re.compile(rb'""|"'), b'"'),
    b"--": _Opened(re.compile(rb"\n"), b"\n"),
    b"/*": _Opened(re.compile(rb"/\*|\*/"), b"*/", b"/*"),
}


class Splitter:
    """Cuts a dump that comes in chunks of any size. At most one statement is in memory, never the
    rows.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self.is_in_rows = False
        self._standard_strings = True
        self._begin()

    @property
    def is_between(self) -> bool:
        """Whether nothing is open: neither a statement nor rows."""
        return not (self.is_in_rows or self._started)

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """The pieces that are complete with these bytes; take them all before the next ones come."""
        self._text += chunk
        return self._pieces(is_last=False)

    def finish(self) -> Iterator[Piece]:
        """The pieces that are left; of a statement or rows that are open (`is_between`) nothing."""
        yield from self._pieces(is_last=True)
        if self.is_between and self._text:
            yield Piece("gap", self._take(len(self._text)))

    def _begin(self) -> None:
        self._at = 0
        """Where to go on: everything before is looked at."""
        self._started = False
        self._opened: _Opened | None = None
        self._depth = 0
        self._parentheses = self._blocks = 0
        self._words: list[bytes] = []
        self._last_word = (-1, b"")

    def _take(self, end: int) -> bytes:
        taken = bytes(self._text[:end])
        del self._text[:end]
        self._at = 0
        return taken

    def _pieces(self, *, is_last: bool) -> Iterator[Piece]:
        while piece := self._rows() if self.is_in_rows else self._next(is_last):
            yield piece

    def _rows(self) -> Piece | None:
        end = self._text.find(_END_OF_ROWS)
        if end >= 0:
            self.is_in_rows = False
            return Piece("rows", self._take(end + len(_END_OF_ROWS)))
        ready = len(self._text) - len(_END_OF_ROWS) + 1
        return Piece("rows", self._take(ready)) if ready > 0 else None

    def _next(self, is_last: bool) -> Piece | None:
        while self._opened is None or self._close(self._opened, is_last):
            token = _TOKEN.match(self._text, self._at)
            # What ends with the chunk may go on in the next one.
            if token is None or (token.end() == len(self._text) and not is_last):
                return None
            start, end, kind, text = token.start(), token.end(), token.lastgroup, token[0]
            if not self._started and not text.isspace() and text not in _COMMENTS:
                if start:
                    return Piece("gap", self._take(start))
                if text == b"\\":
                    line = self._text.find(b"\n") + 1
                    if line:
                        return Piece("command", self._take(line))
                    self._started = is_last  # a line that is cut off
                    return None
                self._started = True
            self._at = end
            if kind == "opening":
                self._opened, self._depth = self._opening(start, text), 1
            elif kind == "word":
                self._word(text.lower())
                self._last_word = (end, text.lower())
            elif text == b"(":
                self._parentheses += 1
            elif text == b")":
                self._parentheses = max(0, self._parentheses - 1)
            elif text == b";" and not self._parentheses and not self._blocks:
                return self._statement()
        return None

    def _opening(self, start: int, text: bytes) -> _Opened:
        prefix = self._last_word[1] if self._last_word[0] == start else b""
        if text == b"'" and (prefix == b"e" or not (self._standard_strings or prefix in (b"b", b"x"))):
            return _STRING_WITH_ESCAPES
        return _OPENED.get(text) or _Opened(re.compile(re.escape(text)), text)

    def _close(self, opened: _Opened, is_last: bool) -> bool:
        """Go behind the end of a quote or comment; False where that has not come yet."""
        while found := opened.marks.search(self._text, self._at):
            mark = found[0]
            if found.end() == len(self._text) and not is_last and mark in (b"'", b'"', b"\\"):
                self._at = found.start()  # the next byte tells what it is
                return False
            self._at = found.end()
            self._depth += (mark == opened.nests) - (mark == opened.end)
            if not self._depth:
                self._opened = None
                return True
        self._at = max(self._at, len(self._text) - len(opened.end) + 1)
        return False

    def _word(self, word: bytes) -> None:
        """Note a word: semicolons between BEGIN ATOMIC and its END do not end the statement."""
        if len(self._words) < _FIRST_WORDS:
            self._words.append(word)
        if self._parentheses or not _ROUTINE.match(b" ".join(self._words)):
            return
        if word == b"begin" or (word == b"case" and self._blocks):
            self._blocks += 1
        elif word == b"end" and self._blocks:
            self._blocks -= 1

    def _statement(self) -> Piece:
        statement = self._take(self._at)
        self._begin()
        if found := _STRINGS.fullmatch(statement):
            self._standard_strings = found[1] == b"on"
        # The line feed behind it belongs to the rows: their end mark stands on a line of its own.
        self.is_in_rows = _COPY.fullmatch(statement) is not None
        return Piece("statement", statement)
