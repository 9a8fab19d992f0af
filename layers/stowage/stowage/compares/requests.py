"""What may be asked of a comparison, and what its job tells (docs/api.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stowage.runs.record import Run

type DifferenceKind = Literal["only_in_backup", "only_live", "changed"]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class CompareRequest(BaseModel):
    """The body of `POST /api/backup/{id}/compare`: the entities to compare, every declared one where none is named."""

    model_config = ConfigDict(extra="forbid", strict=True)

    entities: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = None


def job_result(run: Run, _now: datetime, _link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of a comparison tells.

    `{backup_id, backup_at, entities: [{name, only_in_backup, only_live, changed, same, columns_only_in_backup?,
    fields_only_live?}], left_out?: [{name, reason}], expires_at}`.
    """
    assert run.outcome is not None, "a job without one has no result"
    return {**run.outcome.facts, "expires_at": run.expires_at}
