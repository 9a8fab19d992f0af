"""GET /api/v1/{entity}/{id}: one record."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.records.answers import envelope, etag, is_known
from stowage.records.shapes import RecordAnswer

app = http_app(
    answers=(
        Answer(200, RecordAnswer, ("ETag", "Cache-Control")),
        Answer(304, None, ("ETag", "Cache-Control")),
    ),
    refuses=(413,),
    reads=("X-Tenant-Id", "If-None-Match"),
)


@app.get("/api/v1/<entity>/<id>")
def get_record(caller: Caller, entity: str, id: str) -> Response[str | None]:
    """Show a record with its entity tag; 304 to who has it already."""
    declared = entity_at(entity)
    record = records.read_record(caller.tenant_named(None), declared, records.clean_id(declared, id))
    headers = {"ETag": etag(record), "Cache-Control": "no-cache"}
    if is_known(etag(record), caller.headers.get("if-none-match")):
        return Response(304, headers=headers)
    return Response(200, "application/json", envelope(record), headers)
