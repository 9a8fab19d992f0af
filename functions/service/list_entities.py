"""GET /api/v1/entities: the declared entities."""

from stowage.entities.describing import EntityList, describe_entities
from stowage.entry.http import Caller, http_app

app = http_app()


@app.get("/api/v1/entities")
def list_entities(_caller: Caller) -> EntityList:
    """List the entities: fields with types, filters, what the trash and the bulk routes offer."""
    return describe_entities()
