"""What a batch asks for: its parts, their order, and what a part takes from the answer of another."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stowage.basics.errors import BadRequestError, Detail
from stowage.records.bodies import read_body

MOST_PARTS = 20
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_TAKEN = re.compile(r"\$([A-Za-z0-9_-]{1,64})\.(\w+)")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class BatchPart(_Shape):
    """One request of a batch; `dependsOn` names those that must have gone well before it."""

    id: Name
    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: Annotated[str, Field(min_length=1, max_length=8000)]
    body: dict[str, Any] | None = None
    dependsOn: Annotated[list[Name], Field(max_length=MOST_PARTS)] | Name = []


class BatchRequest(_Shape):
    """Up to 20 requests of record routes."""

    requests: Annotated[list[BatchPart], Field(min_length=1, max_length=MOST_PARTS)]


_BATCH = TypeAdapter(BatchRequest)


def read_batch(raw: bytes) -> list[BatchPart]:
    """The parts of a body, each with `dependsOn` as a list.

    BadRequestError, also for a name that no part has or that two have.
    """
    parts = read_body(_BATCH, raw, exactly=True).requests
    for part in parts:
        part.dependsOn = needs(part)
    names = [part.id for part in parts]
    details: list[Detail] = []
    for index, part in enumerate(parts):
        if part.id in names[:index]:
            details.append({"field": f"requests[{index}].id", "message": "is also that of an earlier request"})
        strangers = [name for name in part.dependsOn if name not in names or name == part.id]
        if strangers:
            told = "names itself" if part.id in strangers else f"names no request of this batch: {strangers[0]}"
            details.append({"field": f"requests[{index}].dependsOn", "message": told})
    if details:
        raise BadRequestError("The requests of a batch have names of their own.", details=details)
    return parts


def needs(part: BatchPart) -> list[str]:
    """The names of the parts that must have gone well before this one."""
    return [part.dependsOn] if isinstance(part.dependsOn, str) else part.dependsOn


def in_order(parts: list[BatchPart]) -> list[BatchPart]:
    """The parts in their own order, as far as `dependsOn` lets them be.

    BadRequestError where some wait for each other.
    """
    waiting, ordered = list(parts), dict[str, BatchPart]()
    while waiting:
        ready = next((part for part in waiting if ordered.keys() >= set(needs(part))), None)
        if ready is None:
            names = ", ".join(part.id for part in waiting)
            raise BadRequestError(f"These requests wait for each other: {names}.")
        waiting.remove(ready)
        ordered[ready.id] = ready
    return list(ordered.values())


def filled(value: Any, answers: Mapping[str, Any]) -> Any:
    """A part's path or body with `$name.field` replaced by that field of the answer of `name`, as deep as it stands.

    Only a whole text, in a path a whole segment, is replaced, and only where `answers`, which are of
    the parts that this one depends on, has the name. BadRequestError where the answer lacks the field.
    """
    match value:
        case str() if (found := _TAKEN.fullmatch(value)) and found[1] in answers:
            answer = answers[found[1]]
            taken = answer.get(found[2]) if isinstance(answer, dict) else None
            if taken is None or isinstance(taken, dict | list):
                raise BadRequestError(f"The answer of {found[1]} has no {found[2]} that could stand for {value}.")
            return taken
        case list():
            return [filled(each, answers) for each in value]
        case dict():
            return {key: filled(each, answers) for key, each in value.items()}
    return value
