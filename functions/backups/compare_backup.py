"""POST /api/backup/{id}/compare: set a backup against the live tenant."""

from aws_lambda_powertools.event_handler import Response

from stowage.backups import find_backup
from stowage.backups.limits import limits_of
from stowage.compares.asking import start_compare
from stowage.compares.requests import CompareRequest
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.jobs import Job
from stowage.runs.store import tenant_of
from stowage.tenants import find_tenant

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[Job], ("Location", "Retry-After")),),
    refuses=(409, 410),
    reads=("Idempotency-Key",),
)


@app.post("/api/backup/<backup_id>/compare")
def compare_backup(caller: Caller, backup_id: Id, request: CompareRequest | None = None) -> Response[Data[Job]]:
    """Ask for a job that finds which records the backup and the live tenant do not share; kept for 24 hours."""
    backup = find_backup(caller.must_see_run(tenant_of(backup_id)), backup_id)
    caller.limits = limits_of(caller.source_ip, backup.tenant)
    job = start_compare(
        backup,
        find_tenant(backup.tenant, caller.now),
        caller.identity,
        request or CompareRequest(),
        caller.now,
        key=caller.idempotency_key,
        limits=caller.limits,
    )
    return json_response(Data(data=job), 202, {"Location": f"/api/jobs/{job.id}", "Retry-After": "2"})
