"""POST /api/backup/settings/test: whether notices arrive."""

from aws_lambda_powertools.event_handler import Response

from stowage.access.limits import take_all
from stowage.backups.limits import TOO_MANY, limits_of
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.notices.trying import NoticesTest, TriedNotices, try_channels

app = http_app(
    "admin",
    limits=lambda caller: limits_of(caller.source_ip),
    answers=(Answer(200, Data[TriedNotices]),),
    reads=("X-Tenant-Id",),
)


@app.post("/api/backup/settings/test")
def try_backup_settings(
    caller: Caller, request: NoticesTest, project_id: str | None = None
) -> Response[Data[TriedNotices]]:
    """Send a message to everyone that these notices name, and say what became of each."""
    tenant = caller.tenant_named(project_id)
    caller.limits = limits_of(caller.source_ip, tenant.id)
    take_all(caller.limits, TOO_MANY, caller.now)
    return json_response(Data(data=try_channels(tenant, caller.identity, request, caller.now)), 200)
