"""GET /api/jobs: every kind of run, newest first."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import BaseModel

from stowage import jobs
from stowage.basics.moments import Bound
from stowage.entry.http import Caller, WholeNumber, http_app

app = http_app(reads=("X-Tenant-Id",))


class JobPage(BaseModel):
    """A page of jobs; `next_cursor` is null on the last, `total` where no count fits the filters."""

    data: list[jobs.Job]
    next_cursor: str | None
    total: int | None


@app.get("/api/jobs")
def list_jobs(
    caller: Caller,
    project_id: str | None = None,
    type: jobs.JobType | None = None,
    status: Literal["pending", "running", "completed", "failed", "cancelled"] | None = None,
    since: Bound | None = None,
    cursor: str | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> JobPage:
    """Show a page of runs of one tenant, or of all that the caller may see."""
    tenants = caller.tenant_ids(project_id)
    found, next_cursor = jobs.list_jobs(
        tenants,
        caller.now,
        kind=type,
        status=status,
        since=since,
        cursor=cursor,
        limit=limit,
        base_url=caller.base_url if caller.identity.may("operator") else None,
    )
    total = jobs.count_jobs(tenants, caller.now, kind=type, status=status, since=since)
    return JobPage(data=found, next_cursor=next_cursor, total=total)
