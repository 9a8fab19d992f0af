"""GET /api/v1/{entity}: a page of an entity's records."""

from aws_lambda_powertools.event_handler import Response

from stowage import records
from stowage.entities.declared import entity_at
from stowage.entry.http import Caller, Query, http_app

app = http_app("viewer", open_query=True)


@app.get("/api/v1/<entity>")
def list_records(caller: Caller, entity: str, query: Query) -> Response[str]:
    """Filter by declared fields, sort by any of them; newest first."""
    declared = entity_at(entity)
    return Response(200, "application/json", records.list_records(caller.tenant_named(None), declared, query))
