"""POST /api/v1/{entity}: make a record."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import writable_entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, RawBody, http_app
from stowage.postgres.session.edit import Edit
from stowage.records.answers import data_of, etag, id_of
from stowage.records.shapes import NewRecord, RecordAnswer

app = http_app(
    "operator",
    answers=(Answer(201, RecordAnswer, ("Location", "ETag")),),
    reads=("X-Tenant-Id", "Idempotency-Key"),
    body=NewRecord,
)


@app.post("/api/v1/<entity>")
def create_record(caller: Caller, entity: str, body: RawBody) -> Response[str]:
    """Make one record; its id may be given."""
    declared = writable_entity_at(entity)
    answer = records.create_record(Edit.by(caller, caller.tenant_named(None)), declared, body)
    record = data_of(answer.body)
    headers = {"Location": f"/api/v1/{entity}/{id_of(record)}", "ETag": etag(record)}
    return Response(answer.status, "application/json", answer.body, headers)
