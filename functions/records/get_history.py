"""GET /api/v1/{entity}/{id}/history: what happened to a record."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.audit.reading import HistoryPage, read_history
from stowage.entities.declared import entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, WholeNumber, http_app
from stowage.records import clean_id

app = http_app("admin", answers=(Answer(200, HistoryPage),), reads=("X-Tenant-Id",))


@app.get("/api/v1/<entity>/<id>/history")
def get_history(
    caller: Caller,
    entity: str,
    id: str,
    cursor: str | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> Response[str]:
    """Show a page of a record's life, newest first, wherever the record is now."""
    declared = entity_at(entity)
    tenant = caller.tenant_named(None)
    body = read_history(tenant, caller.identity, declared, clean_id(declared, id), cursor, limit)
    return Response(200, "application/json", body)
