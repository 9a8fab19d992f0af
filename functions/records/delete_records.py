"""POST /api/v1/bulk/{entity}/delete: move up to 10,000 records to the trash."""

from aws_lambda_powertools.event_handler import Response

from stowage.entities.declared import writable_entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit
from stowage.records.deleting import RecordIds, bulk_delete
from stowage.records.shapes import DeletedRecordsAnswer

app = http_app(
    "operator",
    answers=(Answer(200, DeletedRecordsAnswer), Answer(207, DeletedRecordsAnswer)),
    reads=("X-Tenant-Id", "Idempotency-Key"),
)


@app.post("/api/v1/bulk/<entity>/delete")
def delete_records(caller: Caller, entity: str, request: RecordIds) -> Response[str]:
    """Delete what can be deleted and tell of each what could not."""
    declared = writable_entity_at(entity)
    answer = bulk_delete(Edit.by(caller, caller.tenant_named(None)), declared, request)
    return Response(answer.status, "application/json", answer.body)
