"""Bodies of records, read once from their raw bytes; one invalid item does not hide what is wrong with the others."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from stowage.basics.complaints import details_of, refusal
from stowage.basics.errors import Detail
from stowage.basics.json_numbers import read_json
from stowage.records.models import KEPT_BY_US, Item

_WORDS = {("extra_forbidden", name): "is kept by Stowage and cannot be given" for name in KEPT_BY_US} | {
    ("extra_forbidden", "id"): "cannot be changed"
}


def read_body[T](shape: TypeAdapter[T], raw: bytes, *, exactly: bool = False) -> T:
    """A body of that shape; BadRequestError with every complaint. `exactly`: its numbers keep all their digits."""
    try:
        return _read(shape, raw, exactly=exactly)
    except ValidationError as error:
        raise refusal(details_of(error, _WORDS)) from None


def _read[T](shape: TypeAdapter[T], raw: bytes, *, exactly: bool) -> T:
    if not exactly:
        return shape.validate_json(raw)
    try:
        from_json(raw)
    except ValueError:
        return shape.validate_json(raw)  # which says why
    return shape.validate_python(read_json(raw))


@dataclass(frozen=True)
class Items:
    """The valid items of a body, each with its index; the complaints about the others, by theirs.

    `sent` gives the item of an index as it was sent.
    """

    valid: list[tuple[int, Item]]
    invalid: dict[int, list[Detail]]
    rest: dict[str, Any]
    raw: bytes = field(repr=False)
    key: str
    exactly: bool = False

    @property
    def total(self) -> int:
        """How many items there are."""
        return len(self.valid) + len(self.invalid)

    def sent(self) -> list[Any]:
        """All items as they were sent."""
        sent: list[Any] = (read_json if self.exactly else from_json)(self.raw)[self.key]
        return sent


def read_items(
    shape: TypeAdapter[Any], raw: bytes, key: str, required: tuple[str, ...] = (), *, exactly: bool = False
) -> Items:
    """The items under `key` of a body. One pass where all are valid, a second over the valid ones where not.
    `exactly` as in `read_body`.

    BadRequestError for what is wrong with the body itself, or with the fields of an item that are `required`.
    """
    try:
        body = _read(shape, raw, exactly=exactly)
    except ValidationError as error:
        invalid: dict[int, list[Detail]] = defaultdict(list)
        for found, detail in zip(error.errors(include_url=False), details_of(error, _WORDS), strict=True):
            location = found["loc"]
            of_an_item = len(location) > 1 and location[0] == key
            if not of_an_item or (required and (len(location) == 2 or location[2] in required)):
                raise refusal(details_of(error, _WORDS)) from None
            invalid[int(location[1])].append(detail)
        parsed = (read_json if exactly else from_json)(raw)
        sent = parsed[key]
        indices = [index for index in range(len(sent)) if index not in invalid]
        if not indices:
            rest = {name: value for name, value in parsed.items() if name != key}
            return Items([], dict(invalid), rest, raw, key, exactly)
        good = parsed | {key: [sent[index] for index in indices]}
        body = shape.validate_python(good) if exactly else shape.validate_json(to_json(good))
        rest = {name: value for name, value in body.items() if name != key}
        return Items(list(zip(indices, body[key], strict=True)), dict(invalid), rest, raw, key, exactly)
    rest = {name: value for name, value in body.items() if name != key}
    return Items(list(enumerate(body[key])), {}, rest, raw, key, exactly)
