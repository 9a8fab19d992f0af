"""POST trash/{itemId} and POST trash/{itemId}/restore: take a record out of the trash."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit
from stowage.trash.items import ItemId, RestoredItem, RestoreRequest
from stowage.trash.restoring import restore_item

app = http_app("operator", answers=(Answer(200, RestoredItem),), refuses=(410,), reads=("Idempotency-Key",))


@app.post("/api/guilds/<guild_id>/trash/<item_id>")
@app.post("/api/guilds/<guild_id>/trash/<item_id>/restore")
def restore_trash_item(
    caller: Caller, item_id: ItemId, request: Annotated[RestoreRequest | None, Body()] = None
) -> Response[str]:
    """Restore a record with what went along; `rename` where its name is taken by now."""
    answer = restore_item(Edit.by(caller, caller.tenant), item_id, request or RestoreRequest())
    return Response(answer.status, "application/json", answer.body)
