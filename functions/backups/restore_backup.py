"""POST /api/backup/restore: make a backup a schema again."""

from aws_lambda_powertools.event_handler import Response

from stowage.backups.limits import limits_of
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.restores import start_restore
from stowage.restores.records import RestoreBackupRequest, RestoreJob

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[RestoreJob], ("Location", "Retry-After")),),
    refuses=(404, 409, 410),
    reads=("X-Tenant-Id", "Idempotency-Key"),
)


@app.post("/api/backup/restore")
def restore_backup(caller: Caller, request: RestoreBackupRequest) -> Response[Data[RestoreJob]]:
    """Ask for a job that restores a backup, beside the live schema or in its place.

    `in_place` replaces everything that the tenant has, and needs `confirm` = the tenant's slug. The job fails, with
    the names of what is missing, before anything is done where the backup cannot be restored exactly.
    """
    tenant = caller.tenant_named(request.project_id)
    caller.limits = limits_of(caller.source_ip, tenant.id)
    job = start_restore(tenant, caller.identity, request, caller.now, key=caller.idempotency_key, limits=caller.limits)
    return json_response(Data(data=job), 202, {"Location": f"/api/jobs/{job.id}", "Retry-After": "2"})
