"""GET bulk/operations: what was changed in bulk."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage import bulk
from stowage.bulk.listing import OperationPage
from stowage.entry.http import Caller, WholeNumber, http_app

app = http_app()


@app.get("/api/guilds/<guild_id>/bulk/operations")
def list_operations(
    caller: Caller,
    page: Annotated[WholeNumber, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> OperationPage:
    """Show a page of bulk operations, newest first."""
    return bulk.read_operations(caller.tenant, page, limit)
