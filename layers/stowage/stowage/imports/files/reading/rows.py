"""What the readers of all types have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from stowage.basics.errors import RunError


@dataclass(frozen=True)
class Place:
    """Where a reader begins: `position` as the reader itself tells it, and the line before it."""

    position: int = 0
    line: int = 0


@dataclass(frozen=True)
class Broken:
    """A row that cannot be read: why, and its text, or its cells where those can be told apart."""

    code: str
    error: str
    text: str
    cells: tuple[Any, ...] = ()


type Row = tuple[int, list[Any] | dict[str, Any] | Broken]
"""The line on which a row begins (from 1; the row's number in a workbook), and its cells in the header's order; in
NDJSON its object.
"""


class Rows(Protocol):
    """The rows of a file, in order. `position` and `line` are where to go on behind the row given last."""

    header: list[str] | None
    """The names of the columns; None where each row names its own fields."""
    position: int
    line: int

    def __iter__(self) -> Iterator[Row]:
        """Give the rows; RunError where the file cannot be read any further, `position` then behind the last row."""
        ...

    def read_bytes(self) -> int:
        """How far into the file, in bytes."""
        ...


def broken_file(message: str) -> RunError:
    """The error for a file that is not what it is said to be."""
    return RunError(message, "broken_file")


def check_encoding(beginning: bytes) -> int:
    """How many bytes of a byte order mark there are before UTF-8 text; RunError for UTF-16 and compressed files."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise broken_file("The file is UTF-16; save it as UTF-8.")
    if beginning.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")):
        raise broken_file("The file is compressed or a workbook, not text of the type that was given.")
    return 3 if beginning.startswith(b"\xef\xbb\xbf") else 0
