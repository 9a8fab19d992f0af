"""What clients see of a restore, and what they may ask for (docs/api.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stowage.backups.records import ProjectId
from stowage.jobs import Job
from stowage.runs.record import Run

type Mode = Literal["new_schema", "in_place"]


class RestoreBackupRequest(BaseModel):
    """The body of `POST /api/backup/restore`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    project_id: ProjectId | None = None
    backup_id: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    file_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Of a copy elsewhere; there is no such place yet."""
    mode: Mode
    tables: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(min_length=1, max_length=100)] | (
        None
    ) = None
    confirm: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "RestoreBackupRequest":
        if (self.backup_id is None) == (self.file_id is None):
            raise ValueError("name either backup_id or file_id")
        return self

    @model_validator(mode="after")
    def _tables_beside_only(self) -> "RestoreBackupRequest":
        if self.mode == "in_place" and self.tables is not None:
            raise ValueError("tables is for new_schema only: in place, the whole schema is replaced")
        return self


class RestoreJob(Job):
    """The job of a restore, as it was asked for; `warning` says what will become of the tenant's data."""

    warning: str


def job_result(run: Run, _now: datetime, _link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of a restore tells.

    `{mode, backup_id, schema, tables, rows, keeps_old_name: [..], keeps_old_name_count, closed_to: [..], left_out:
    [..], kept_schema, kept_until}`.
    """
    outcome = run.outcome
    assert outcome is not None, "a job without one has no result"
    return {**outcome.facts, "rows": outcome.rows}
