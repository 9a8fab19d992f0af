"""The texts that cells of a workbook share, in a temporary file: a large workbook has hundreds of megabytes of them."""

import array
import os
import re
import tempfile
from weakref import finalize

from stowage.imports.files.reading.rows import broken_file
from stowage.imports.files.reading.workbook.parts import Handlers, Parts

MOST_SHARED_BYTES = 400_000_000
"""Of texts that cells share, unpacked: a function has 512 MB for temporary files."""
MOST_SHARED = 10_000_000
"""Texts; where each begins takes four bytes of memory."""
LONGEST_TEXT = 200_000
"""Characters of a cell; Excel's own limit is 32,767."""
_BLOCK_BYTES = 16 * 1024

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def unescaped(text: str) -> str:
    """A text as it was meant: `_x000D_` stands for a character (ECMA-376 Part 1, §22.9.2.19)."""
    if "_x" not in text:
        return text
    found = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # pairs become characters


def too_long_text() -> Exception:
    """The error for a text of more than `LONGEST_TEXT` characters."""
    return broken_file(f"A cell of the workbook holds more than {LONGEST_TEXT:,} characters; save the file as CSV.")


class SharedTexts(Handlers):
    """The part `sharedStrings` (None: there is none); texts by their numbers from 0."""

    def __init__(self, parts: Parts, part: str | None) -> None:
        self._begins = array.array("I", [0])
        self._block, self._block_begins = b"", 0
        self._pieces: list[str] = []
        self._size = self._length = 0
        self._inside = self._phonetic = False
        with tempfile.TemporaryFile(buffering=1 << 16) as file:
            self._write = file.write
            if part is not None:
                for _ in parts.pieces(part, self):
                    pass
            file.flush()
            self._descriptor = os.dup(file.fileno())
        finalize(self, os.close, self._descriptor)

    def start(self, name: str, _: dict[str, str]) -> None:
        """Tell that an element begins."""
        self.depth += 1
        match name.rpartition(" ")[2]:
            case "t":
                self._inside = True
            case "rPh":
                self._phonetic = True

    def end(self, name: str) -> None:
        """Tell that an element ends; a text with `si`."""
        self.depth -= 1
        match name.rpartition(" ")[2]:
            case "t":
                self._inside = False
            case "rPh":
                self._phonetic = False
            case "si":
                data = unescaped("".join(self._pieces)).encode("utf-8", "surrogatepass")
                self._pieces.clear()
                self._length = 0
                self._size += len(data)
                if self._size > MOST_SHARED_BYTES or len(self._begins) > MOST_SHARED:
                    raise broken_file("The workbook's shared texts are too large; save the file as CSV.")
                self._write(data)
                self._begins.append(self._size)

    def text(self, data: str) -> None:
        """Tell of a piece of text; hints how to pronounce it are none."""
        if self._inside and not self._phonetic:
            self._length += len(data)
            if self._length > LONGEST_TEXT:
                raise too_long_text()
            self._pieces.append(data)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._begins) - 1:
            raise broken_file("A cell refers to a shared text that is not there.")
        begin, end = self._begins[number], self._begins[number + 1]
        first = begin - self._block_begins
        if first < 0 or first + end - begin > len(self._block):
            # Neighbours are mostly asked for together.
            self._block = os.pread(self._descriptor, max(_BLOCK_BYTES, end - begin), begin)
            self._block_begins, first = begin, 0
        return self._block[first : first + end - begin].decode("utf-8", "surrogatepass")
