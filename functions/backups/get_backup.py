"""GET /api/backup/{id}: one backup with its manifest."""

from pydantic import BaseModel

from stowage import backups
from stowage.backups.records import BackupDetail
from stowage.entry.http import Caller, Id, http_app
from stowage.runs.store import tenant_of

app = http_app()


class Answer(BaseModel):
    """The envelope of the backup routes."""

    data: BackupDetail


@app.get("/api/backup/<backup_id>")
def get_backup(caller: Caller, backup_id: Id) -> Answer:
    """Show one backup; its tenant is the backup's own."""
    tenant = caller.must_see_run(tenant_of(backup_id))
    return Answer(data=backups.read_backup(backups.find_backup(tenant, backup_id)))
