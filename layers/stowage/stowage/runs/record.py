"""The record of a run, and the states it goes through.

    pending → running → completed | failed | cancelled
       ↑________|  another attempt, after a wait

`attempt` is the fencing number: it grows with every execution that is started, and whoever writes for an attempt
writes on the condition that it is still the current one.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stowage.access.identity import Role
from stowage.aws.table import Item
from stowage.basics.ids import rfc3339
from stowage.runs.kinds import kind_of

type Status = Literal["pending", "running", "completed", "failed", "cancelled"]
type Lane = Literal["inline", "worker"]

FINAL: tuple[Status, ...] = ("completed", "failed", "cancelled")
UNFINISHED: tuple[Status, ...] = ("pending", "running")


class Failure(BaseModel):
    """Why an attempt ended without an artifact."""

    code: str
    message: str
    retryable: bool = False
    attempt: int = 0


class StageMoment(BaseModel):
    """When a run came to a stage."""

    stage: str
    at: str


class Attempt(BaseModel):
    """One execution that has ended, for the timeline: `outcome` is its own, whatever became of the run."""

    n: int
    lane: Lane | None = None
    started_at: str | None = None
    ended_at: str
    outcome: Status | None = None
    error: str | None = None
    stages: list[StageMoment] = Field(default_factory=list)


class ArtifactFile(BaseModel):
    """One of the files that a run left beside each other."""

    key: str
    file_name: str
    content_type: str
    size_bytes: int
    rows: int


class Artifact(BaseModel):
    """The file that a run left, as its manifest has it; the first one where there are several.

    `partial`: it tells of a run that did not get to its end (an import that was stopped after some of its rows). `rows`
    is None where they could not be counted.
    """

    bucket: str
    key: str
    manifest_key: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str
    rows: int | None
    tables: int | None = None
    partial: bool = False
    files: dict[str, ArtifactFile] = Field(default_factory=dict)
    outcome: dict[str, Any] = Field(default_factory=dict)


class Estimate(BaseModel):
    """What a run will come to, before it has run."""

    rows: int
    bytes: int


class Run(BaseModel):
    """One run. `spec` is the request as its kind understands it."""

    model_config = ConfigDict(extra="ignore")

    id: str
    tenant: str
    kind: str
    """The name of its kind (`stowage.runs.kinds`)."""
    status: Status = "pending"
    trigger: Literal["manual", "schedule"] = "manual"
    database: str
    spec: dict[str, Any]
    requested_by: str
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    attempt: int = 0
    tries: int = 0
    """Attempts since the run was last started anew; `max_attempts` counts these."""
    attempts: list[Attempt] = Field(default_factory=list)
    earlier: list[StageMoment] = Field(default_factory=list)
    """How the run ended before it was started anew, and when it was."""
    not_before: str | None = None
    attempt_started_at: str | None = None
    lane: Lane | None = None
    estimate: Estimate | None = None
    upload: dict[str, str] | None = None
    error: Failure | None = None
    artifact: Artifact | None = None
    cancel_requested: bool = False
    expires_at: str | None = None
    expired_at: str | None = None
    due_list: str | None = None

    @property
    def pk(self) -> str:
        """The partition of the run's tenant."""
        return f"T#{self.tenant}"

    @property
    def sk(self) -> str:
        """The sort key of the record."""
        return f"RUN#{self.id}"

    @property
    def execution_name(self) -> str:
        """The name of the current attempt's execution: unique for ever, as a closed name is for 90 days."""
        return f"{self.id}-{self.attempt}"

    @property
    def file_role(self) -> Role:
        """The lowest role that may fetch the files."""
        return kind_of(self.kind).fetched_by(self)

    @property
    def duration_ms(self) -> int | None:
        """From the run's start (since it was last started anew) to its end, in milliseconds; None before that."""
        if not self.started_at or not self.completed_at:
            return None
        ran = datetime.fromisoformat(self.completed_at) - datetime.fromisoformat(self.started_at)
        return round(ran.total_seconds() * 1000)

    def is_expired(self, now: datetime) -> bool:
        """Whether the file's time is over, swept or not: the sweep comes at the next tick."""
        return self.expired_at is not None or (self.expires_at is not None and self.expires_at <= rfc3339(now))

    def prefix(self, attempt: int) -> str:
        """Where an attempt's objects lie: a later attempt cannot collide with them."""
        path = str(self.spec.get("storage_path") or kind_of(self.kind).history).strip("/")
        return f"{self.tenant}/{path}/{self.id}/{attempt}/"


def cancelled(run: Run) -> Failure:
    """Why a run that was cancelled has no artifact."""
    return Failure(code="cancelled", message="The run was cancelled.", attempt=run.attempt)


def new_item(run: Run, ttl: int) -> Item:
    """The table's item of a run that has just been asked for: waiting, in its database's queue."""
    fields = run.model_dump(exclude_none=True)
    return fields | {
        "pk": run.pk,
        "sk": run.sk,
        "kind_key": f"{kind_of(run.kind).history}#{run.id}",
        "day": run.created_at[:10],
        "due_list": waiting_list(run.database),
        "due_at": queue_place(run),
        "ttl": ttl,
    }


def waiting_list(database: str) -> str:
    """The due list of runs that wait for a slot on a database."""
    return f"WAITING#{database}"


def queue_place(run: Run) -> str:
    """Manual before scheduled, then oldest first."""
    return f"{int(run.trigger == 'schedule')}#{run.created_at}#{run.id}"


ACTIVE_LIST = "ACTIVE"
"""The due list of runs that have an execution; due when someone should look whether it still lives."""

SWEEP_LIST = "SWEEP"
"""The due list of ended runs: files to expire, leftovers to take away."""
