"""POST /api/backup/export: start a backup of a tenant."""

from aws_lambda_powertools.event_handler import Response

from stowage import backups
from stowage.backups.limits import limits_of
from stowage.backups.records import BackupCreated, BackupRequest
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[BackupCreated], ("Location", "Retry-After")),),
    reads=("X-Tenant-Id", "Idempotency-Key"),
)


@app.post("/api/backup/export")
def create_backup(caller: Caller, request: BackupRequest) -> Response[Data[BackupCreated]]:
    """Ask for a dump of exactly one tenant's schema."""
    tenant = caller.tenant_named(request.project_id)
    caller.limits = limits_of(caller.source_ip, tenant.id)
    created = backups.create_backup(
        tenant, caller.identity, request, caller.now, key=caller.idempotency_key, limits=caller.limits
    )
    return json_response(Data(data=created), 202, {"Location": f"/api/jobs/{created.job_id}", "Retry-After": "2"})
