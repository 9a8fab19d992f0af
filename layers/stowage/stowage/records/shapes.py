"""Bodies of the record routes as the API's document shows them.

Which fields a record has depends on the entity that the path names. The four empty classes stand for
it: the document puts each declared entity's own schema in their place (`stowage.entry.document`).
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from stowage.basics.paging import Pagination
from stowage.records.models import MOST_ITEMS
from stowage.records.queries import MOST_LIMIT, MOST_PAGE


class Record(BaseModel):
    """A record of the entity that the path names."""


class NewRecord(BaseModel):
    """What makes a record of the entity that the path names."""


class ChangedRecord(BaseModel):
    """The fields of a record to change; an absent one stays, null empties one that may be empty."""


class RecordUpdate(BaseModel):
    """The fields of one record of many to change, by its id."""


LIST_QUERY: dict[str, Any] = {
    "page": Annotated[int, Field(ge=1, le=MOST_PAGE)],
    "limit": Annotated[int, Field(ge=1, le=MOST_LIMIT)],
    "sort": str,
}
"""What a list of records takes beside its filters."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecordUpdates(_Body):
    """Changes of many records, each its own fields; an id stands there once."""

    updates: Annotated[list[RecordUpdate], Field(min_length=1, max_length=MOST_ITEMS)]


class ImportOptions(_Body):
    """Whether good items are saved although others are not, and whether those are listed."""

    skipInvalid: bool = False
    returnFailures: bool = False


class RecordImport(_Body):
    """Records to save: all of them, or none unless `skipInvalid`."""

    items: Annotated[list[NewRecord], Field(min_length=1, max_length=MOST_ITEMS)]
    options: ImportOptions | None = None


class RecordId(BaseModel):
    """A record of which an answer has no room for more."""

    model_config = ConfigDict(extra="forbid")

    id: str


class RecordAnswer(BaseModel):
    """One record."""

    success: Literal[True]
    data: Record


class RecordPage(TypedDict):
    """A page of records; `truncated`: they are too large for one answer, so it has their ids."""

    success: Literal[True]
    truncated: NotRequired[Literal[True]]
    data: list[Record | RecordId]
    pagination: Pagination


class RecordFailure(TypedDict):
    """Why one record was not saved, changed or deleted; without `id` and `error` where the answer has no room."""

    index: int
    id: NotRequired[str]
    code: str
    error: NotRequired[str]


class UpdatedRecords(TypedDict):
    """What became of the updates of a request."""

    operationId: str
    updated: int
    failed: int
    truncated: NotRequired[Literal[True]]
    items: list[Record | RecordId]
    failures: list[RecordFailure]


class RecordUpdatesAnswer(BaseModel):
    """The answer of a bulk update."""

    success: Literal[True]
    data: UpdatedRecords


class DeletedRecords(TypedDict):
    """What became of the ids of a request; no `failed` and `failures` where each went."""

    operationId: str
    deleted: int
    failed: NotRequired[int]
    truncated: NotRequired[Literal[True]]
    failures: NotRequired[list[RecordFailure]]


class DeletedRecordsAnswer(BaseModel):
    """The answer of a bulk deletion."""

    success: Literal[True]
    data: DeletedRecords


class ImportFailure(TypedDict):
    """Why one item was not saved; `item` as it was sent, where the answer has room for it."""

    index: int
    item: NotRequired[object]
    code: str
    error: NotRequired[str]


class ImportedRecords(TypedDict):
    """What became of the items of an import."""

    operationId: str
    created: int
    failed: int
    truncated: NotRequired[Literal[True]]
    items: list[Record | RecordId]
    failures: NotRequired[list[ImportFailure]]


class RecordImportAnswer(BaseModel):
    """The answer of an import."""

    success: Literal[True]
    data: ImportedRecords
