"""POST /api/backup/{id}/verify: prove that a stored backup is whole."""

from aws_lambda_powertools.event_handler import Response

from stowage.backups import find_backup
from stowage.backups.limits import limits_of
from stowage.backups.records import VerifyRequest
from stowage.backups.verification import start_verification
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.jobs import Job
from stowage.runs.store import tenant_of

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[Job], ("Location", "Retry-After")),),
    refuses=(409, 410),
    reads=("Idempotency-Key",),
)


@app.post("/api/backup/<backup_id>/verify")
def verify_backup(caller: Caller, backup_id: Id, request: VerifyRequest | None = None) -> Response[Data[Job]]:
    """Ask for a job that reads the backup to its end; it fails where the backup is damaged."""
    backup = find_backup(caller.must_see_run(tenant_of(backup_id)), backup_id)
    caller.limits = limits_of(caller.source_ip, backup.tenant)
    job = start_verification(
        backup,
        caller.identity,
        request or VerifyRequest(),
        caller.now,
        key=caller.idempotency_key,
        limits=caller.limits,
    )
    return json_response(Data(data=job), 202, {"Location": f"/api/jobs/{job.id}", "Retry-After": "2"})
