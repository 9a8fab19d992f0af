"""POST /api/backup/estimate: how large a backup would be."""

from stowage.backups.estimating import BackupEstimate, estimate_backup
from stowage.backups.records import BackupRequest
from stowage.entry.http import Caller, Data, http_app

app = http_app("admin", refuses=(409,), reads=("X-Tenant-Id",))


@app.post("/api/backup/estimate")
def estimate(caller: Caller, request: BackupRequest) -> Data[BackupEstimate]:
    """Read the catalog, without starting anything."""
    return Data(data=estimate_backup(caller.tenant_named(request.project_id), caller.identity, request))
