"""GET exports: a tenant's exports, newest first."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage import exports
from stowage.entry.http import Caller, WholeNumber, http_app
from stowage.exports.records import ExportPage

app = http_app()


@app.get("/api/guilds/<guild_id>/exports")
def list_exports(
    caller: Caller,
    page: Annotated[WholeNumber, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> ExportPage:
    """Show a page of exports with what is left of the caller's quotas."""
    return exports.list_exports(caller.tenant.id, caller.identity, caller.now, page, limit, caller.base_url)
