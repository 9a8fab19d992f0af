"""GET trash: what was deleted and can come back."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.entry.http import Caller, WholeNumber, http_app
from stowage.trash.items import TrashPage
from stowage.trash.listing import read_trash

app = http_app()


@app.get("/api/guilds/<guild_id>/trash")
def list_trash(
    caller: Caller,
    type: str | None = None,
    page: Annotated[WholeNumber, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> TrashPage:
    """Show a page of the trash, newest first: of one type, or of accounts and posts together."""
    return read_trash(caller.tenant, caller.now, type, page, limit)
