"""The table of contents of pg_dump's archives, which stands at their head: what is in them, and
whose.

`pg_restore --list` is no interface: it writes names as they are, line ends and semicolons in them
too. The format is the one of PostgreSQL's source, `pg_backup_archiver.c` (`ReadHead`, `ReadToc`),
versions 1.14 (Postgres 14 and 15), 1.15 (16) and 1.16 (17 and 18).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stowage.basics.errors import RunError

MAGIC = b"PGDMP"
VERSIONS = ((1, 14), (1, 15), (1, 16))
CUSTOM, TAR = 1, 3
"""The formats as an archive names its own."""
TAR_BLOCK = 512
TAR_CONTENTS = b"toc.dat\0"
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Entry:
    """One entry. `type` is `TABLE`, `COMMENT` …; `tag` its name, or for comments and grants `TABLE
    name`; `namespace` its schema, "" where it has none. `start` and `end` are its place in the
    archive. `needs` are the numbers of what it depends on, which may be no entry. `has_data`: a
    block of data with its number follows the table of contents.
    """

    id: int
    type: str
    tag: str
    namespace: str
    owner: str
    start: int
    end: int
    needs: tuple[int, ...] = ()
    has_data: bool = False


@dataclass(frozen=True)
class Contents:
    """An archive's table of contents, which ends at byte `end` of it. At byte `counted_at` stands the
    number of its entries, in `integer_bytes` bytes behind one for its sign.
    """

    format: Literal["custom", "tar"]
    version: tuple[int, int]
    entries: tuple[Entry, ...]
    end: int
    counted_at: int = 0
    integer_bytes: int = 4


def read_contents(data: bytes | bytearray) -> Contents | None:
    """Read it from an archive's first bytes; None where they are too few.

    RunError `archive_unknown` for what is no archive, or is of another version or format.
    """
    try:
        if data[: len(MAGIC)] == MAGIC[: len(data)]:
            return _Reader(data, 0).contents(CUSTOM)
        if data[: len(TAR_CONTENTS)] == TAR_CONTENTS[: len(data)]:
            return _Reader(data, TAR_BLOCK).contents(TAR)
    except IndexError:
        return None
    raise _unknown("what pg_dump wrote is neither a custom nor a tar archive")


class _Reader:
    """Reads at a place of the archive; IndexError behind its bytes."""

    def __init__(self, data: bytes | bytearray, at: int) -> None:
        self._data, self._at = data, at
        self._integer_bytes = self._offset_bytes = 0

    def contents(self, wanted: int) -> Contents:
        if self._take(len(MAGIC)) != MAGIC:
            raise _unknown("its table of contents does not begin as one")
        major, minor, _revision, self._integer_bytes, self._offset_bytes, found = self._take(6)
        version = (major, minor)
        if version not in VERSIONS:
            names = ", ".join(f"{major}.{minor}" for major, minor in VERSIONS)
            raise _unknown(f"its format is {major}.{minor}, and known are {names}")
        if found != wanted:
            raise _unknown(f"it is of the kind {found}")
        if version < (1, 15):
            self._integer()
        else:
            self._take(1)
        for _ in range(7):  # when it was made
            self._integer()
        for _ in range(3):  # the database's name, the server's version, pg_dump's
            self._text()
        skip_place = self._skip_offset if wanted == CUSTOM else self._text
        counted_at = self._at
        entries = tuple(self._entry(version, skip_place) for _ in range(self._integer()))
        kind: Literal["custom", "tar"] = "custom" if wanted == CUSTOM else "tar"
        return Contents(kind, version, entries, self._at, counted_at, self._integer_bytes)

    def _entry(self, version: tuple[int, int], skip_place: Callable[[], object]) -> Entry:
        start, number = self._at, self._integer()
        has_data = bool(self._integer())
        self._text()  # the catalog's number
        self._text()  # the object's number
        tag, kind = self._text(), self._text()
        self._integer()  # the section
        for _ in range(3):  # what makes it, what drops it, its COPY statement
            self._text()
        namespace = self._text()
        self._text()  # the tablespace
        self._text()  # the table access method
        if version >= (1, 16):
            self._integer()  # the kind of relation
        owner = self._text()
        self._text()  # "false": once, whether it has numbers of its own
        needs = []
        while (need := self._text()) is not None:  # what it depends on
            needs.append(int(need))
        skip_place()
        return Entry(
            number, kind or "", tag or "", namespace or "", owner or "", start, self._at, tuple(needs), has_data
        )

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise IndexError
        taken = bytes(self._data[self._at : end])
        self._at = end
        return taken

    def _integer(self) -> int:
        sign, *rest = self._take(1 + self._integer_bytes)
        number = int.from_bytes(bytes(rest), "little")
        return -number if sign else number

    def _text(self) -> str | None:
        length = self._integer()
        if length > MOST_BYTES:
            raise _unknown("its table of contents cannot be read")
        return None if length < 0 else self._take(length).decode(errors="surrogateescape")

    def _skip_offset(self) -> None:
        self._take(1 + self._offset_bytes)


def _unknown(why: str) -> RunError:
    return RunError(f"The archive cannot be looked into: {why}.", "archive_unknown")
