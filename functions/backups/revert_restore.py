"""POST /api/backup/restore/{job_id}/revert: the schema as it was before a restore in place."""

from aws_lambda_powertools.event_handler import Response

from stowage.backups.limits import limits_of
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.restores import start_revert
from stowage.restores.records import RestoreJob
from stowage.runs.kinds import RESTORE
from stowage.runs.store import read_run, tenant_of
from stowage.tenants import find_tenant

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(202, Data[RestoreJob], ("Location", "Retry-After")),),
    refuses=(409, 410),
    reads=("Idempotency-Key",),
)


@app.post("/api/backup/restore/<job_id>/revert")
def revert_restore(caller: Caller, job_id: Id) -> Response[Data[RestoreJob]]:
    """Ask for a job that swaps back what a restore in place has put aside, within 7 days."""
    restored = read_run(caller.must_see_run(tenant_of(job_id)), job_id, RESTORE.history)
    tenant = find_tenant(restored.tenant, caller.now)
    caller.limits = limits_of(caller.source_ip, tenant.id)
    job = start_revert(restored, tenant, caller.identity, caller.now, key=caller.idempotency_key, limits=caller.limits)
    return json_response(Data(data=job), 202, {"Location": f"/api/jobs/{job.id}", "Retry-After": "2"})
