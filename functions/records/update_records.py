"""PATCH /api/v1/bulk/{entity}: change up to 10,000 records, each its own fields."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import writable_entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, RawBody, http_app
from stowage.postgres.session.edit import Edit
from stowage.records.shapes import RecordUpdates, RecordUpdatesAnswer

app = http_app(
    "operator",
    answers=(Answer(200, RecordUpdatesAnswer), Answer(207, RecordUpdatesAnswer)),
    reads=("X-Tenant-Id", "Idempotency-Key"),
    body=RecordUpdates,
)


@app.patch("/api/v1/bulk/<entity>")
def update_records(caller: Caller, entity: str, body: RawBody) -> Response[str]:
    """Change what can be changed and tell of each what could not."""
    declared = writable_entity_at(entity)
    answer = records.change_records(Edit.by(caller, caller.tenant_named(None)), declared, body)
    return Response(answer.status, "application/json", answer.body)
