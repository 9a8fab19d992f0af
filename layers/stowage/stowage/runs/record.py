"""The record of a run, and the states it goes through.

    pending → running → completed | failed | cancelled
       ↑________|  another attempt, after a wait

`attempt` is the fencing number: it grows with every execution that is started, and whoever writes for an attempt
writes on the condition that it is still the current one. `execution` names what carries it out.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stowage.access.identity import Role
from stowage.aws.table import Item
from stowage.basics.ids import rfc3339
from stowage.runs.kinds import kind_of

type Status = Literal["pending", "running", "completed", "failed", "cancelled"]
type Lane = Literal["inline", "image", "worker"]

FINAL: tuple[Status, ...] = ("completed", "failed", "cancelled")
UNFINISHED: tuple[Status, ...] = ("pending", "running")


NO_DATABASE = "-"
"""The pool of the runs that speak no SQL; it has as many places as a database."""


class Failure(BaseModel):
    """Why an attempt did not end well."""

    code: str
    message: str
    retryable: bool = False
    attempt: int = 0


class StageMoment(BaseModel):
    """When a run came to a stage."""

    stage: str
    at: str


class PastAttempt(BaseModel):
    """One attempt that has ended, for the timeline. `outcome` is the attempt's, which may differ from the run's."""

    n: int
    lane: Lane | None = None
    started_at: str | None = None
    ended_at: str
    sharers: int = 1
    """How many runs its execution carried out."""
    outcome: Status | None = None
    error: str | None = None
    stages: list[StageMoment] = Field(default_factory=list)


ONE_FILE = "file"
"""The name of the file of a kind that leaves one."""


class StoredFile(BaseModel):
    """A file that a run left, as its manifest has it."""

    key: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str = ""
    """In hexadecimal; not kept of an import's files by versions before 0.2."""
    rows: int | None = None
    """None where they could not be counted."""


class Outcome(BaseModel):
    """What a run left: its files by name, and facts that its kind defines. It comes from a verified manifest.

    With a `failure` the run has failed, and the outcome says what it did before that, or what it found.
    """

    files: dict[str, StoredFile] = Field(default_factory=dict)
    rows: int | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    failure: Failure | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size_bytes for file in self.files.values())


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
    request: str | None = None
    """The request as it was sent (`stowage.runs.request.as_sent`); None where nobody sent one."""
    requested_by: str
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    attempt: int = 0
    execution: str | None = None
    """The execution that carries out the current attempt, perhaps beside those of other runs."""
    tries: int = 0
    """Attempts since the run was last started anew; `max_attempts` counts these."""
    attempts: list[PastAttempt] = Field(default_factory=list)
    earlier: list[StageMoment] = Field(default_factory=list)
    """How the run ended before it was started anew, and when it was."""
    not_before: str | None = None
    attempt_started_at: str | None = None
    lane: Lane | None = None
    estimate: Estimate | None = None
    upload: dict[str, str] | None = None
    error: Failure | None = None
    outcome: Outcome | None = None
    cancel_requested: bool = False
    may_share: bool = False
    """Whether its next attempts may be carried out together with other runs' (`stowage.runs.dispatch`)."""
    sharers: int = 1
    """How many runs are carried out by the execution of the current attempt."""
    uses: str | None = None
    """The run of the same tenant whose files this one uses (`stowage.runs.using`)."""
    users: int = 0
    """How many unfinished runs use the files of this one."""
    verification: dict[str, Any] | None = None
    """The last verification of a backup: `{level, at, ok}`."""
    pinned_at: str | None = None
    """Since when somebody keeps a backup from being expired and deleted; None where nobody does."""
    reverted_by: str | None = None
    """The run that has taken a restore back."""
    counted: bool = False
    """Whether the counts have it (`stowage.runs.counters`); not in records of versions before 0.2."""
    expires_at: str | None = None
    expired_at: str | None = None
    due_list: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, item: Any) -> Any:
        """Before 0.2 an execution was called `{id}-{attempt}`, which the record did not hold. What a run left was an
        `artifact`: the fields of its one file, or `files`, and the facts of imports as `outcome`.
        """
        if not isinstance(item, dict):
            return item
        if item.get("attempt") and not item.get("execution"):
            item = {**item, "execution": f"{item['id']}-{item['attempt']}"}
        if (artifact := item.get("artifact")) and not item.get("outcome"):
            files = artifact.get("files") or {ONE_FILE: artifact}
            facts = artifact.get("outcome") or {"tables": artifact.get("tables")}
            item = {**item, "outcome": {"files": files, "rows": artifact.get("rows"), "facts": facts}}
        return item

    @property
    def file(self) -> StoredFile | None:
        """The file of a kind that leaves one, once it is there."""
        return self.outcome.files.get(ONE_FILE) if self.outcome else None

    @property
    def is_shared(self) -> bool:
        """Whether the current attempt is carried out together with other runs'."""
        return self.sharers > 1

    @property
    def pk(self) -> str:
        """The partition of the run's tenant."""
        return f"T#{self.tenant}"

    @property
    def sk(self) -> str:
        """The sort key of the record."""
        return f"RUN#{self.id}"

    @property
    def pool(self) -> str:
        """The pool in which it waits and takes a place: its database's, or that of the runs that speak no SQL."""
        return self.database if kind_of(self.kind).speaks_sql(self.spec) else NO_DATABASE

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

    @property
    def is_planned(self) -> bool:
        """Whether its tenant's retention says when its file goes (`stowage.schedules.keeping`), and no moment does."""
        return self.status == "completed" and kind_of(self.kind).protects

    def may_be_used(self, now: datetime) -> bool:
        """Whether another run may begin to use its files."""
        if self.status != "completed" or self.is_expired(now):
            return False
        return self.is_planned or self.expires_at is None or self.expires_at > rfc3339(now)

    def is_expired(self, now: datetime) -> bool:
        """Whether the file's time is over, even if no tick has deleted it yet. A file in use does not expire."""
        if self.is_planned:
            return self.expired_at is not None
        is_over = self.expires_at is not None and self.expires_at <= rfc3339(now) and self.users < 1
        return self.expired_at is not None or is_over

    def prefix(self, attempt: int) -> str:
        """Where an attempt's objects lie: a later attempt cannot collide with them."""
        path = str(self.spec.get("storage_path") or kind_of(self.kind).history).strip("/")
        return f"{self.tenant}/{path}/{self.id}/{attempt}/"


def cancelled(run: Run) -> Failure:
    """Why a run that was cancelled did not end well."""
    return Failure(code="cancelled", message="The run was cancelled.", attempt=run.attempt)


def new_item(run: Run, ttl: int) -> Item:
    """The table's item of a run that has just been asked for: waiting, in its pool's queue."""
    fields = run.model_dump(exclude_none=True)
    return fields | {
        "pk": run.pk,
        "sk": run.sk,
        "kind_key": f"{kind_of(run.kind).history}#{run.id}",
        "day": run.created_at[:10],
        "due_list": waiting_list(run.pool),
        "due_at": queue_place(run),
        "ttl": ttl,
    }


def waiting_list(pool: str) -> str:
    """The due list of runs that wait for a place of a pool."""
    return f"WAITING#{pool}"


def queue_place(run: Run) -> str:
    """Manual before scheduled, then oldest first."""
    return f"{int(run.trigger == 'schedule')}#{run.created_at}#{run.id}"


ACTIVE_LIST = "ACTIVE"
"""The due list of runs that have an execution; due when someone should look whether it still lives."""

SWEEP_LIST = "SWEEP"
"""The due list of ended runs: files to expire, leftovers to take away."""
