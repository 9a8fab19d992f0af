"""How the values of each type are read, in bodies, filters and cells of files: as the text that Postgres then takes.

What Postgres would take quietly and change is refused here: `now` and `tomorrow` as dates, 1.239 for numeric(5,2), a
number that loses digits. A reading gives a text, None, or for `json` and arrays what JSON has; ValueError completes a
sentence.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from stowage.basics.json_numbers import SURE_DIGITS, ExactNumber, read_number
from stowage.entities.declaration import Field, FieldType
from stowage.entities.keys import canonical

MOST_DIGITS = 131_072
"""Digits before the point of a numeric without a precision (PostgreSQL documentation, "Numeric Types")."""
TOLD_DIGITS = 12
"""With so few digits a double's 15 are what was meant, whatever computing it has added behind them."""
MOST_EXPONENT = 1_000
"""Of a number in JSON: jsonb writes its zeros out, so that six characters become so many thousands."""

_NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_MAY_NOT_FIT = re.compile(r"\\x00|\\ud|inf|nan|\d[eE][+-]?\d{3}")
"""In Python's writing of a value that JSON of ours may not hold."""
_SPECIAL = ("NaN", "Infinity", "-Infinity")
_ERA = r"\d{4,7}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_DATE = re.compile(rf"-?infinity|{_ERA}( BC)?", re.ASCII)
_TIME = re.compile(rf"{_CLOCK}|24:00(:00(\.0{{1,6}})?)?", re.ASCII)
_LOCAL = re.compile(rf"-?infinity|{_ERA}[T ]{_CLOCK}( BC)?", re.ASCII)
_UNITS = r"years?|mons?|months?|weeks?|days?|hours?|mins?|minutes?|secs?|seconds?"
_INTERVAL = re.compile(
    rf"-?infinity|(?=.)([+-]?\d+ ({_UNITS}))?( ?[+-]?\d+ ({_UNITS}))*( ?[+-]?\d+:[0-5]\d(:[0-5]\d(\.\d{{1,6}})?)?)?"
    r"|-?P(?=.)([+-]?\d+[YMWD])*(T([+-]?\d+(\.\d{1,6})?[HMS])+)?",
    re.ASCII,
)


def read_value(field: Field, given: object, *, is_cell: bool = False) -> Any:
    """The value of a field of one of the types of `READERS`, or of an array. `is_cell`: JSON is told as a text."""
    if field.is_array:
        return _array(field, _of_cell(given) if is_cell else given)
    if field.type == "json":
        return _json(_of_cell(given) if is_cell else given)
    return READERS[field.type](field, given)


def _array(field: Field, given: object) -> list[Any]:
    """Lists within lists are further dimensions, which Postgres judges."""
    if not isinstance(given, list):
        raise ValueError("expected a list")  # noqa: TRY004 (pydantic takes ValueErrors)
    return [each if each is None else _array(field, each) if isinstance(each, list) else _element(field, each)
            for each in given]  # fmt: skip


def _element(field: Field, given: object) -> Any:
    return _json(given) if field.type == "json" else READERS[field.type](field, given)


def _of_cell(given: object) -> object:
    """The JSON of a cell."""
    if isinstance(given, str):
        try:
            return json.loads(given, parse_float=read_number, parse_constant=_constant)
        except _UnfitJsonError:
            raise
        except (ValueError, RecursionError):
            raise ValueError("expected JSON") from None
    return given


class _UnfitJsonError(ValueError):
    """JSON that Postgres, or we, could not hold as it is."""


def _constant(name: str) -> object:
    raise _UnfitJsonError(f"expected JSON, of which {name} is none")


def _json(given: object) -> Any:
    if _MAY_NOT_FIT.search(repr(given)):
        _refuse_unfit(given)
    return given


def _refuse_unfit(given: object) -> None:
    match given:
        case str() if _UNWRITABLE.search(given):
            raise ValueError("expected JSON whose texts hold no NUL characters and lone surrogates")
        case float() if not isfinite(given):
            raise ValueError("expected JSON without NaN")
        case ExactNumber() if abs(int(given.text.lower().partition("e")[2] or 0)) > MOST_EXPONENT:
            raise ValueError(f"expected JSON whose numbers have exponents of at most {MOST_EXPONENT:,}")
        case list():
            for each in given:
                _refuse_unfit(each)
        case dict():
            for key, each in given.items():
                _refuse_unfit(key)
                _refuse_unfit(each)


def _text(_field: Field, given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("expected a text")  # noqa: TRY004
    if _UNWRITABLE.search(given):
        raise ValueError("expected a text without NUL characters and lone surrogates")
    return given


def _integer(field: Field, given: object) -> Any:
    beyond = {"smallint": 2**15, "integer": 2**31}.get(field.sql_type or "", 2**63)
    number = int(given) if isinstance(given, str) and re.fullmatch(r"-?\d{1,19}", given, re.ASCII) else given
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError("expected a whole number")  # noqa: TRY004
    if not -beyond <= number < beyond:
        raise ValueError(f"expected a whole number from {-beyond} to {beyond - 1}")
    return number


def _number(field: Field, given: object) -> Any:
    if isinstance(given, str) and given in _SPECIAL:
        return given
    if isinstance(given, str) and _NUMERIC.fullmatch(given):
        given = float(given)
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal | ExactNumber):
        raise ValueError("expected a number")  # noqa: TRY004
    if isinstance(given, ExactNumber):
        given = float(given)
    most = 3.4028235677973362e38 if field.sql_type == "real" else 1.7976931348623157e308
    if not -most <= given <= most:
        raise ValueError("expected a number")
    return float(given)


