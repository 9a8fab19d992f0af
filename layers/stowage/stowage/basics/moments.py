"""Times that records are given, in requests and in files: one reading for both."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

# What Postgres reads alike: it takes offsets below 16 hours.
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-](0\d|1[0-5]):\d\d)", re.ASCII)


def _moment(given: object) -> object:
    """Read RFC 3339, with a space too; a time without a zone could be any of 24 hours, a number anything.

    A text that Postgres reads alike stays as it is: to write a datetime anew costs more than the rest of its row.
    """
    text = ""
    if isinstance(given, str):
        text = given.strip()
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


Moment = Annotated[str, BeforeValidator(_moment)]
"""A time as a text that Postgres reads, from a text or a datetime."""
