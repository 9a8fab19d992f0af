"""A request that changes records: whose, for which tenant, when, and its body as it came."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from stowage.postgres.edits.inserts import Author
from stowage.postgres.session.idempotency import IdempotencyKey
from stowage.tenants import Tenant


@dataclass(frozen=True)
class WriteRequest:
    """`route` is the operation's own name (`POST tasks`), under which an `idempotency_key` counts."""

    tenant: Tenant
    actor: str
    now: datetime
    body: bytes
    route: str
    idempotency_key: str | None = None

    @property
    def key(self) -> IdempotencyKey | None:
        """The caller's key for this body, if there is one."""
        if self.idempotency_key is None:
            return None
        digest = hashlib.sha256(self.body).digest()
        return IdempotencyKey(self.tenant.id, self.actor, self.route, self.idempotency_key, digest)

    def author(self, operation: str) -> Author:
        """Who it is in the journal."""
        return Author(self.tenant.id, self.tenant.schema, operation, self.actor, self.now)
