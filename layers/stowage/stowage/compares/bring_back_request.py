"""What `POST …/bring-back` takes (docs/api.md)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stowage.bulk.requests import Ids
from stowage.compares.requests import Name


class BringBackRequest(BaseModel):
    """The records `ids`, or all of a `kind`, 10,000 at a time: `cursor` is the `next_cursor` of the answer before.

    `fields`: only these come back, of records that are there. `rename` puts ` (restored)` behind a label that is taken.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    entity: Name
    ids: Ids | None = None
    kind: Literal["only_in_backup", "changed"] | None = None
    cursor: str | None = None
    fields: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = None
    on_conflict: Literal["fail", "rename"] = "fail"

    @model_validator(mode="after")
    def _names_records(self) -> "BringBackRequest":
        if (self.ids is None) == (self.kind is None):
            raise ValueError("name either ids or a kind")
        if self.cursor is not None and self.kind is None:
            raise ValueError("a cursor goes with a kind")
        if self.fields is not None and self.kind == "only_in_backup":
            raise ValueError("fields come back to records that are there, and those of this kind are not")
        return self
