"""Which texts are ids of which type: one text for one record, judged before SQL meets it.

Postgres reads `007`, `+7`, ` 7` and `7` as one bigint, and eight spellings of a uuid as one. Were they taken as they
come, a bulk request could name a record twice, and the journal keep it under two ids. So an id is the text that
Postgres writes of it; of a uuid the upper case is read too.
"""

import json
import re
from collections.abc import Sequence
from typing import Literal

KeyType = Literal["text", "integer", "bigint", "uuid", "other"]
"""The type of a column that identifies a record, as Postgres calls it; of any `other` the id is its text."""

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TEXTS = ("text", "other")
_BEYOND = {"integer": 2**31, "bigint": 2**63}

EXPECTED: dict[KeyType, str] = {
    "text": "an id",
    "integer": "a whole number of 32 bits, such as 7",
    "bigint": "a whole number of 64 bits, such as 7",
    "uuid": "a uuid, such as 0198c5a4-7d3e-7000-8000-3f5a9c1e2b4d",
    "other": "an id",
}
"""What an id of each type is, to complete a sentence."""


def canonical(type: KeyType, raw: str) -> str | None:
    """The text that Postgres writes of an id, None for a text that no id of that type is."""
    if type in _TEXTS:
        return raw or None
    if type == "uuid":
        lowered = raw.lower()
        return lowered if _UUID.fullmatch(lowered) else None
    beyond = _BEYOND[type]
    return raw if _WHOLE.fullmatch(raw) and -beyond <= int(raw) < beyond else None


def composite(types: Sequence[KeyType], raw: str) -> str | None:
    """The JSON array that Postgres writes of an id of several columns, None for a text that no such id is."""
    try:
        parts = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or len(parts) != len(types) or not all(isinstance(part, str) for part in parts):
        return None
    if not all(map(_is_storable, parts)):
        return None
    read = [part if kind in _TEXTS else canonical(kind, part) for kind, part in zip(types, parts, strict=True)]
    return None if None in read else json.dumps(read, ensure_ascii=False)


def _is_storable(text: str) -> bool:
    """Whether Postgres can hold a text: JSON can spell NUL and half of a surrogate pair."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
