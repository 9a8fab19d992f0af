"""The Idempotency-Key of a request: whose it is, for what, and with which body it came.

The same key with the same body gets the first answer again; keys live for 24 hours, per tenant,
caller, method and route; refusals are not kept. Where the answer lies is the business of whoever
changes something: beside the change in Postgres, or in the table with the run that was asked for.
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
        """That key, or None where the request has none; `body` is the request as it came or as it was read."""
        if key is None:
            return None
        text = body if isinstance(body, bytes) else json.dumps(body, sort_keys=True, default=str).encode()
        return cls(tenant, caller, route, key, hashlib.sha256(text).digest())
