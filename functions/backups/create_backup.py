"""POST /api/backup/export: start a backup of a tenant."""

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from stowage import backups
from stowage.backups.limits import count_request
from stowage.backups.records import BackupCreated, BackupRequest
from stowage.entry.http import Caller, http_app, json_response

app = http_app("admin")


class Answer(BaseModel):
    """The envelope of the backup routes."""

    data: BackupCreated


@app.post("/api/backup/export")
def create_backup(caller: Caller, request: BackupRequest) -> Response[Answer]:
    """Ask for a dump of exactly one tenant's schema."""
    tenant = caller.tenant_named(request.project_id)
    count_request(tenant.id, caller.source_ip, caller.now, caller.answer_headers)
    created = backups.create_backup(tenant, caller.identity, request, caller.now, key=caller.idempotency_key)
    return json_response(Answer(data=created), 202, {"Location": f"/api/jobs/{created.job_id}", "Retry-After": "2"})
