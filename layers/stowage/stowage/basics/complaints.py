"""What is wrong with a request, field by field, in words for a person (docs/api.md, Errors)."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from stowage.basics.errors import BadRequestError, Detail

_MESSAGES = {
    "json_invalid": "the body is not JSON",
    "extra_forbidden": "there is no such field",
    "model_attributes_type": "send a JSON object",
    "dict_type": "send a JSON object",
    "missing": "is required",
    "string_pattern_mismatch": "must not hold a NUL character",
}


def field_name(location: Iterable[str | int]) -> str:
    """`("items", 3, "status")` as a client would write it: `items[3].status`."""
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def message(found: Mapping[str, Any]) -> str:
    """What pydantic found, as the end of a sentence that begins with the field."""
    if found["type"] == "missing" and found["loc"] == ("body",):
        return _MESSAGES["model_attributes_type"]
    text = _MESSAGES.get(found["type"]) or str(found["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def details_of(error: ValidationError, words: Mapping[tuple[str, str], str] | None = None) -> list[Detail]:
    """Every complaint. `words` are those of its own that an error type has for a field, by both."""
    details: list[Detail] = []
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        location = found["loc"]
        own = (words or {}).get((found["type"], str(location[-1]) if location else ""))
        details.append({"field": field_name(location), "message": own or message(found)})
    return details


def refusal(details: list[Detail], code: str = "invalid_request") -> BadRequestError:
    """The 400 for complaints, whose sentence is the first of them."""
    first = details[0]
    sentence = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    sentence = sentence if first["field"] else sentence[:1].upper() + sentence[1:]
    return BadRequestError(sentence.rstrip(".") + ".", code, details=details)
