"""POST /api/v1/api-keys: make an API key."""

from aws_lambda_powertools.event_handler import Response

from stowage import api_keys
from stowage.api_keys.records import MadeApiKey, WantedApiKey
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app, json_response

app = http_app("admin", answers=(Answer(201, MadeApiKey),), refuses=(409,), reads=("X-Tenant-Id", "Idempotency-Key"))


@app.post("/api/v1/api-keys")
def create_api_key(caller: Caller, request: WantedApiKey) -> Response[MadeApiKey]:
    """Make a key that acts with its role in one tenant; it is shown this once."""
    tenant = caller.tenant_named(None)
    made = api_keys.create_key(tenant, caller.identity, request, caller.now, caller.idempotency_key)
    return json_response(made, 201)
