"""DELETE /api/v1/api-keys/{id}: revoke an API key."""

from aws_lambda_powertools.event_handler import Response

from stowage import api_keys
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, http_app

app = http_app("admin", answers=(Answer(204),), reads=("X-Tenant-Id",))


@app.delete("/api/v1/api-keys/<id>")
def delete_api_key(caller: Caller, id: Id) -> Response[None]:
    """Let a key open nothing any more, from the next request on."""
    api_keys.revoke_key(caller.tenant_named(None), caller.identity, id, caller.now)
    return Response(204)
