"""What is wrong with a request, field by field, in words for a person (docs/api.md, Errors)."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from stowage.basics.errors import BadRequestError, Detail

NO_NUL = r"^[^\x00]*$"
"""The pattern of a text without NUL characters."""

_A_TIME = "expected a time such as 2026-01-31T09:00:00Z"
_A_DATE = "expected a date such as 2026-01-31"
_A_TIME_OF_DAY = "expected a time of day such as 09:00:00"
_A_DURATION = "expected a duration such as PT1H30M"

_MESSAGES = {
    "json_invalid": "the body is not JSON",
    "json_type": "expected JSON in a text",
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "invalid_key": "expected texts as keys",
    "model_type": "send a JSON object",
    "model_attributes_type": "send a JSON object",
    "dataclass_type": "send a JSON object",
    "dict_type": "send a JSON object",
    "none_required": "expected null",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number of at most 4,300 digits",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "complex_type": "expected a complex number",
    "complex_str_parsing": "expected a complex number",
    "finite_number": "expected a finite number",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "multiple_of": "expected a multiple of {multiple_of}",
    "decimal_type": "expected a number",
    "decimal_parsing": "expected a number",
    "decimal_max_digits": "expected at most {max_digits} digit{s}",
    "decimal_max_places": "expected at most {decimal_places} digit{s} behind the point",
    "decimal_whole_digits": "expected at most {whole_digits} digit{s} before the point",
    "string_type": "expected a text",
    "string_unicode": "the text is not UTF-8",
    "string_too_short": "expected at least {min_length} character{s}",
    "string_too_long": "expected at most {max_length} character{s}",
    "string_pattern_mismatch": "expected a text of the form {pattern}",
    "string_not_ascii": "expected a text of ASCII characters",
    "bytes_type": "expected a text",
    "bytes_too_short": "expected at least {min_length} byte{s}",
    "bytes_too_long": "expected at most {max_length} byte{s}",
    "bytes_invalid_encoding": "expected {encoding}",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "set_item_not_hashable": "expected a text, a number, true, false or null",
    "too_short": "expected at least {min_length} item{s}",
    "too_long": "expected at most {max_length} item{s}",
    "date_type": _A_DATE,
    "date_parsing": _A_DATE,
    "date_from_datetime_parsing": _A_DATE,
    "date_from_datetime_inexact": "expected a date without a time of day",
    "date_past": "expected a date before today",
    "date_future": "expected a date after today",
    "time_type": _A_TIME_OF_DAY,
    "time_parsing": _A_TIME_OF_DAY,
    "time_delta_type": _A_DURATION,
    "time_delta_parsing": _A_DURATION,
    "datetime_type": _A_TIME,
    "datetime_parsing": _A_TIME,
    "datetime_from_date_parsing": _A_TIME,
    "datetime_object_invalid": _A_TIME,
    "datetime_past": "expected a time before now",
    "datetime_future": "expected a time after now",
    "timezone_naive": "expected a time without a zone",
    "timezone_aware": "the time has no zone; write it as 2026-01-31T09:00:00Z",
    "timezone_offset": "expected a time in another zone",
    "union_tag_invalid": "expected {discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is required",
    "url_type": "expected a URL",
    "url_parsing": "expected a URL",
    "url_syntax_violation": "expected a URL",
    "url_too_long": "expected at most {max_length} character{s}",
    "url_scheme": "expected a URL that begins with {expected_schemes}",
    "uuid_type": "expected a UUID",
    "uuid_parsing": "expected a UUID",
    "uuid_version": "expected a UUID of version {expected_version}",
}
"""By pydantic's name of the error: each that reading JSON or a query can end in (tests/unit/test_complaints.py)."""

_NOT_READ = {
    "recursion limit exceeded": "the body is nested too deep; 200 levels are read",
    "number out of range": "a number of the body has more than 4,300 digits",
}
"""What is wrong with a body that is JSON all the same, by the beginning of the parser's sentence, its only sign."""

_OTHERWISE = "is not what this field takes"
_PYDANTICS = frozenset(get_args(ErrorType))


def field_name(location: Iterable[str | int]) -> str:
    """`("items", 3, "status")` as a client would write it: `items[3].status`."""
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def message(found: Mapping[str, Any]) -> str:
    """An error of pydantic's in our words, as the end of a sentence that begins with the field.

    Errors that validators of ours raise have their words already.
    """
    kind, context = found["type"], found.get("ctx") or {}
    if kind == "json_invalid":
        said = str(context.get("error", ""))
        return next((told for sign, told in _NOT_READ.items() if said.startswith(sign)), _MESSAGES[kind])
    if kind == "missing" and found["loc"] == ("body",):
        return _MESSAGES["model_attributes_type"]
    if kind == "string_pattern_mismatch" and context.get("pattern") == NO_NUL:
        return "must not hold a NUL character"
    if kind in ("value_error", "assertion_error") or kind not in _PYDANTICS:
        text = str(found["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return text[:1].lower() + text[1:]
    numbers = {
        name: f"{value:,}"
        for name, value in context.items()
        if name in _MESSAGES.get(kind, "") and isinstance(value, int)
    }
    return _MESSAGES.get(kind, _OTHERWISE).format_map(context | numbers | {"s": "" if "1" in numbers.values() else "s"})


def details_of(error: ValidationError, words: Mapping[tuple[str, str], str] | None = None) -> list[Detail]:
    """Every error that pydantic found, as a field and a sentence.

    `words` has other sentences, by the type of an error and the name of a field.
    """
    details: list[Detail] = []
    for found in error.errors(include_url=False, include_input=False):
        location = found["loc"]
        own = (words or {}).get((found["type"], str(location[-1]) if location else ""))
        details.append({"field": field_name(location), "message": own or message(found)})
    return details


def refusal(details: list[Detail], code: str = "invalid_request") -> BadRequestError:
    """The 400 with these details; its sentence is made of the first one."""
    first = details[0]
    sentence = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    sentence = sentence if first["field"] else sentence[:1].upper() + sentence[1:]
    return BadRequestError(sentence.rstrip(".") + ".", code, details=details)
