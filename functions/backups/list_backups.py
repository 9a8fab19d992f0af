"""GET /api/backup: a tenant's backups, newest first."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage import backups
from stowage.backups.records import BackupPage
from stowage.entry.http import Caller, WholeNumber, http_app

app = http_app(reads=("X-Tenant-Id",))


@app.get("/api/backup")
def list_backups(
    caller: Caller,
    project_id: str | None = None,
    status: Literal["pending", "running", "completed", "failed", "cancelled", "expired"] | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
    offset: Annotated[WholeNumber, Query(ge=0, le=10_000)] = 0,
) -> BackupPage:
    """Show a page of backups, expired ones included."""
    return backups.list_backups(caller.tenant_named(project_id).id, caller.now, status, offset, limit)
