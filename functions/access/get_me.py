"""GET /api/v1/me: who the caller is."""

from pydantic import BaseModel

from stowage.access.identity import Role
from stowage.basics.ids import rfc3339
from stowage.entry.http import Caller, http_app

app = http_app()


class Me(BaseModel):
    """The caller as the token has it; `tenants` is `["*"]` for every tenant."""

    sub: str
    role: Role
    tenants: list[str]
    expiresAt: str


@app.get("/api/v1/me")
def get_me(caller: Caller) -> Me:
    """Tell a page whose session it runs in."""
    identity = caller.identity
    expires = rfc3339(identity.expires_at)
    return Me(sub=identity.sub, role=identity.role, tenants=sorted(identity.tenants), expiresAt=expires)
