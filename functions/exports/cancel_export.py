"""POST exports/{exportId}/cancel: stop an export."""

from aws_lambda_powertools.event_handler import Response

from stowage import exports
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, http_app, json_response
from stowage.exports.records import ExportRecord

app = http_app("operator", answers=(Answer(202, ExportRecord),), refuses=(409,))


@app.post("/api/guilds/<guild_id>/exports/<export_id>/cancel")
def cancel_export(caller: Caller, export_id: Id) -> Response[ExportRecord]:
    """Ask a running export to stop, or take a waiting one out of the queue."""
    record = exports.cancel_export(caller.tenant_id, caller.identity, export_id, caller.now, caller.base_url)
    return json_response(record, 202)
