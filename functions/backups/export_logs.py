"""POST /api/backup/export-logs: the tenant's audit log as a backup of type logs."""

from aws_lambda_powertools.event_handler import Response

from stowage.backups.limits import limits_of
from stowage.backups.logs import LogsRequest, create_logs
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.jobs import Job

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[Job], ("Location", "Retry-After")),),
    reads=("X-Tenant-Id", "Idempotency-Key"),
)


@app.post("/api/backup/export-logs")
def export_logs(caller: Caller, request: LogsRequest) -> Response[Data[Job]]:
    """Ask for a job that writes the audit log into a file among the backups."""
    tenant = caller.tenant_named(request.project_id)
    caller.limits = limits_of(caller.source_ip, tenant.id)
    job = create_logs(tenant, caller.identity, request, caller.now, key=caller.idempotency_key, limits=caller.limits)
    return json_response(Data(data=job), 202, {"Location": f"/api/jobs/{job.id}", "Retry-After": "2"})
