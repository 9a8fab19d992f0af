"""A tenant's audit log as a backup of type `logs`: ask for one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stowage import jobs
from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups.limits import TOO_MANY
from stowage.backups.records import ProjectId, StoragePath
from stowage.basics.ids import new_run_id, rfc3339
from stowage.basics.moments import Bound
from stowage.runs.kinds import EXPORT_LOGS
from stowage.runs.record import Run
from stowage.runs.request import as_sent, request_run
from stowage.runs.store import WAITING
from stowage.tenants import Tenant

MOST_ENTRIES = 1_000_000_000
EXTENSIONS = {"json": "json", "text": "txt"}


class DateRange(BaseModel):
    """The first moment whose entries are taken, and the first one whose entries are not taken any more."""

    model_config = ConfigDict(extra="forbid")

    from_: Annotated[Bound | None, Field(alias="from")] = None
    to: Bound | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "DateRange":
        if self.from_ and self.to and self.from_ >= self.to:
            raise ValueError("from must be earlier than to")
        return self


class LogsRequest(BaseModel):
    """The body of `POST /api/backup/export-logs`. With `max_entries` only the newest entries are taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    project_id: ProjectId | None = None
    format: Literal["json", "text"] = "json"
    date_range: DateRange | None = None
    max_entries: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] | None = None
    storage_path: StoragePath | None = None


@for_role("admin")
def create_logs(
    tenant: Tenant,
    identity: Identity,
    request: LogsRequest,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> jobs.Job:
    """Ask for the audit log as a file; the job that will write it. RateLimitedError when the minute is full."""
    wanted = request.date_range or DateRange()
    run = Run(
        id=new_run_id(now),
        tenant=tenant.id,
        kind=EXPORT_LOGS.name,
        database=tenant.database,
        spec={
            "format": request.format,
            "compress": False,
            "storage_path": request.storage_path or "logs",
            "schema": tenant.schema,
            "file_name": f"{tenant.slug}-logs-{now:%Y-%m-%dT%H%M%SZ}.{EXTENSIONS[request.format]}",
            "since": rfc3339(wanted.from_) if wanted.from_ else None,
            "until": rfc3339(wanted.to) if wanted.to else None,
            "max_entries": request.max_entries,
        },
        request=as_sent(request),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    once = IdempotencyKey.of(tenant.id, identity.sub, "create_logs", key, request.model_dump(mode="json"))
    made = request_run(
        run,
        now,
        lambda: jobs.job(run, identity, now, progress=WAITING).model_dump(),
        key=once or None,
        limits=limits,
        limit_message=TOO_MANY,
    )
    return jobs.Job.model_validate(made)
