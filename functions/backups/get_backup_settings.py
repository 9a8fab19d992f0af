"""GET /api/backup/settings: when and how a tenant is backed up."""

from aws_lambda_powertools.event_handler import Response

from stowage import schedules
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, http_app, json_response
from stowage.schedules.records import CurrentSettings

app = http_app(answers=(Answer(200, Data[CurrentSettings], ("ETag",)),), reads=("X-Tenant-Id",))


@app.get("/api/backup/settings")
def get_backup_settings(caller: Caller, project_id: str | None = None) -> Response[Data[CurrentSettings]]:
    """Tell a tenant's backup settings and its next scheduled backup."""
    settings, tag = schedules.read_settings(caller.tenant_named(project_id))
    return json_response(Data(data=settings), 200, {"ETag": tag})
