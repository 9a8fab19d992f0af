"""DELETE trash/{itemId}: delete a record for good."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import BaseModel

from stowage.basics.ids import encode_id
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit
from stowage.trash.deleting import delete_item
from stowage.trash.items import ItemId

app = http_app("admin", refuses=(409, 410))


class PurgedItem(BaseModel):
    """What was deleted."""

    success: bool
    id: str


@app.delete("/api/guilds/<guild_id>/trash/<item_id>")
def delete_trash_item(
    caller: Caller, item_id: ItemId, data_type: Annotated[str | None, Query(alias="dataType")] = None
) -> PurgedItem:
    """Delete a record of the trash for good, with what went along."""
    deleted = delete_item(Edit.by(caller, caller.tenant), item_id, data_type)
    return PurgedItem(success=True, id=encode_id(deleted))
