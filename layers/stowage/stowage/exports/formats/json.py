"""JSON: one array, or one object a line."""

import json
import re
from collections.abc import Iterator

from stowage.postgres.reads.copy import Snapshot
from stowage.postgres.reads.rendering import copy_json
from stowage.postgres.reads.selection import Selection


def ndjson_file(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """One object a line, each ended by a line feed; numbers, booleans and null keep their types, moments read
    `2026-01-31T09:00:00.5Z`, or as `stowage.postgres.reads.moments` says.
    """
    endings = _moment_endings(selection)
    others = _other_moments(selection)
    for rows in snapshot.copy(copy_json(selection), selection.name):
        data = b"".join(rows)
        if others and (b"+00:00 BC" in data or _LONG_YEAR.search(data)):
            data = others.sub(rb"\g<key>\g<date> \g<clock>+00\g<era>", data)
        for ending, replacement in endings:
            data = data.replace(ending, replacement)
        yield data


def json_file(snapshot: Snapshot, selection: Selection) -> Iterator[bytes]:
    """One array of the same objects, one a line; `[]` where there are none."""
    separator = b"[\n"
    for data in ndjson_file(snapshot, selection):
        if data:
            # JSON has no line feed inside a value, so each of these ends an object.
            yield separator + data[:-1].replace(b"\n", b",\n")
            separator = b",\n"
        else:
            yield b""
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


_LONG_YEAR = re.compile(rb'":"[0-9]{5}')


def _other_moments(selection: Selection) -> re.Pattern[bytes] | None:
    """What finds moments of years before 1 and after 9999, each behind its key, whose quotes no text can hold."""
    keys = [
        json.dumps(column.name).encode()
        for column in selection.columns
        if column.type == "timestamp" and not column.is_array
    ]
    if not keys:
        return None
    date = rb"(?P<date>[0-9]{5,}-[0-9-]{5}|[0-9]{4}-[0-9-]{5}(?=[^\"]* BC\"))"
    ending = rb"(?P<clock>[0-9:.]+)\+00:00(?P<era>(?: BC)?)(?=\")"
    return re.compile(rb"(?P<key>(?:" + b"|".join(map(re.escape, keys)) + rb"):\")" + date + b"T" + ending)


def _moment_endings(selection: Selection) -> list[tuple[bytes, bytes]]:
    """What turns `+00:00` at a moment's end into `Z`, and touches nothing else.

    Each ending reaches into the next column's key. No text can hold those quotes unescaped, and the spaces in a value
    of jsonb set it apart too.
    """
    endings = []
    for column, following in zip(selection.columns, [*selection.columns[1:], None], strict=True):
        if column.type == "timestamp" and not column.is_array:
            rest = f'",{json.dumps(following.name)}:' if following else '"}\n'
            endings.append((f"+00:00{rest}".encode(), f"Z{rest}".encode()))
    return endings
