"""Whether two plain dumps say the same: line by line, but for what no two runs of pg_dump write alike."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stowage.postgres.dumps.plain import Piece, Splitter, headers
from stowage.postgres.dumps.portable import without_servers_numbers

_VERSIONS = re.compile(rb"^-- Dumped (?:from database|by pg_dump) version .*\n", re.M)
_TABLESPACE = re.compile(rb"SET default_tablespace = [^;]*;")
_CASTS = re.compile(
    rb"::(?:\"[^\"]+\"|[a-z_][\w.]*(?: varying| precision| with(?:out)? time zone)?)(?:\(\d+(?:,\d+)?\))?(?:\[\])*"
)
_PARENTHESES = re.compile(rb"[()\s]+")


@dataclass(frozen=True)
class Sameness:
    """`differs_at`: the first entry that differs, in words, None where there is none. `rewritten`: statements that say
    the same in other words.
    """

    differs_at: str | None
    rewritten: int


def compare_dumps(one: Iterator[bytes], other: Iterator[bytes]) -> Sameness:
    """Compare two plain dumps of one schema, in chunks of any size; memory stays flat, whatever the rows are.

    Restrict tokens, versions, tablespaces and the numbers that servers keep with columns do not count. Postgres stores
    an expression parsed, and may write it with other parentheses and casts once it has read what it wrote
    (`x IN ('a', 'b')` of a varchar column): such a statement is the same in other words.
    """
    left, right = _Side(one), _Side(other)
    rewritten = 0
    while True:
        left.fill()
        right.fill()
        if not left.text and not right.text:
            return Sameness(None, rewritten)
        if left.is_statement != right.is_statement or not (left.text and right.text):
            return Sameness(left.place or right.place, rewritten)
        if left.is_statement:
            if left.text != right.text:
                if _skeleton(bytes(left.text)) != _skeleton(bytes(right.text)):
                    return Sameness(left.place, rewritten)
                rewritten += 1
            size, other_size = len(left.text), len(right.text)
        else:
            size = other_size = min(len(left.text), len(right.text))
            if left.text[:size] != right.text[:size]:
                return Sameness(left.place, rewritten)
        left.text, right.text = left.text[size:], right.text[other_size:]


class _Side:
    """One of the dumps: what of its current piece is not compared yet, and to which entry that belongs."""

    def __init__(self, script: Iterator[bytes]) -> None:
        self.text, self.is_statement, self.place = memoryview(b""), False, "its beginning"
        self._pieces = _pieces(script)

    def fill(self) -> None:
        """Go on to the next piece that counts, if the current one is used up. At the end there is none."""
        while not self.text and (piece := next(self._pieces, None)):
            text = piece.text
            match piece.kind:
                case "gap":
                    for header in headers(text):
                        self.place = f"{header.type.decode(errors='replace')} {header.name.decode(errors='replace')}"
                    text = _VERSIONS.sub(b"", text)
                case "command":
                    text = b""
                case "statement" if _TABLESPACE.fullmatch(text):
                    text = b""
                case "statement":
                    text = without_servers_numbers(text)
            self.text, self.is_statement = memoryview(text), piece.kind == "statement"


def _pieces(script: Iterator[bytes]) -> Iterator[Piece]:
    splitter = Splitter()
    for chunk in script:
        yield from splitter.feed(chunk)
    yield from splitter.finish()


def _skeleton(statement: bytes) -> bytes:
    return _PARENTHESES.sub(b"", _CASTS.sub(b"", statement))
