"""POST /api/backup/settings/preview: what settings would come to."""

from aws_lambda_powertools.event_handler import Response

from stowage import schedules
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.schedules.records import BackupSettings, SettingsPreview

app = http_app("admin", answers=(Answer(200, Data[SettingsPreview]),), reads=("X-Tenant-Id",))


@app.post("/api/backup/settings/preview")
def preview_backup_settings(
    caller: Caller, request: BackupSettings, project_id: str | None = None
) -> Response[Data[SettingsPreview]]:
    """Tell when a tenant's next backups would be due; nothing is changed."""
    preview = schedules.preview(caller.tenant_named(project_id), caller.identity, request, caller.now)
    return json_response(Data(data=preview), 200)