def _numeric(field: Field, given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal | ExactNumber):
        raise ValueError("expected a number as a text, such as 12.50")  # noqa: TRY004
    text = _of_double(given) if isinstance(given, float) else str(given).strip()
    if text in _SPECIAL and (text == "NaN" or field.precision is None):
        return text
    if not _NUMERIC.fullmatch(text):
        raise ValueError("expected a number as a text, such as 12.50")
    number = Decimal(text)
    if number and number.adjusted() >= (
        MOST_DIGITS if field.precision is None else field.precision - (field.scale or 0)
    ):
        raise ValueError(f"expected at most {field.precision} digits, {field.scale or 0} of them behind the point"
                         if field.precision is not None else "expected a number that is not so large")  # fmt: skip
    if field.precision is not None and -int(number.normalize().as_tuple().exponent) > (field.scale or 0):
        raise ValueError(f"expected at most {field.scale or 0} digits behind the point")
    return text


def _of_double(given: float) -> str:
    """The decimal number that a double stands for. ValueError where its digits are too many to tell.

    Programs show 15 digits of a double. A sum of 0.1 and 0.2 has 17, and is 0.3 to everybody who sees it.
    """
    shown = f"{given:.{SURE_DIGITS}g}"
    if float(shown) == given or len(Decimal(shown).normalize().as_tuple().digits) <= TOLD_DIGITS:
        return shown
    raise ValueError(f"expected a text, because a number of more than {SURE_DIGITS} digits may lose some")


def _boolean(_field: Field, given: object) -> bool:
    if isinstance(given, bool):
        return given
    raise ValueError("expected true or false")


def _date(_field: Field, given: object) -> str:
    if isinstance(given, datetime) and given.timetz().replace(tzinfo=None) == time():
        given = given.date()
    if isinstance(given, date) and not isinstance(given, datetime):
        return given.isoformat()
    return _matching(_DATE, given, "a date such as 2026-01-31")


def _time(_field: Field, given: object) -> str:
    return _matching(_TIME, given.isoformat() if isinstance(given, time) else given, "a time such as 09:00:00")


def _local_timestamp(_field: Field, given: object) -> str:
    if isinstance(given, datetime):
        given = given.replace(tzinfo=None).isoformat()
    return _matching(_LOCAL, given, "a time without a zone, such as 2026-01-31T09:00:00")


def _timestamp(_field: Field, given: object) -> str:
    from stowage.basics.moments import read_moment

    return read_moment(given)


def _interval(_field: Field, given: object) -> str:
    if isinstance(given, timedelta):
        return f"{given.days} days {given.seconds * 1_000_000 + given.microseconds} microseconds"
    return _matching(_INTERVAL, given, "an interval such as 1 mon 2 days 03:00:00")


def _matching(pattern: re.Pattern[str], given: object, expected: str) -> str:
    text = given.strip() if isinstance(given, str) else ""
    if not text or not pattern.fullmatch(text):
        raise ValueError(f"expected {expected}")
    digits = re.match(r"(\d{4})-(\d\d)-(\d\d)(?!.* BC)", text, re.ASCII)
    if digits and "-" in text:
        try:
            date(*map(int, digits.groups()))
        except ValueError:
            raise ValueError(f"expected {expected}") from None
    return text


def _uuid(_field: Field, given: object) -> str:
    found = canonical("uuid", given) if isinstance(given, str) else None
    if found is None:
        raise ValueError("expected a uuid such as 0198c5a4-7d3e-7000-8000-3f5a9c1e2b4d")
    return found


def _bytes(_field: Field, given: object) -> str:
    r"""Postgres reads bytea as `\x` and hexadecimal digits; base64 it would store as its letters."""
    try:
        return "\\x" + base64.b64decode(given if isinstance(given, str) else b"-", validate=True).hex()
    except (binascii.Error, ValueError):
        raise ValueError("expected base64") from None


READERS: dict[FieldType, Callable[[Field, object], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "numeric": _numeric,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "local_timestamp": _local_timestamp,
    "date": _date,
    "time": _time,
    "interval": _interval,
    "uuid": _uuid,
    "bytes": _bytes,
    "other": _text,
}
"""What reads a value of each type, but `json`."""

PLAIN = ("text", "integer", "boolean", "timestamp")
"""The types that bodies read by themselves, faster."""
EQUAL_IN_ALL = ("text", "integer", "boolean", "uuid", "timestamp", "local_timestamp", "date")
"""The types of which two values that are equal are the same, to the last digit and letter."""


def is_plain(field: Field) -> bool:
    """Whether a body reads a field's values by themselves."""
    return field.type in PLAIN and not field.is_array


def is_exact(field: Field) -> bool:
    """Whether two values that Postgres takes as equal are the same value: 1.10 and 1.1 are not."""
    return field.type in EQUAL_IN_ALL and not field.is_array
