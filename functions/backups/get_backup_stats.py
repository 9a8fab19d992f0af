"""GET /api/backup/stats: what became of backups, and what is kept of them."""

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.protection.fleet import read_stats
from stowage.protection.records import BackupStats, tag_of

app = http_app(
    answers=(
        Answer(200, Data[BackupStats], ("ETag", "Cache-Control")),
        Answer(304, None, ("ETag", "Cache-Control")),
    ),
    reads=("X-Tenant-Id", "If-None-Match"),
)


@app.get("/api/backup/stats")
def get_backup_stats(caller: Caller, project_id: str | None = None) -> Response[Data[BackupStats] | None]:
    """Sum up the backups of one tenant, or of all that the caller may see; 304 to who knows them already."""
    stats = read_stats(caller.tenants_spanned(project_id), caller.tenant_ids(project_id), caller.now)
    headers = {"ETag": tag_of(stats), "Cache-Control": "no-cache"}
    if caller.has(headers["ETag"]):
        return Response(304, headers=headers)
    return json_response(Data(data=stats), 200, headers)
