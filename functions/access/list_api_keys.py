"""GET /api/v1/api-keys: a tenant's API keys."""

from stowage import api_keys
from stowage.api_keys.records import ApiKeyList
from stowage.entry.http import Caller, http_app

app = http_app("admin", reads=("X-Tenant-Id",))


@app.get("/api/v1/api-keys")
def list_api_keys(caller: Caller) -> ApiKeyList:
    """List the keys, newest first, with when each was last used; never the keys themselves."""
    return ApiKeyList(success=True, data=api_keys.list_keys(caller.tenant_named(None), caller.identity))
