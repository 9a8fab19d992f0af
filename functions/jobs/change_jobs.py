"""POST /api/jobs/bulk: retry or cancel many jobs."""

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.jobs import bulk

app = http_app(
    "operator",
    answers=(Answer(200, Data[bulk.BulkJobs]), Answer(207, Data[bulk.BulkJobs])),
    reads=("X-Tenant-Id",),
)


@app.post("/api/jobs/bulk")
def change_jobs(caller: Caller, request: bulk.BulkRequest) -> Response[Data[bulk.BulkJobs]]:
    """Change at most 500 jobs, named by ids or by a filter; 207 where one of them could not be changed."""
    tenants = caller.tenant_ids(request.filter.project_id) if request.filter else None
    changed = bulk.change_jobs(request, caller.identity, tenants, caller.now)
    return json_response(Data(data=changed), 207 if changed.failed else 200)
