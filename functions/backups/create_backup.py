"""POST /api/backup/export: start a backup of a tenant."""

from aws_lambda_powertools.event_handler import Response

from stowage import backups
from stowage.backups.limits import count_request
from stowage.backups.records import BackupCreated, BackupRequest
from stowage.entry.http import Caller, Data, http_app, json_response

app = http_app("admin")


@app.post("/api/backup/export")
def create_backup(caller: Caller, request: BackupRequest) -> Response[Data[BackupCreated]]:
    """Ask for a dump of exactly one tenant's schema."""
    tenant = caller.tenant_named(request.project_id)
    count_request(tenant.id, caller.source_ip, caller.now, caller.answer_headers)
    created = backups.create_backup(tenant, caller.identity, request, caller.now, key=caller.idempotency_key)
    return json_response(Data(data=created), 202, {"Location": f"/api/jobs/{created.job_id}", "Retry-After": "2"})
