"""DELETE /api/backup/{id}: take away a backup's file and record."""

from aws_lambda_powertools.event_handler import Response

from stowage import backups
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, http_app
from stowage.runs.store import tenant_of

app = http_app("admin", answers=(Answer(204),), refuses=(409,))


@app.delete("/api/backup/<backup_id>")
def delete_backup(caller: Caller, backup_id: Id, force: bool = False) -> Response[None]:
    """Delete an ended backup for good; the newest verified one only with `force`."""
    backup = backups.find_backup(caller.must_see_run(tenant_of(backup_id)), backup_id)
    backups.delete_backup(backup, caller.identity, caller.now, force=force)
    return Response(204)
