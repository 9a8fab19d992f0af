"""The Idempotency-Key of a request.

The same key with the same body gets the first answer again. Keys live for 24 hours, per tenant,
caller, method and route; refusals are not kept. An edit keeps its answer in Postgres, in the
transaction of the change; a run keeps it in the table, with its record.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class IdempotencyKey:
    """One caller's key for one operation of a tenant (`route` as `POST bulk/delete`), and the body's digest."""

    tenant: str
    caller: str
    route: str
    key: str
    body_sha256: bytes

    @classmethod
    def of(
        cls, tenant: str, caller: str, route: str, key: str | None, body: bytes | Mapping[str, object]
    ) -> "IdempotencyKey | None":
        """The key of a request, or None where it has none. `body` is the raw body, or the fields read from it."""
        if key is None:
            return None
        text = body if isinstance(body, bytes) else json.dumps(body, sort_keys=True, default=str).encode()
        return cls(tenant, caller, route, key, hashlib.sha256(text).digest())
