"""Lines of a text file in any of the encodings that other programs write."""

import codecs
import io
from collections.abc import Iterator

from stowage.imports.files.reading.rows import broken_file

LONGEST_LINE = 16 << 20
"""Bytes; also of a cell. A quote that is never closed must not fill the memory."""
PIECE_BYTES = 64 * 1024

ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be",
    *(f"windows-{page}" for page in range(1250, 1259)),
    *(f"iso-8859-{part}" for part in (*range(1, 12), *range(13, 17))),
    "macintosh", "ibm437", "ibm850", "ibm852", "ibm866", "koi8-r", "koi8-u", "windows-874",
    "shift_jis", "windows-31j", "euc-jp", "gbk", "gb18030", "big5", "euc-kr",
)  # fmt: skip
"""The names of encodings in IANA's spelling; no byte of a character but the line feed itself looks like one, except in
UTF-16 and UTF-32, where lines end at whole units.
"""
_OTHER_NAMES = {"macintosh": "mac-roman", "windows-874": "cp874"}
_KNOWN = {codecs.lookup(_OTHER_NAMES.get(name, name)).name for name in ENCODINGS}

# Longest first: the mark of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")


def codec_of(encoding: str) -> str | None:
    """Python's name of an encoding that we read, or None; as people write them (`latin1`, `cp1252`, `UTF8`)."""
    name = encoding.strip().lower()
    try:
        found = codecs.lookup(_OTHER_NAMES.get(name, name)).name
    except (LookupError, ValueError):
        return None
    return found if found in _KNOWN else None


class Lines:
    """A file's lines as text with their ends; `position` is the byte behind the last one.

    `encoding` is what the request says (None: UTF-8). A byte order mark says it better. Lines end in a line feed; where
    `lone_returns` and the file's beginning has none, in a carriage return. A byte that is no character stays visible
    as a lone surrogate. RunError for what is no such text.
    """

    def __init__(self, file: io.BufferedReader, encoding: str | None, *, lone_returns: bool) -> None:
        self._file = file
        self.position = self.line = 0
        self.ended = False
        self.keep: list[str] = []
        """The text of the lines given since somebody emptied it."""
        beginning = file.read(PIECE_BYTES)
        if beginning.startswith(_PACKED):
            raise broken_file("The file is compressed or a workbook, not text of the type that was given.")
        mark, marked = next(((mark, name) for mark, name in _MARKS if beginning.startswith(mark)), (b"", None))
        if marked not in (None, "utf-8") and encoding is None:
            name = str(marked)[:6].upper()
            raise broken_file(f'The file is {name}; save it as UTF-8, or send "encoding": "{name.lower()}" for it.')
        if encoding is None and b"\0" in beginning[:4]:
            name = "utf-16-be" if beginning.startswith(b"\0") else "utf-16"
            raise broken_file(f'The file seems to be UTF-16; save it as UTF-8, or send "encoding": "{name}" for it.')
        codec = codec_of(encoding or "utf-8") or "utf-8"
        self.encoding = marked or {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(codec, codec)
        self._unit = {"utf-16": 2, "utf-32": 4}.get(self.encoding[:6], 1)
        self._errors = "surrogateescape" if self._unit == 1 else "surrogatepass"
        text = beginning.decode(self.encoding, "ignore").removesuffix("\r")
        self.has_lone_returns = "\r" in text and "\n" not in text
        self._end = ("\r" if self.has_lone_returns and lone_returns else "\n").encode(self.encoding)
        self._rest = b""
        self.begins_at = len(mark)
        self.go_to(self.begins_at, 0)

    def go_to(self, position: int, line: int) -> None:
        """Go on from a byte."""
        self._file.seek(position)
        self._rest = b""
        self.position, self.line, self.ended = position, line, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._file.readline(LONGEST_LINE) if self._end == b"\n" else self._read_line()
        if not data:
            self.ended = True
            raise StopIteration
        if len(data) >= LONGEST_LINE:
            raise broken_file(f"Line {self.line + 1:,} is longer than 16 MB.")
        self.position += len(data)
        self.line += 1
        try:
            text = data.decode(self.encoding, self._errors)
        except UnicodeDecodeError:
            raise broken_file(f"Line {self.line:,} is no text in {self.encoding}.") from None
        self.keep.append(text)
        return text

    def _read_line(self) -> bytes:
        """The bytes to the next end of a line, which stands at a whole unit."""
        data, begin = self._rest, 0
        while True:
            found = data.find(self._end, begin)
            if found >= 0 and found % self._unit == 0:
                found += len(self._end)
                self._rest = data[found:]
                return data[:found]
            if found >= 0:
                begin = found + 1
                continue
            begin = max(0, len(data) - len(self._end) + 1)
            more = self._file.read(PIECE_BYTES) if len(data) < LONGEST_LINE else b""
            if not more:
                self._rest = b""
                return data
            data += more
