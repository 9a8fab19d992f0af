"""GET /api/v1/tenants: the caller's tenants."""

from pydantic import BaseModel

from stowage.entry.http import Caller, http_app

app = http_app()


class TenantEntry(BaseModel):
    """A tenant: `id` is the dashboards' guild id and the backup routes' project id."""

    id: str
    slug: str
    name: str


class TenantList(BaseModel):
    """The envelope of the v1 routes."""

    success: bool
    data: list[TenantEntry]


@app.get("/api/v1/tenants")
def list_tenants(caller: Caller) -> TenantList:
    """List the tenants that the token names and that exist."""
    return TenantList(success=True, data=[TenantEntry(id=t.id, slug=t.slug, name=t.name) for t in caller.tenants()])
