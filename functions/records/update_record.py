"""PATCH /api/v1/{entity}/{id}: change a record."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import writable_entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, RawBody, http_app
from stowage.postgres.session.edit import Edit
from stowage.records.answers import envelope, etag
from stowage.records.shapes import ChangedRecord, RecordAnswer

app = http_app(
    "operator",
    answers=(Answer(200, RecordAnswer, ("ETag",)),),
    refuses=(409,),
    reads=("X-Tenant-Id", "If-Match"),
    body=ChangedRecord,
)


@app.patch("/api/v1/<entity>/<id>")
def update_record(caller: Caller, entity: str, id: str, body: RawBody) -> Response[str]:
    """Change the fields that the body names, if the record still is what `If-Match` says."""
    declared = writable_entity_at(entity)
    edit, if_match = Edit.by(caller, caller.tenant_named(None)), caller.headers.get("if-match")
    record = records.change_record(edit, declared, records.clean_id(declared, id), body, if_match)
    return Response(200, "application/json", envelope(record), {"ETag": etag(record)})
