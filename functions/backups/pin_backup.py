"""POST /api/backup/{id}/pin: keep a backup from being expired or deleted."""

from aws_lambda_powertools.event_handler import Response

from stowage import backups
from stowage.backups.records import Backup
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.runs.store import tenant_of

app = http_app("admin", answers=(Answer(200, Data[Backup]),), refuses=(409, 410))


@app.post("/api/backup/<backup_id>/pin")
def pin_backup(caller: Caller, backup_id: Id) -> Response[Data[Backup]]:
    """Keep a backup from being expired or deleted."""
    backup = backups.find_backup(caller.must_see_run(tenant_of(backup_id)), backup_id)
    return json_response(Data(data=backups.pin_backup(backup, caller.identity, caller.now)), 200)
