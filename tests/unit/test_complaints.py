"""Whatever pydantic finds wrong with a request is told in words of ours."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import pytest
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    FutureDate,
    NaiveDatetime,
    PastDate,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)  # fmt: skip
from pydantic_core._pydantic_core import list_all_errors
from pydantic_core.core_schema import ErrorType

from stowage.basics.complaints import _MESSAGES, NO_NUL, details_of, message

NOT_OF_JSON = {
    "of Python's objects, classes and calls": [
        "no_such_attribute", "get_attribute_error", "needs_python_object", "recursion_loop", "frozen_field",
        "frozen_instance", "dataclass_exact_type", "is_instance_of", "is_subclass_of", "callable_type",
        "string_sub_type", "iterable_type", "iteration_error", "mapping_type", "default_factory_not_called",
        "missing_sentinel_error",
    ],
    "of the arguments of functions": [
        "arguments_type", "missing_argument", "unexpected_keyword_argument", "missing_keyword_only_argument",
        "unexpected_positional_argument", "missing_positional_only_argument", "multiple_argument_values",
    ],
    "in the words of the validator that raises it": ["value_error", "assertion_error"],
}  # fmt: skip
"""Errors without words of ours, by the reason."""

EXCEPT = {each for named in NOT_OF_JSON.values() for each in named}
KNOWN = {error["type"]: error for error in list_all_errors()}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Thing(BaseModel):
    model_config = {"extra": "forbid"}
    name: str


def test_every_error_that_pydantic_knows_has_words_of_ours() -> None:
    assert {*get_args(ErrorType)} == {*_MESSAGES} | EXCEPT
    assert {*_MESSAGES} & EXCEPT == set()


@pytest.mark.parametrize("kind", sorted({*get_args(ErrorType)} - {"value_error", "assertion_error"}))
def test_no_sentence_is_pydantics(kind: str) -> None:
    known = KNOWN[kind]
    found = {"type": kind, "loc": ("field",), "msg": known["example_message_python"]}
    told = message(found | {"ctx": known.get("example_context") or {}})
    assert told
    assert "{" not in told
    assert told.lower() not in (known["message_template_python"].lower(), known["example_message_python"].lower())


@pytest.mark.parametrize(
    ("shape", "given", "told"),
    [
        (str, 5, "expected a text"),
        (Annotated[str, Field(min_length=1)], "", "expected at least 1 character"),
        (Annotated[str, Field(max_length=2000)], "x" * 2001, "expected at most 2,000 characters"),
        (Annotated[str, StringConstraints(pattern=NO_NUL)], "a\0", "must not hold a NUL character"),
        (Annotated[str, StringConstraints(pattern="^[a-z]+$")], "A", "expected a text of the form ^[a-z]+$"),
        (int, "a", "expected a whole number"),
        (int, 1.5, "expected a whole number"),
        (int, "9" * 5000, "expected a whole number of at most 4,300 digits"),
        (Annotated[int, Field(ge=0)], -1, "expected at least 0"),
        (Annotated[int, Field(le=2**63 - 1)], 2**63, "expected at most 9,223,372,036,854,775,807"),
        (Annotated[float, Field(gt=0.5, lt=1)], 0.5, "expected more than 0.5"),
        (Annotated[float, Field(gt=0.5, lt=1)], 1, "expected less than 1.0"),
        (Annotated[int, Field(multiple_of=5)], 7, "expected a multiple of 5"),
        (float, [], "expected a number"),
        (Annotated[Decimal, Field(max_digits=1)], "1.5", "expected at most 1 digit"),
        (bool, "maybe", "expected true or false"),
        (Literal["a", "b"], "c", "expected 'a' or 'b'"),
        (Literal["a"], 1, "expected 'a'"),
        (Colour, "green", "expected 'red' or 'blue'"),
        (None, 1, "expected null"),
        (list[str], "a", "expected a list"),
        (Annotated[list[str], Field(min_length=1)], [], "expected at least 1 item"),
        (Annotated[list[str], Field(min_length=2)], ["a"], "expected at least 2 items"),
        (Annotated[list[str], Field(max_length=1)], ["a", "b"], "expected at most 1 item"),
        (dict[str, int], [], "send a JSON object"),
        (Thing, [], "send a JSON object"),
        (Thing, {}, "is required"),
        (Thing, {"name": "a", "x": 1}, "there is no such field"),
        (date, "yesterday", "expected a date such as 2026-01-31"),
        (PastDate, "9999-01-01", "expected a date before today"),
        (FutureDate, "1999-01-01", "expected a date after today"),
        (datetime, "yesterday", "expected a time such as 2026-01-31T09:00:00Z"),
        (AwareDatetime, "2026-01-31T09:00:00", "the time has no zone; write it as 2026-01-31T09:00:00Z"),
        (NaiveDatetime, "2026-01-31T09:00:00Z", "expected a time without a zone"),
        (time, "noon", "expected a time of day such as 09:00:00"),
        (timedelta, "long", "expected a duration such as PT1H30M"),
        (UUID, "1", "expected a UUID"),
        (AnyUrl, "x", "expected a URL"),
    ],
)
def test_what_is_wrong_with_a_value_is_told_in_our_words(shape: Any, given: Any, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(shape).validate_python(given)
    assert details_of(refused.value)[0]["message"] == told


def test_a_validator_has_words_of_its_own() -> None:
    def never(_: object) -> object:
        raise ValueError("Only on Sundays")

    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Annotated[str, BeforeValidator(never)]).validate_python("a")
    assert details_of(refused.value)[0]["message"] == "only on Sundays"
