"""The value of one cell, from its text, its type and its format."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isinf
from typing import Any

from stowage.imports.files.reading.rows import Broken, broken_file
from stowage.imports.files.reading.workbook.formats import Kind, with_zeros
from stowage.imports.files.reading.workbook.texts import unescaped

DOUBLE_DIGITS = 17
OFF_BY = 0.67
"""Microseconds by which a moment of today can be off, once it was computed as days."""
LARGEST_WHOLE = 10**30
"""Whole numbers up to it keep all their digits."""
SMALLEST = 1e-20
"""Fractions down to it are written without an exponent."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,30}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY_MICROSECONDS = 86_400_000_000
_FIRST_1904 = datetime(1904, 1, 1, tzinfo=UTC)
_LEAP_DAY = 60
"""The serial of 29 February 1900, a day that was not, and that Excel has."""

NOT_COMPUTED = Broken(
    "cell_error",
    "A cell holds a formula without its result; open the workbook in a spreadsheet program and save it.",
    "",
)
"""Programs that write formulas do not compute them: an empty cell would be a value that nobody has seen."""


class Shown(int):
    """A whole number whose format shows leading zeros; `text` is how the sheet shows it."""

    text: str

    def __new__(cls, number: int, text: str) -> "Shown":
        """The number, and its text."""
        made = super().__new__(cls, number)
        made.text = text
        return made


class Shared(int):
    """The number of a shared text, which is looked up when its row is given."""


class Style:
    """What the format of a cell makes of a number."""

    def __init__(self, kind: Kind = "number", zeros: str | None = None) -> None:
        self.kind, self.zeros = kind, zeros
        self.is_plain = kind == "number" and zeros is None


def value_of(text: str, cell_type: str, style: Style, *, since_1904: bool) -> Any:
    """None, a text, a number, a truth value, a date, a time of day, a duration, a moment (UTC), or Broken."""
    if cell_type == "s":
        return _shared(text)
    if cell_type == "n" and style.is_plain and text.isdecimal() and len(text) < DOUBLE_DIGITS:
        return int(text)
    match cell_type:
        case "inlineStr" | "str":
            return unescaped(text)
        case "b":
            return {"1": True, "true": True, "0": False, "false": False}.get(text.strip().lower(), text or None)
        case "e":
            return Broken("cell_error", f"A cell holds the error {text[:100]}.", text)
        case "d":
            return _iso(text)
    text = text.strip()
    if not text:
        return None
    if style.kind == "number":
        return _number(text, style.zeros)
    return _moment(text, style.kind, since_1904=since_1904) if _NUMBER.fullmatch(text) else text


def _shared(text: str) -> Shared | None:
    text = text.strip()
    if text.isdecimal() and len(text) < 10:
        return Shared(text)
    if text:
        raise broken_file("A cell refers to a shared text that is not there.")
    return None


def _number(text: str, zeros: str | None) -> Any:
    if _WHOLE.fullmatch(text):
        whole = int(text)
        return whole if zeros is None else Shown(whole, with_zeros(whole, zeros))
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if isinf(number):
        return Broken("invalid", f"The number {text[:100]} is too large.", text)
    if abs(number) < LARGEST_WHOLE and number.is_integer() and ("e" in text or "E" in text or zeros):
        whole = int(Decimal(text))
        return whole if zeros is None else Shown(whole, with_zeros(whole, zeros))
    return number


def _moment(text: str, kind: Kind, *, since_1904: bool) -> Any:
    """Spreadsheets count days; their clock has no zone, and is UTC here, as in our own exports.

    A double just holds today's microseconds, and many programs write one or two digits less than it has: what may be a
    whole millisecond, which is what Excel keeps, by the digits that were written, is one.
    """
    days = float(text)
    try:
        whole, rest = divmod(days, 1)
        microseconds = rest * _DAY_MICROSECONDS
        milliseconds = round(microseconds, -3)
        off_by = OFF_BY
        if sum(map(str.isdigit, text)) < DOUBLE_DIGITS:
            off_by += 0.5 * 10.0 ** int(Decimal(text).as_tuple().exponent) * _DAY_MICROSECONDS
        rest_of_day = milliseconds if abs(microseconds - milliseconds) < off_by else round(microseconds)
        past = timedelta(days=whole, microseconds=rest_of_day)
        if kind == "duration":
            return past
        if past.days == 0 and (kind == "time" or not since_1904):
            return (_FIRST_1904 + past).time()
        if since_1904:
            moment = _FIRST_1904 + past
        elif past.days == _LEAP_DAY:
            clock = (_FIRST_1904 + past).time()
            return f"1900-02-29 {clock}Z" if clock != time() else "1900-02-29"
        else:
            moment = datetime(1899, 12, 31 if past.days < _LEAP_DAY else 30, tzinfo=UTC) + past
    except (OverflowError, ValueError):
        return _no_date(text)
    if past.days < 0:
        return _no_date(text)
    return moment.date() if kind == "date" and past.microseconds == past.seconds == 0 else moment


def _no_date(text: str) -> Broken:
    return Broken("invalid_date", f"{text[:100]} is no date.", text)


def _iso(text: str) -> date | time | datetime | str:
    """ISO 8601, as a strict workbook writes dates."""
    text = text.strip()
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if ":" in text[:3]:
            return time.fromisoformat(text)
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_moment(value: object) -> object:
    """A date as its first moment; other values as they are."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def as_text(value: object) -> object:
    """What a cell says as a text, from its value as a number, date or truth value; other values as they are."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(" ").replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return _clock(value)
        case Shown():
            return value.text
        case int():
            return str(value)
        case float():
            return _digits(value)
    return value


def _clock(duration: timedelta) -> str:
    """Hours, minutes and seconds: `36:00:00`."""
    past = abs(duration)
    minutes, seconds = divmod(past.days * 86_400 + past.seconds, 60)
    text = f"{'-' if duration < timedelta(0) else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return f"{text}.{past.microseconds:06}" if past.microseconds else text


def _digits(number: float) -> str:
    """A number without an exponent, as far as that is readable."""
    if not (number == 0 or SMALLEST <= abs(number) < LARGEST_WHOLE):
        return str(number)
    return f"{Decimal(str(number)):f}".removesuffix(".0")
