"""GET /api/backup/{id}: one backup with its manifest."""

from stowage import backups
from stowage.backups.records import BackupDetail
from stowage.entry.http import Caller, Data, Id, http_app
from stowage.runs.store import tenant_of

app = http_app()


@app.get("/api/backup/<backup_id>")
def get_backup(caller: Caller, backup_id: Id) -> Data[BackupDetail]:
    """Show one backup; its tenant is the backup's own."""
    tenant = caller.must_see_run(tenant_of(backup_id))
    return Data(data=backups.read_backup(backups.find_backup(tenant, backup_id), caller.now))
