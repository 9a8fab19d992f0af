"""POST /api/backup/estimate: how large a backup would be."""

from pydantic import BaseModel

from stowage.backups.estimating import BackupEstimate, estimate_backup
from stowage.backups.records import BackupRequest
from stowage.entry.http import Caller, http_app

app = http_app("admin")


class Answer(BaseModel):
    """The envelope of the backup routes."""

    data: BackupEstimate


@app.post("/api/backup/estimate")
def estimate(caller: Caller, request: BackupRequest) -> Answer:
    """Read the catalog, without starting anything."""
    return Answer(data=estimate_backup(caller.tenant_named(request.project_id), request))
