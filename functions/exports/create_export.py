"""POST exports: start an export."""

from aws_lambda_powertools.event_handler import Response

from stowage import exports
from stowage.basics.ids import encode_id
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app, json_response
from stowage.exports.records import CreatedExport, ExportRequest

app = http_app(
    "operator",
    limits=lambda caller: exports.limits_of(caller.tenant_id, caller.sub),
    answers=(Answer(202, CreatedExport, ("Location", "Retry-After")),),
    reads=("Idempotency-Key",),
)


@app.post("/api/guilds/<guild_id>/exports")
def create_export(caller: Caller, request: ExportRequest) -> Response[CreatedExport]:
    """Ask for an export of one entity, of the audit log, or of everything the tenant holds."""
    caller.limits = exports.limits_of(caller.tenant_id, caller.sub, request)
    created = exports.create_export(
        caller.tenant, caller.identity, request, caller.now, caller.base_url, key=caller.idempotency_key
    )
    location = f"{caller.path}/{encode_id(created.id)}"
    return json_response(created, 202, {"Location": location, "Retry-After": "2"})
