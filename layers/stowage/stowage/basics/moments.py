"""Times that records are given, in requests and in files: one reading for both."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

# What Postgres reads alike: it takes offsets below 16 hours.
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-](0\d|1[0-5]):\d\d)", re.ASCII)
# What RFC 3339 cannot say, before year 1, after year 9999 and for ever: as answers and files of ours tell it, which is
# Postgres' own text, and as its JSON has it in lists and in the images of the audit log.
_CLOCK = r"\d\d:\d\d:\d\d(\.\d{1,6})?"
_REST = rf"-\d\d-\d\d( {_CLOCK}\+00|T{_CLOCK}\+00:00)"
_OWN = re.compile(rf"-?infinity|\d{{5,6}}{_REST}|\d{{4}}{_REST} BC", re.ASCII)


def read_moment(given: object) -> str:
    """Read a time as RFC 3339 has it, with `T` or a space; ValueError.

    A time without a zone is refused, for it could be any of 24 hours, and so is a number, which
    could be anything. What RFC 3339 cannot say (years before 1, infinity) is accepted as our
    answers, files and audit log write it, and judged by Postgres. A text that Postgres reads in the same way
    is returned unchanged: formatting a datetime costs more than the rest of its row.
    """
    text = ""
    if isinstance(given, str):
        text = given.strip()
        if _OWN.fullmatch(text):
            return text
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("expected a time such as 2026-01-31T09:00:00Z") from None
    if not isinstance(given, datetime):
        raise ValueError("expected a time such as 2026-01-31T09:00:00Z")  # noqa: TRY004 (pydantic takes ValueErrors)
    if given.tzinfo is None:
        raise ValueError("the time has no zone; write it as 2026-01-31T09:00:00Z")
    try:
        given = given.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None
    return text if _PLAIN.fullmatch(text) else given.isoformat()


_BOUND = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?([Zz]|[+-]\d\d:\d\d(:\d\d)?)?)?", re.ASCII)
"""Of what `fromisoformat` reads also weeks (2026-W05) and days without dashes, which look like other things."""


def read_bound(given: object) -> datetime:
    """Read a moment that bounds a list: a time, in UTC where it names no zone, or the first moment of a day.

    ValueError, for a number too: it could be anything.
    """
    if isinstance(given, str) and _BOUND.fullmatch(given):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(given)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise ValueError("expected a time as in RFC 3339, such as 2026-01-31T09:00:00Z, or a date")


Bound = Annotated[datetime, BeforeValidator(read_bound)]
"""A moment that bounds a list."""

Moment = Annotated[str, BeforeValidator(read_moment)]
"""A time as a text that Postgres reads, from a text or a datetime."""
