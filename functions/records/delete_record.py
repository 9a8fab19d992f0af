"""DELETE /api/v1/{entity}/{id}: move a record to the trash."""

from pydantic import BaseModel

from stowage import records
from stowage.basics.ids import encode_id
from stowage.entities.declared import writable_entity_at
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit
from stowage.records.deleting import delete_record

app = http_app("operator", refuses=(409,), reads=("X-Tenant-Id", "If-Match"))


class DeletedId(BaseModel):
    """Which record it was."""

    id: str


class DeletedRecord(BaseModel):
    """A record is in the trash."""

    success: bool = True
    data: DeletedId


@app.delete("/api/v1/<entity>/<id>")
def delete(caller: Caller, entity: str, id: str) -> DeletedRecord:
    """Delete a record if it still is what `If-Match` says; what belongs to it goes along."""
    declared = writable_entity_at(entity)
    raw = records.clean_id(declared, id)
    delete_record(Edit.by(caller, caller.tenant_named(None)), declared, raw, caller.headers.get("if-match"))
    return DeletedRecord(data=DeletedId(id=encode_id(raw)))
