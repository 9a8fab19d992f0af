"""Which texts are ids of which type: one text for one record, judged before SQL meets it.

Postgres reads `007`, `+7`, ` 7` and `7` as one bigint, and eight spellings of a uuid as one. Were they taken as they
come, a bulk request could name a record twice, and the journal keep it under two ids. So an id is the text that
Postgres writes of it; of a uuid the upper case is read too.
"""

import re
from typing import Literal

KeyType = Literal["text", "integer", "bigint", "uuid"]
"""The type of a column that identifies a record, as Postgres calls it."""

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_BEYOND = {"integer": 2**31, "bigint": 2**63}

EXPECTED: dict[KeyType, str] = {
    "text": "an id",
    "integer": "a whole number of 32 bits, such as 7",
    "bigint": "a whole number of 64 bits, such as 7",
    "uuid": "a uuid, such as 0198c5a4-7d3e-7000-8000-3f5a9c1e2b4d",
}
"""What an id of each type is, to complete a sentence."""


def canonical(type: KeyType, raw: str) -> str | None:
    """The text that Postgres writes of an id, None for a text that no id of that type is."""
    if type == "text":
        return raw or None
    if type == "uuid":
        lowered = raw.lower()
        return lowered if _UUID.fullmatch(lowered) else None
    beyond = _BEYOND[type]
    return raw if _WHOLE.fullmatch(raw) and -beyond <= int(raw) < beyond else None
