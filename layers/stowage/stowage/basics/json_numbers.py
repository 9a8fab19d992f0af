"""JSON whose numbers keep all their digits: a double has some 16, Postgres's numeric and jsonb have thousands."""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

from pydantic_core import PydanticSerializationError, to_json

SURE_DIGITS = 15
"""Digits that a double surely keeps."""


class ExactNumber:
    """A number of JSON that a double would not keep as it is written, by its text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return float(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExactNumber) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class NumberOfText(float):
    """An ExactNumber for somebody who computes: a float that knows its text."""

    text: str
    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        """The float of a number's text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def to_floats(value: Any) -> Any:
    """A value of `read_json` whose numbers are int and float, those that a float would not keep with their text."""
    match value:
        case ExactNumber():
            return NumberOfText(value.text)
        case list():
            return [to_floats(each) for each in value]
        case dict():
            return {key: to_floats(each) for key, each in value.items()}
    return value


def from_floats(value: Any) -> Any:
    """What somebody made of `to_floats`: numbers that are still the same keep their digits, and decimals theirs."""
    match value:
        case NumberOfText():
            return ExactNumber(value.text)
        case Decimal():
            return ExactNumber(str(value)) if value.is_finite() else float(value)
        case list() | tuple():
            return [from_floats(each) for each in value]
        case dict():
            return {key: from_floats(each) for key, each in value.items()}
    return value


def read_number(text: str) -> float | ExactNumber:
    """A number of JSON with a point or an exponent."""
    number = float(text)
    return number if len(text) <= SURE_DIGITS and repr(number) == text else ExactNumber(text)


def read_json(raw: str | bytes) -> Any:
    """Parse JSON. ValueError or RecursionError, as of the standard library, for what is none."""
    return json.loads(raw, parse_float=read_number)


def _plainly(value: Any) -> str:
    return to_json(value).decode()


def write_json(value: Any, plainly: Callable[[Any], str] = _plainly) -> str:
    """The JSON of what may hold numbers of `read_json`; `plainly` writes what holds none, and raises where one is."""
    try:
        return plainly(value)
    except (PydanticSerializationError, TypeError):
        return _write(value, plainly)


def _write(value: Any, plainly: Callable[[Any], str]) -> str:
    match value:
        case ExactNumber():
            return value.text
        case str():
            return plainly(value)
        case Mapping():
            return "{" + ",".join([f"{plainly(key)}:{_write(each, plainly)}" for key, each in value.items()]) + "}"
        case Sequence():
            return "[" + ",".join([_write(each, plainly) for each in value]) + "]"
    return plainly(value)
