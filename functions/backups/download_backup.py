"""GET /api/backup/{id}/download: a backup's file."""

from aws_lambda_powertools.event_handler import Response

from stowage import backups
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, http_app
from stowage.runs.store import tenant_of

app = http_app("admin", answers=(Answer(302, None, ("Location", "Cache-Control")),), refuses=(409, 410))


@app.get("/api/backup/<backup_id>/download")
def download_backup(caller: Caller, backup_id: Id) -> Response[None]:
    """Answer 302 with a link that is good for 15 minutes; every use is audited."""
    tenant = caller.must_see_run(tenant_of(backup_id))
    run = backups.find_backup(tenant, backup_id)
    link = backups.download_link(run, caller.identity, caller.source_ip, caller.now)
    return Response(302, headers={"Location": link, "Cache-Control": "no-store"})
