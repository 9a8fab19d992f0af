"""Proof, while a dump streams by, that it holds one tenant's schemas and nothing of another's.

`-n` already names the schema exactly (`pg_dump.schema_pattern`); this is a second look at what came
of it. It reads only a dump's head, so its cost does not grow with the data, and nothing that stands
in the schema can lead it astray.
"""

import re
from collections.abc import Collection, Iterable

from stowage.basics.errors import RunError
from stowage.postgres.dumps.archive import Contents, Entry, read_contents
from stowage.postgres.dumps.plain import Header, Piece, Splitter, headers

# What has no schema of its own: the schema itself, and what is said of it.
_OF_SCHEMAS = {"SCHEMA": "", "COMMENT": "SCHEMA ", "ACL": "SCHEMA ", "SECURITY LABEL": "SCHEMA "}
# Archives name the database too, with what is said of it; pg_restore leaves that out unless it is
# to create it.
_OF_DATABASES = ("DATABASE", "DATABASE PROPERTIES")
_SAID_OF_OTHERS = ("COMMENT", "ACL", "SECURITY LABEL")
_OF_EVERY_DUMP = ("ENCODING", "STDSTRINGS", "SEARCHPATH")
_BARE = re.compile("[a-z_][a-z0-9_]*")
_GROWTH = 2


class PlainNamespaces:
    """For plain SQL: every entry before the first table's data has to be of the schema.

    All tables are created before any data, so this proves of every table in the dump that it is the
    schema's. Indexes and foreign keys come after the data and are not looked at: they hang on
    tables that were.
    """

    def __init__(self, *schemas: str) -> None:
        self.entries = 0
        self._schema, self._schemas = schemas[0], schemas
        self._shown = [_in_a_header(each.encode()) for each in self._schemas]
        self._splitter: Splitter | None = Splitter()

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes; RunError at the first entry of another schema."""
        if self._splitter:
            self._look(self._splitter.feed(chunk))

    def finish(self) -> None:
        """RunError where nothing was seen: a dump whose entries we cannot read proves nothing."""
        if self._splitter:
            self._look(self._splitter.finish())
        if not self.entries:
            raise foreign_schema(self._schema)

    def close(self) -> None:
        """Look at nothing more."""
        self._splitter = None

    def _look(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.kind == "gap":
                for header in headers(piece.text):
                    self._check(header)
            elif piece.kind == "statement" and piece.text.startswith(b"COPY "):
                # The rows' own statement says whose they are, in names that cannot be mistaken.
                written = (name for schema in self._schemas for name in _written(schema))
                if not piece.text.startswith(tuple(b"COPY %s." % name for name in written)):
                    raise foreign_schema(self._schema)
                self._splitter = None
                return

    def _check(self, header: Header) -> None:
        self.entries += 1
        if header.schema in self._shown:
            return
        said_of = _OF_SCHEMAS.get(header.type.decode()) if header.schema == b"-" else None
        written = (name for schema in self._schemas for name in _written(schema))
        names = self._shown if said_of == "" else [_in_a_header(b"SCHEMA " + name) for name in written]
        if said_of is None or header.name not in names:
            raise foreign_schema(self._schema)


class ArchiveNamespaces:
    """For tar and custom: the archive's table of contents proves of every entry, indexes and
    foreign keys included, whose it is.
    """

    def __init__(self, *schemas: str) -> None:
        self.entries = 0
        self._schemas = schemas
        self._head = bytearray()
        self._wanted = 1
        """How many bytes to gather before the next try, so that all tries together read a few times
        the contents.
        """

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes; RunError once the contents name another schema, or cannot be
        read.
        """
        if self.entries:
            return
        self._head += chunk
        if len(self._head) >= self._wanted:
            self._wanted = len(self._head) * _GROWTH
            self._look()

    def finish(self) -> None:
        """RunError unless the table of contents names these schemas alone."""
        if not self.entries:
            self._look()
        if not self.entries:
            raise foreign_schema(self._schemas[0])

    def close(self) -> None:
        """Look at nothing more."""
        self._head = bytearray()

    def _look(self) -> None:
        contents = read_contents(self._head)
        if contents is not None:
            refuse_foreign(contents, *self._schemas)
            self.entries = len(contents.entries)
            self._head = bytearray()


def refuse_foreign(contents: Contents, *schemas: str) -> None:
    """RunError `foreign_schema` where a table of contents names anything that is not of these
    schemas.
    """
    whose = Whose(schemas)
    for entry in contents.entries:
        whose.schema_of(entry)


def _in_a_header(name: bytes) -> bytes:
    return re.sub(rb"[\r\n]", b" ", name)


class Whose:
    """Tells the schema of each entry of an archive that may hold these schemas and nothing else."""

    def __init__(self, schemas: Collection[str]) -> None:
        self._schemas = frozenset(schemas)
        self._told = ", ".join(sorted(schemas))
        self._named = {f"SCHEMA {name.decode()}": schema for schema in schemas for name in _written(schema)}

    def schema_of(self, entry: Entry) -> str | None:
        """The entry's schema; None for what stands in every dump. RunError `foreign_schema` for
        what is of neither.
        """
        if entry.namespace in self._schemas:
            return entry.namespace
        if not entry.namespace:
            if entry.type == "SCHEMA" and entry.tag in self._schemas:
                return entry.tag
            if entry.type in _SAID_OF_OTHERS and entry.tag in self._named:
                return self._named[entry.tag]
            if entry.type in _OF_EVERY_DUMP or is_of_database(entry):
                return None
        raise foreign_schema(self._told)


def is_of_database(entry: Entry) -> bool:
    """Whether it is the database's, or says something of it: no restore into another one looks at it."""
    said = entry.type in _SAID_OF_OTHERS and entry.tag.startswith("DATABASE ")
    return not entry.namespace and (said or entry.type in _OF_DATABASES)


def _written(schema: str) -> tuple[bytes, ...]:
    """A schema's name as SQL may have it: pg_dump quotes it where it has to, which depends on the
    keywords of its version.
    """
    quoted = b'"' + schema.replace('"', '""').encode() + b'"'
    return (quoted, schema.encode()) if _BARE.fullmatch(schema) else (quoted,)


def foreign_schema(schema: str) -> RunError:
    """The error that keeps a dump with something of another tenant from ever becoming an artifact."""
    return RunError(f"The dump is not of {schema} alone.", "foreign_schema")
