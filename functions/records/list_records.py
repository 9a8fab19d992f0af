"""GET /api/v1/{entity}: a page of an entity's records."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Query, http_app
from stowage.records.shapes import LIST_QUERY, RecordPage

app = http_app("viewer", open_query=True, answers=(Answer(200, RecordPage),), reads=("X-Tenant-Id",), query=LIST_QUERY)


@app.get("/api/v1/<entity>")
def list_records(caller: Caller, entity: str, query: Query) -> Response[str]:
    """Filter by declared fields, sort by any of them; newest first."""
    declared = entity_at(entity)
    return Response(200, "application/json", records.list_records(caller.tenant_named(None), declared, query))
