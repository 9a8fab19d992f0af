"""POST /api/v1/import/{entity}: save up to 10,000 records, all or those that are good."""

from aws_lambda_powertools.event_handler import Response

from stowage.entities.declared import writable_entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, RawBody, http_app
from stowage.imports.items import import_items
from stowage.postgres.session.edit import Edit
from stowage.records.shapes import RecordImport, RecordImportAnswer

app = http_app(
    "operator", answers=(Answer(201, RecordImportAnswer),), reads=("X-Tenant-Id", "Idempotency-Key"), body=RecordImport
)


@app.post("/api/v1/import/<entity>")
def import_records(caller: Caller, entity: str, body: RawBody) -> Response[str]:
    """Save the items of the body in one transaction."""
    declared = writable_entity_at(entity)
    answer = import_items(Edit.by(caller, caller.tenant_named(None)), declared, body)
    return Response(answer.status, "application/json", answer.body)
