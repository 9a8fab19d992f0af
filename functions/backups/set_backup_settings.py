"""PUT /api/backup/settings: set when and how a tenant is backed up."""

from aws_lambda_powertools.event_handler import Response

from stowage import schedules
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.schedules.records import BackupSettings, CurrentSettings

app = http_app("admin", answers=(Answer(200, Data[CurrentSettings], ("ETag",)),), reads=("X-Tenant-Id", "If-Match"))


@app.put("/api/backup/settings")
def set_backup_settings(
    caller: Caller, request: BackupSettings, project_id: str | None = None
) -> Response[Data[CurrentSettings]]:
    """Set all of a tenant's backup settings, if they still are what `If-Match` says."""
    tenant, if_match = caller.tenant_named(project_id), caller.headers.get("if-match")
    settings, tag = schedules.write_settings(tenant, caller.identity, request, caller.now, if_match)
    return json_response(Data(data=settings), 200, {"ETag": tag})
