"""What the readers of all types have in common."""

import io
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stowage.basics.errors import RunError, StowageError

MOST_COLUMNS = 16_384
"""Columns of a file, as many as a sheet of Excel has."""

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other programs put between columns, and its name."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """How a file is written: its type (csv, ndjson, xlsx), and what the request says of its text.

    `drops_unnamed` leaves out the values of columns that the header does not name.
    """

    type: str
    encoding: str | None = None
    delimiter: str | None = None
    drops_unnamed: bool = False


@dataclass(frozen=True)
class Place:
    """Where a reader begins: `position` as the reader itself tells it, and the line before it."""

    position: int = 0
    line: int = 0


@dataclass(frozen=True)
class Broken:
    """A row or a cell that cannot be read: why, and its text; of a row its cells, where those can be told apart."""

    code: str
    error: str
    text: str
    cells: tuple[Any, ...] = ()


type Row = tuple[int, list[Any] | dict[str, Any] | Broken]
"""The line on which a row begins (from 1; the row's number in a workbook), and its cells in the header's order (a cell
of a workbook may be Broken by itself); in NDJSON its object.
"""


class Rows(ABC):
    """The rows of a file, in order. `position` and `line` are where to go on behind the row given last.

    Rows without any value are passed over and counted in `blank`. Whatever a reader trips over is RunError
    `broken_file`, from the constructor and from the iteration; errors of storage stay as they are.
    """

    header: list[str] | None = None
    """The names of the columns; None where each row names its own fields."""
    position = 0
    line = 0
    blank = 0

    def __init__(self, file: io.BufferedReader, place: Place, layout: Layout) -> None:
        self._file, self._layout = file, layout
        self.position, self.line = place.position, place.line
        with _tripping():
            file.seek(0)
            self._open(place)

    def __iter__(self) -> Iterator[Row]:
        """Give the rows; RunError where the file cannot be read any further, `position` then behind the last row."""
        with _tripping():
            for line, row in self._rows():
                if isinstance(row, list) and is_blank(row):
                    self.blank += 1
                else:
                    yield line, row

    @abstractmethod
    def _open(self, place: Place, /) -> None:
        """Read what comes before the rows, and go to the place."""

    @abstractmethod
    def _rows(self) -> Iterator[Row]:
        """Give every row, blank ones too."""

    @abstractmethod
    def read_bytes(self) -> int:
        """How far into the file, in bytes."""

    def is_plain(self) -> bool:
        """Whether the file is text written as our own files are, so that its parts can be copied as they are."""
        return self._layout.encoding in (None, "utf-8") and self._layout.delimiter in (None, ",")

    def weight(self) -> int:
        """What was read so far, unpacked, in bytes, about: what bounds a batch of rows."""
        return self.read_bytes()


def is_blank(values: Iterable[Any]) -> bool:
    """Whether a row has no value: nulls, and texts of nothing but space. An object is never blank."""
    for value in values:
        if value is not None and (not isinstance(value, str) or (value and not value.isspace())):
            return False
    return True


@contextmanager
def _tripping() -> Iterator[None]:
    try:
        yield
    except (StowageError, OSError):
        raise
    except Exception as error:
        # Not the message, which may hold what stands in the file.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _logger.warning("A reader tripped: %s in %s:%s.", type(error).__name__, frame.filename, frame.lineno)
        raise broken_file("The file is damaged, or not of the type that was given.") from error


def broken_file(message: str) -> RunError:
    """The error for a file that is not what it is said to be."""
    return RunError(message, "broken_file")


def use_delimiter(separator: str) -> str:
    """The sentence for who may have meant this separator."""
    shown = separator.replace("\t", "\\t")
    return (
        f"Columns are separated by commas; if this file has {SEPARATORS[separator]}, send "
        f'"delimiter": "{shown}" for it.'
    )


def check_width(columns: int) -> None:
    """RunError for a header with more columns than a file may have."""
    if columns > MOST_COLUMNS:
        raise broken_file(f"The header has {columns:,} columns; a file may have {MOST_COLUMNS:,}.")
