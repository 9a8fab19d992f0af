"""NDJSON: one JSON object a line; lines without anything are none."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from stowage.basics.json_numbers import ExactNumber, read_number
from stowage.imports.files.reading.lines import Lines
from stowage.imports.files.reading.rows import Broken, Place, Row, Rows


class NdjsonRows(Rows):
    """Rows of an NDJSON file, each an object."""

    def _open(self, place: Place) -> None:
        self._lines = Lines(self._file, self._layout.encoding, lone_returns=self._layout.encoding is not None)
        self._lines.go_to(max(place.position, self._lines.begins_at), place.line)
        self.position = self._lines.position

    def _rows(self) -> Iterator[Row]:
        lines = self._lines
        for text in lines:
            lines.keep = []
            self.position, self.line = lines.position, lines.line
            stripped = text.strip(" \t\r\n")
            if stripped:
                yield self.line, _read(stripped)
            else:
                self.blank += 1

    def read_bytes(self) -> int:
        """How far, in bytes."""
        return self.position


def _read(text: str) -> dict[str, Any] | Broken:
    try:
        given = _decode(text)
    except _RefusedError as refused:
        return Broken("invalid_json", str(refused), text)
    except RecursionError:
        return Broken("invalid_json", "The line is nested too deep.", text)
    except ValueError:
        return Broken("invalid_json", f"The line is not JSON.{_hint(text)}", text)
    if isinstance(given, dict):
        return given
    return Broken("invalid_json", f"The line is no JSON object.{_hint(text)}", text)


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (json.JSONDecodeError, _RefusedError):
        raise
    except ValueError:
        # A whole number of more digits than Python takes; a numeric of Postgres takes more, and so does a key left out.
        return _LONG_NUMBERS.decode(text)


class _RefusedError(ValueError):
    """JSON that Python reads, and that others read otherwise or not at all (RFC 8259, sections 4 and 6)."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen = set[str]()
    for name, _ in pairs:
        if name in seen:
            raise _RefusedError(f"The key {name[:100]!r} stands there twice.")
        seen.add(name)
    return found


def _constant(name: str) -> Any:
    raise _RefusedError(f"{name} is no JSON; null or a number would be.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=read_number)
_LONG_NUMBERS = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_float=read_number,
    parse_int=lambda text: int(text) if len(text) <= sys.get_int_max_str_digits() else ExactNumber(text),
)


def _hint(text: str) -> str:
    """What is wrong with a line of a list, such as JSON.stringify and jq write it."""
    listed = text[0] in "[]" or text[-1] in ",[]"
    return (
        " Each line holds one object: nothing before it, no comma behind it, no list around all of them."
        if listed
        else ""
    )
