"""Which texts a database has in its encoding: what it has not cannot be sent to it, not even to ask for it."""

import codecs
import re
from collections.abc import Sequence
from functools import cache

import psycopg

_NAMES = {"KOI8R": "koi8_r", "KOI8U": "koi8_u"}


@cache
def _codec(encoding: str) -> codecs.CodecInfo | None:
    """None for UTF-8 and SQL_ASCII, which hold everything, and for what Python does not know."""
    try:
        codec = codecs.lookup(_NAMES.get(encoding) or re.sub("^WIN", "cp", encoding))
    except LookupError:
        return None
    return None if codec.name == "utf-8" else codec


def holds_everything(connection: psycopg.Connection) -> bool:
    """Whether there is no text that the database of this connection does not have."""
    return _codec(connection.info.parameter_status("server_encoding") or "UTF8") is None


def is_held(connection: psycopg.Connection, text: str) -> bool:
    """Whether the database has all characters of a text."""
    codec = _codec(connection.info.parameter_status("server_encoding") or "UTF8")
    if codec is None or text.isascii():
        return True
    try:
        codec.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def held_ids(connection: psycopg.Connection, ids: Sequence[str | None]) -> list[str | None]:
    """Ids with None in the place of those that no record there can have."""
    return [each if each is not None and is_held(connection, each) else None for each in ids]
