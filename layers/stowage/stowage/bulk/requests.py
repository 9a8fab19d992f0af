"""What the bulk routes take (docs/api.md)."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from stowage.basics.errors import BadRequestError
from stowage.basics.ids import decode_id
from stowage.entities.declaration import Entity

MOST_IDS = 10_000


def _no_nul(text: str) -> str:
    if "\0" in decode_id(text):
        raise ValueError("holds a NUL character")
    return text


def _each_once(ids: list[str]) -> list[str]:
    first: dict[str, int] = {}
    for place, given in enumerate(ids):
        raw = decode_id(given)
        earlier = first.setdefault(raw, place)
        if earlier != place:
            raise PydanticCustomError("duplicate_id", f"the id at {place} is the same as that at {earlier}")
        if "\0" in raw:
            raise PydanticCustomError("nul", f"the id at {place} holds a NUL character")
    return ids


def read_ids(declared: Entity, given: Sequence[str]) -> list[str | None]:
    """The raw ids of records, None for a text that no record's id is.

    BadRequestError `duplicate_ids` where two texts are one id: of a uuid upper and lower case are.
    """
    raw = [decode_id(each) for each in given]
    if declared.key.type == "text":
        return [*raw]
    ids = [declared.key.read(each) for each in raw]
    first: dict[str, int] = {}
    for place, each in enumerate(ids):
        if each is not None and (earlier := first.setdefault(each, place)) != place:
            message = f"the id at {place} is the same as that at {earlier}"
            raise BadRequestError(f"Ids: {message}.", "duplicate_ids", details=[{"field": "ids", "message": message}])
    return ids


Text = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
"""An id in either of its forms."""

Ids = Annotated[
    list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST_IDS), AfterValidator(_each_once)
]
"""1 to 10,000 ids, each once, in either of their forms."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DeleteRequest(_Request):
    """The body of `POST bulk/delete`; `dataType` is an entity of the dashboard."""

    ids: Ids
    dataType: str


class ReassignRequest(_Request):
    """The body of `POST bulk/reassign`: records of `dataType`, or of the one entity that may be reassigned.

    The other keys are the targets that the entity's declaration names, each with the id of a record: `targetBrandId`
    and `targetGroupId` for the sample's accounts. The first must be given; the field of a further one that is not
    given is emptied.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Text | None] = Field(init=False)

    ids: Ids
    dataType: str | None = None


class UndoRequest(_Request):
    """The body of `POST bulk/undo`."""

    operationId: Text
