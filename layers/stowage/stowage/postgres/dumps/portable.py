"""The portable form of a plain dump: for other owners, without grants, for older servers, with what
a schema's dump leaves out. Rows and the text of functions pass as they are.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from stowage.basics.errors import StowageError
from stowage.postgres.dumps.archive import MAGIC, TAR_CONTENTS
from stowage.postgres.dumps.needs import Needs
from stowage.postgres.dumps.plain import Header, Piece, Splitter, headers

CHUNK_BYTES = 1 << 20
ALWAYS_THERE = ("plpgsql",)
"""Extensions that every database has."""

_GZIP = b"\x1f\x8b"

_NAME = rb'(?:"(?:[^"]|"")*"|[\w$\x80-\xff]+)'
_OWNER = re.compile(rb"(ALTER .* OWNER TO )" + _NAME + rb";", re.S)
_GRANT = re.compile(rb"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|(?:RE)?SET SESSION AUTHORIZATION)\b")
_GRANT_ENTRIES = (b"ACL", b"DEFAULT ACL")
_NEWER_SETTING = re.compile(rb"SET transaction_timeout = [^;]*;")
# From November 2026 on (15.20) servers keep a number of their own with every column, which they hide from their own
# pg_dump only; other servers refuse it.
_COLUMN_OPTIONS = re.compile(
    rb"ALTER (?:FOREIGN )?TABLE ONLY .* ALTER COLUMN .* SET \([^()]*\bpg_attver=\d+[^()]*\);", re.S
)
_SERVERS_NUMBER = re.compile(rb"(?<=\()pg_attver=\d+(?:, )?|, pg_attver=\d+")
_TABLESPACE = re.compile(rb"SET default_tablespace = [^;]*;")
_SEARCH_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);"
_CREATE_SCHEMA = re.compile(rb"CREATE SCHEMA " + _NAME + rb";")
_RESTRICTIONS = (b"\\restrict ", b"\\unrestrict ")
_COMPLETE = b"-- PostgreSQL database dump complete\n"
_END_OF_ROWS = b"\n\\.\n"
_NOT_WHOLE = b"""
DO $stowage$ BEGIN RAISE EXCEPTION 'The dump is not whole and must not be restored.'; END $stowage$;
"""


def without_servers_numbers(statement: bytes) -> bytes:
    """A statement of a dump without the number that a server keeps with a column for itself; nothing is left of one
    that says no more.
    """
    if not _COLUMN_OPTIONS.fullmatch(statement):
        return statement
    options = _SERVERS_NUMBER.sub(b"", statement)
    return b"" if options.endswith(b"SET ();") else options


@dataclass(frozen=True)
class Form:
    """What is to be different from the dump: owners and grants are left out, unless they are kept,
    or the owner is the one that is named here.

    `needs` are the manifest's: extensions and casts are made where the dump needs them, and
    functions that name others of their schema (`schema`) without it find these.
    """

    owner: str | None = None
    keep_owners: bool = False
    keep_grants: bool = False
    keep_restrictions: bool = True
    schema: str = ""
    needs: Needs = field(default_factory=Needs)


def portable(file: io.BufferedReader, form: Form) -> Iterator[bytes]:
    """The portable form of a plain dump, gzipped or not, piece by piece. Servers before 17 take it
    too.

    StowageError where it is no plain dump, or not whole. The last bytes before that make psql fail,
    so that the transaction around them is rolled back.
    """
    rewriter = Rewriter(form)
    try:
        for chunk in _unpacked(file):
            yield from rewriter.feed(chunk)
        yield from rewriter.finish()
    except StowageError:
        yield (_END_OF_ROWS if rewriter.is_in_rows else b"") + _NOT_WHOLE
        raise


def _unpacked(file: io.BufferedReader) -> Iterator[bytes]:
    packed = gzip.GzipFile(fileobj=file) if file.peek(len(_GZIP)).startswith(_GZIP) else file
    try:
        chunk = packed.read(CHUNK_BYTES)
        if chunk.startswith((MAGIC, TAR_CONTENTS)):
            raise StowageError("This is an archive: pg_restore -f - makes a plain dump of it.", "not_plain")
        while chunk:
            yield chunk
            chunk = packed.read(CHUNK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StowageError("The file cannot be unpacked to its end: it is not whole.", "dump_not_whole") from error


class Rewriter:
    """Takes a plain dump in chunks of any size and gives its portable form.

    StowageError where it is no plain dump, or (`finish`) not whole. `rows` counts the lines of rows so far.
    """

    def __init__(self, form: Form) -> None:
        self.rows = 0
        self._splitter = Splitter()
        self._is_whole = False
        self._form = form
        self._entry: Header | None = None
        """What the statements that follow belong to."""
        self._casts = [({_in_a_header(name) for name in cast.after}, cast.statement) for cast in form.needs.casts]

    @property
    def is_in_rows(self) -> bool:
        """Whether the dump has broken off within the rows of a table, if it goes no further."""
        return self._splitter.is_in_rows

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What becomes of these bytes, as far as it can be told yet; take it all before the next ones come."""
        for piece in self._splitter.feed(chunk):
            yield from self._rewritten(piece)

    def finish(self) -> Iterator[bytes]:
        """What is left: no more bytes come. StowageError where the dump has ended before its end."""
        for piece in self._splitter.finish():
            yield from self._rewritten(piece)
        if not (self._splitter.is_between and self._is_whole):
            raise StowageError("The dump ends early: it is not whole.", "dump_not_whole")

    def _rewritten(self, piece: Piece) -> Iterator[bytes]:
        match piece.kind:
            case "rows":
                self.rows += piece.text.count(b"\n")
                yield piece.text
            case "gap":
                for header in headers(piece.text):
                    yield from self._ready_casts(header)
                self._is_whole = self._is_whole or _COMPLETE in piece.text
                yield piece.text
            case "command" if not piece.text.startswith(_RESTRICTIONS):
                raise StowageError("The dump holds a command that pg_dump does not write.", "not_plain")
            case "command":
                yield piece.text if self._form.keep_restrictions else b""
            case "statement":
                yield from self._statement(piece.text)

    def _statement(self, text: bytes) -> Iterator[bytes]:
        form, is_grant = self._form, self._entry is not None and self._entry.type in _GRANT_ENTRIES
        if _NEWER_SETTING.fullmatch(text) or (is_grant and not form.keep_grants and _GRANT.match(text)):
            return
        if found := _OWNER.fullmatch(text):
            if form.keep_owners:
                yield text
            elif form.owner is not None:
                yield found[1] + _quoted(form.owner) + b";"
        elif (options := without_servers_numbers(text)) != text:
            yield options
        elif _TABLESPACE.fullmatch(text):
            yield b"SET default_tablespace = '';"
        elif text == _SEARCH_PATH and (schemas := self._searched()):
            path = b", ".join(map(_quoted, schemas)).replace(b"'", b"''")
            yield text.replace(b"''", b"'" + path + b"'")
        else:
            yield text
            if _CREATE_SCHEMA.fullmatch(text):
                yield from self._extensions()

    def _searched(self) -> list[str]:
        """The schemas in which functions find others by a search path, the dump's own first."""
        found = {schema for trap in self._form.needs.search_path_traps for schema in trap.schemas}
        return sorted(found, key=lambda schema: (schema != self._form.schema, schema))

    def _extensions(self) -> Iterator[bytes]:
        for extension in self._form.needs.extensions:
            if extension.name in ALWAYS_THERE:
                continue
            schema = _quoted(extension.schema_name)
            if extension.schema_name not in (self._form.schema, "public", "pg_catalog"):
                yield b"\nCREATE SCHEMA IF NOT EXISTS %s;" % schema
            yield b"\nCREATE EXTENSION IF NOT EXISTS %s WITH SCHEMA %s;" % (_quoted(extension.name), schema)

    def _ready_casts(self, next_entry: Header) -> Iterator[bytes]:
        """The casts whose types and functions are there now that another entry begins."""
        if self._entry:
            done = self._entry.type + b" " + self._entry.name
            for missing, statement in self._casts:
                if done in missing:
                    missing.remove(done)
                    if not missing:
                        yield b"\n\n" + statement.encode()
        self._entry = next_entry


def _in_a_header(name: str) -> bytes:
    return re.sub(r"[\r\n]", " ", name).encode()


def _quoted(name: str) -> bytes:
    return b'"' + name.replace('"', '""').encode() + b'"'
