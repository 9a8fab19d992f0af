"""The parts of a workbook: a zip of XML files, read a piece at a time, with bounds on whatever fills the memory.

What a zip holds may be a thousand times as large as the zip. So nothing is kept that grows with it: directory, nesting,
names, and single pieces of markup have limits far beyond those of real workbooks.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from posixpath import join, normpath
from typing import IO, Any
from urllib.parse import unquote
from xml.parsers import expat

from stowage.imports.files.reading.rows import broken_file

PIECE_BYTES = 64 * 1024
MOST_DIRECTORY_BYTES = 4 << 20
"""Of the zip's list of its parts: about 40,000."""
MOST_LISTED_BYTES = 64_000_000
"""Of a part that lists sheets, relations or styles, unpacked. A book with all styles that Excel allows has 30 MB."""
MOST_DEPTH = 100
MOST_NAMES = 5_000
"""Different names of elements, attributes and namespaces in one part; the standard has some hundred."""
LONGEST_NAMESPACE = 1_000
LONGEST_MARKUP = 4 << 20
"""Bytes of one tag or comment."""

_DIRECTORY_END = struct.Struct("<4s8xI")
_DIRECTORY_END_64 = struct.Struct("<4s36xQ8x")
_LOCATOR = struct.Struct("<4s4xQ4x")


class Handlers:
    """What is told of a part's elements (names are `namespace local`) and their text.

    `depth` is how deep the parser is. Who overrides a method keeps count itself: a call more for each element would
    cost a quarter of the time.
    """

    depth = 0

    def start(self, _name: str, _given: dict[str, str], /) -> None:
        """Tell that an element begins, with its attributes."""
        self.depth += 1

    def end(self, _name: str, /) -> None:
        """Tell that an element ends."""
        self.depth -= 1

    def text(self, _data: str, /) -> None:
        """Tell of text, or a piece of one."""


class Parts:
    """A package's parts by their names, which are compared without case (ECMA-376 Part 2, §6.2.2.3)."""

    def __init__(self, file: io.BufferedReader) -> None:
        _check_directory(file)
        try:
            self._archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise _no_workbook() from error
        self._parts = {_folded(part.filename): part for part in self._archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return _folded(name) in self._parts

    def names(self) -> Iterator[str]:
        """The names, in small letters."""
        return iter(self._parts)

    def pieces(self, name: str, handlers: Handlers) -> Iterator[None]:
        """Parse a part, giving way after each piece; RunError for what is no XML, has a document type, or no bounds."""
        part = self._parts.get(_folded(name))
        if part is None:
            raise broken_file("A part of the workbook is missing.")
        if part.flag_bits & 1:
            raise broken_file("The workbook is protected by a password.")
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise broken_file("The workbook is compressed in a way that Excel does not read.")
        with self._archive.open(part) as stream:
            yield from _parse(stream, handlers)

    def elements(self, name: str, take: Callable[[str, dict[str, str]], None]) -> None:
        """Call `take` with the local name and the attributes of each element of a part.

        RunError for a part that unpacks to more than `MOST_LISTED_BYTES`.
        """
        for piece, _ in enumerate(self.pieces(name, _Elements(take))):
            if piece * PIECE_BYTES >= MOST_LISTED_BYTES:
                raise broken_file("The workbook has more sheets, formats or styles than can be read.")


class _Elements(Handlers):
    def __init__(self, take: Callable[[str, dict[str, str]], None]) -> None:
        self._take = take

    def start(self, name: str, given: dict[str, str]) -> None:
        self.depth += 1
        self._take(name.rpartition(" ")[2], given)


def path(folder: str, target: str) -> str:
    """The part that a relation of another part in `folder` names."""
    target = target.replace("\\", "/")
    return normpath(target.lstrip("/") if target.startswith("/") else join(folder, target))


def _folded(name: str) -> str:
    return unquote(name.replace("\\", "/")).lstrip("/").lower()


def _no_workbook() -> Exception:
    return broken_file("The file is no Excel workbook, or not a whole one.")


def _check_directory(file: io.BufferedReader) -> None:
    """RunError where the zip's directory is larger than any workbook's: zipfile reads all of it at once."""
    beginning = file.peek(8)[:8]
    if beginning.startswith(b"\xd0\xcf\x11\xe0"):
        raise broken_file("The file is an Excel file of the old kind (.xls) or has a password; save it as .xlsx.")
    size = file.seek(0, io.SEEK_END)
    begins = max(0, size - 22 - 65_535 - 20)
    file.seek(begins)
    tail = file.read()
    at = tail.rfind(b"PK\5\6", 0, len(tail) - 18)
    if at < 0:
        raise _no_workbook()
    _, length = _DIRECTORY_END.unpack_from(tail, at)
    lengths = [length] if length != 0xFFFF_FFFF else []
    if at >= 20 and tail[at - 20 : at].startswith(b"PK\6\7"):
        _, told = _LOCATOR.unpack_from(tail, at - 20)
        for place in (told, begins + at - 20 - _DIRECTORY_END_64.size):  # readers differ in where they look
            if 0 <= place <= size - _DIRECTORY_END_64.size:
                file.seek(place)
                signature, length = _DIRECTORY_END_64.unpack(file.read(_DIRECTORY_END_64.size))
                lengths += [length] if signature == b"PK\6\6" else []
    if not lengths:
        raise _no_workbook()
    if max(lengths) > MOST_DIRECTORY_BYTES:
        raise broken_file("The workbook has more parts than can be read.")
    file.seek(0)


def _parse(stream: IO[bytes], handlers: Handlers) -> Iterator[None]:
    names: dict[str, str] = {}
    prefixes: set[str | None] = set()

    def declare(prefix: str | None, namespace: str | None) -> None:
        prefixes.add(prefix)
        if len(prefixes) > MOST_NAMES or len(namespace or "") > LONGEST_NAMESPACE:
            raise _too_many_names()

    parser: Any = expat.ParserCreate(namespace_separator=" ", intern=names)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartNamespaceDeclHandler = declare
    parser.StartElementHandler, parser.EndElementHandler = handlers.start, handlers.end
    parser.CharacterDataHandler = handlers.text
    given = done = 0
    try:
        while data := stream.read(PIECE_BYTES):
            parser.Parse(data)
            given += len(data)
            done = max(done, parser.CurrentByteIndex)
            if given - done > LONGEST_MARKUP:
                raise broken_file("The workbook's XML holds a tag that is too long.")
            if len(names) > MOST_NAMES:
                raise _too_many_names()
            if handlers.depth > MOST_DEPTH:
                raise broken_file("The workbook's XML is nested too deeply.")
            yield
        parser.Parse(b"", True)
        yield
    except (expat.ExpatError, zipfile.BadZipFile, EOFError) as error:
        raise _no_workbook() from error


def _too_many_names() -> Exception:
    return broken_file("The workbook's XML has more names than any workbook.")


def _refuse_doctype(*_: object) -> None:
    raise broken_file("The workbook's XML has a document type, which no workbook has.")
