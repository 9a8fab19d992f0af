"""GET /api/jobs/stats: runs per day by outcome."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage import jobs
from stowage.entry.http import Caller, Data, WholeNumber, http_app

app = http_app(reads=("X-Tenant-Id",))


@app.get("/api/jobs/stats")
def get_job_stats(
    caller: Caller, project_id: str | None = None, days: Annotated[WholeNumber, Query(ge=1, le=90)] = 30
) -> Data[jobs.JobStats]:
    """Count the runs of one tenant, or of all that the caller may see."""
    return Data(data=jobs.read_stats(caller.tenant_ids(project_id), caller.now, days))
