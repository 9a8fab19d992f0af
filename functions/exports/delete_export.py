"""DELETE exports/{exportId}: take away an export's file and record."""

from pydantic import BaseModel

from stowage import exports
from stowage.entry.http import Caller, Id, http_app

app = http_app("operator", refuses=(409,))


class DeletedExport(BaseModel):
    """What was deleted."""

    success: bool
    id: str


@app.delete("/api/guilds/<guild_id>/exports/<export_id>")
def delete_export(caller: Caller, export_id: Id) -> DeletedExport:
    """Delete an ended export; its links die with it."""
    return DeletedExport(
        success=True, id=exports.delete_export(caller.tenant_id, caller.identity, export_id, caller.now)
    )
