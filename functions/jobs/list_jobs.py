"""GET /api/jobs: every kind of run, newest first."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.basics.moments import Bound
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, WholeNumber, http_app, json_or_unchanged
from stowage.jobs.filters import JobStatuses, JobTypes, names_of
from stowage.jobs.pages import JobPage, wanted_runs
from stowage.jobs.pages import list_jobs as list_page

TAGGED = ("ETag", "Cache-Control")
app = http_app(
    answers=(Answer(200, JobPage, TAGGED), Answer(304, None, TAGGED)), reads=("X-Tenant-Id", "If-None-Match")
)


@app.get("/api/jobs")
def list_jobs(
    caller: Caller,
    project_id: str | None = None,
    type: JobTypes | None = None,
    status: JobStatuses | None = None,
    trigger: Literal["manual", "schedule"] | None = None,
    since: Bound | None = None,
    until: Bound | None = None,
    q: Annotated[str, Query(min_length=1, max_length=200)] | None = None,
    include: Literal["missed"] | None = None,
    cursor: str | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> Response[JobPage | None]:
    """Show a page of runs of one tenant, or of all that the caller may see; 304 to who knows it already."""
    wanted = wanted_runs(
        caller.now,
        kinds=names_of(type),
        statuses=names_of(status),
        trigger=trigger,
        since=since,
        until=until,
        text=q,
        with_missed=include is not None,
    )
    tenants = caller.tenant_ids(project_id)
    page = list_page(tenants, caller.identity, wanted, caller.now, cursor=cursor, limit=limit, base_url=caller.base_url)
    return json_or_unchanged(caller.has, page)
