"""One archive of several schemas, cut into one of each while pg_dump writes it.

The pieces are pg_dump's own bytes: a schema's archive is the whole one's head, the schema's entries of the table of
contents, and the blocks of data of these. pg_restore makes of it what it would make of the schema's own dump.

The format is the one of PostgreSQL's source, `pg_backup_custom.c`: the blocks follow in the order of the entries. Each
begins with its type and the entry's number; its data come in lengths and bytes, and the length 0 ends them.
"""

import struct
from collections.abc import Collection, Iterator

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.dumps.archive import Contents, Entry, read_contents
from stowage.postgres.dumps.namespaces import Whose, is_of_database

_DATA = 1
_INTEGER = struct.Struct("<BI")
"""A sign, which is 0 for numbers that are not negative, and the number."""
_BLOCK = struct.Struct("<BBI")
"""A block's type and its entry's number."""
_GROWTH = 2
USUAL_ENTRIES_BYTES = 16 * 1024
"""What a schema's entries take at least, as a rule: before that it is not worth to try to read all of them."""

type Cut = tuple[str, bytes]
"""A schema, and the next bytes of its archive."""


class Cutter:
    """Takes an uncompressed archive in the custom format, in chunks of any size, and gives the archives of its schemas,
    one after another.

    RunError `foreign_schema` for an entry of none of these schemas, `archive_unknown` for what cannot be cut, and
    TransientRunError `dump_interrupted` where something is missing at the end.
    """

    def __init__(self, schemas: Collection[str]) -> None:
        self._whose = Whose(schemas)
        self._schemas = list(schemas)
        self._data = bytearray()
        self._wanted = len(self._schemas) * USUAL_ENTRIES_BYTES
        """How many bytes to gather before the next try to read the table of contents."""
        self._heads: dict[str, bytes] | None = None
        """The heads of the archives that have not begun; None until the table of contents is there."""
        self._blocks: dict[int, str] = {}
        """The schemas of the blocks that are still to come, by their entries' numbers."""
        self._schema: str | None = None
        self._is_in_block = False

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """What these bytes become; take it all before the next ones come."""
        self._data += chunk
        if self._heads is None and not self._begin():
            return
        yield from self._cut()

    def finish(self) -> Iterator[Cut]:
        """What is left, and the archives of the schemas that have no data: no more bytes come."""
        self._wanted = 0
        yield from self.feed(b"")
        if self._heads is None or self._data or self._is_in_block or self._blocks:
            raise TransientRunError("The dump of several schemas ends early.", "dump_interrupted")
        yield from self._heads.items()
        self._heads = {}

    def _begin(self) -> bool:
        """Read the table of contents and make the heads of the archives; False where it has not come whole."""
        if len(self._data) < self._wanted:
            return False
        self._wanted = len(self._data) * _GROWTH
        contents = read_contents(self._data)
        if contents is None:
            return False
        if contents.format != "custom" or contents.integer_bytes != _INTEGER.size - 1:
            raise _uncuttable("it is of another format")
        self._heads = self._heads_of(contents)
        del self._data[: contents.end]
        return True

    def _heads_of(self, contents: Contents) -> dict[str, bytes]:
        entries: dict[str, list[Entry]] = {schema: [] for schema in self._schemas}
        for entry in contents.entries:
            schema = self._whose.schema_of(entry)
            if schema is not None:
                entries[schema].append(entry)
                if entry.has_data:
                    self._blocks[entry.id] = schema
            elif not is_of_database(entry):
                for each in entries.values():
                    each.append(entry)
        made = {entry.tag for entry in contents.entries if entry.type == "SCHEMA"}
        if missing := [schema for schema in self._schemas if schema not in made]:
            raise RunError(f"The dump does not hold {', '.join(missing)}.", "schema_missing")
        head = bytes(self._data[: contents.counted_at])
        return {
            schema: b"".join(
                [head, _INTEGER.pack(0, len(found)), *(self._data[entry.start : entry.end] for entry in found)]
            )
            for schema, found in entries.items()
        }

    def _cut(self) -> Iterator[Cut]:
        """Go through the blocks as far as they have come."""
        data, at, begun = self._data, 0, 0
        end = len(data)
        while True:
            if not self._is_in_block:
                if at + _BLOCK.size > end:
                    break
                schema = self._block_at(at)
                if schema != self._schema:
                    if at > begun and self._schema is not None:
                        yield self._schema, bytes(data[begun:at])
                    begun = at
                    yield schema, self._head_of(schema)
                    self._schema = schema
                self._is_in_block = True
                at += _BLOCK.size
            at, self._is_in_block = _through(data, at)
            if self._is_in_block:
                break
        if at > begun and self._schema is not None:
            yield self._schema, bytes(data[begun:at])
        del data[:at]

    def _block_at(self, at: int) -> str:
        kind, sign, number = _BLOCK.unpack_from(self._data, at)
        schema = self._blocks.pop(number, None)
        if kind != _DATA or sign or schema is None:
            raise _uncuttable("a block of data belongs to no entry")
        return schema

    def _head_of(self, schema: str) -> bytes:
        assert self._heads is not None, "the blocks follow the table of contents"
        head = self._heads.pop(schema, None)
        if head is None:
            raise _uncuttable("a schema's data do not stand together")
        return head


def _through(data: bytearray, at: int) -> tuple[int, bool]:
    """How far a block's data have come whole, and whether they go on."""
    end, unpack, size = len(data), _INTEGER.unpack_from, _INTEGER.size
    while at + size <= end:
        sign, length = unpack(data, at)
        if sign:
            raise _uncuttable("a length is negative")
        following = at + size + length
        if following > end:
            return at, True
        at = following
        if not length:
            return at, False
    return at, True


def _uncuttable(why: str) -> RunError:
    return RunError(f"The dump of several schemas cannot be cut: {why}.", "archive_unknown")
