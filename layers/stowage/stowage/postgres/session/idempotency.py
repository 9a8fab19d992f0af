"""Requests with an Idempotency-Key that write Postgres: their answers, kept in the change's own transaction.

CONTRACT §0, Idempotency: the same key with the same body gets the first answer again; keys live for 24 hours, per
tenant, caller, method and route; refusals are not kept.
"""

import hashlib
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from pydantic import BaseModel

from stowage.basics.errors import ConflictError


@dataclass(frozen=True)
class IdempotencyKey:
    """One caller's key for one operation of a tenant (`route` as `POST bulk/delete`), and what the body was."""

    tenant: str
    caller: str
    route: str
    key: str
    body_sha256: bytes

    @classmethod
    def of(cls, tenant: str, caller: str, route: str, key: str | None, body: BaseModel) -> "IdempotencyKey | None":
        """That key, or None where the request has none; `body` is the request as validated."""
        if key is None:
            return None
        return cls(tenant, caller, route, key, hashlib.sha256(body.model_dump_json().encode()).digest())

    @property
    def primary_key(self) -> dict[str, str]:
        """The columns that name it."""
        method, _, route = self.route.partition(" ")
        return {"tenant": self.tenant, "caller": self.caller, "method": method, "route": route, "key": self.key}


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as it was first given: status, and the body as JSON text."""

    status: int
    body: str


# Two statements, because what the first holder has kept shows only to a statement begun after its commit.
_LOCK: LiteralString = """
SELECT pg_try_advisory_xact_lock(hashtextextended(concat_ws(
    E'\\x1f', 'idempotency', %(tenant)s::text, %(caller)s::text, %(method)s::text, %(route)s::text, %(key)s::text
), 0))
"""

_KEPT: LiteralString = """
WITH expired AS (
    DELETE FROM stowage.idempotency_answers
    WHERE tenant = %(tenant)s AND caller = %(caller)s AND method = %(method)s AND route = %(route)s AND key = %(key)s
      AND expires_at <= now()
)
SELECT status, body, body_sha256 FROM stowage.idempotency_answers
WHERE tenant = %(tenant)s AND caller = %(caller)s AND method = %(method)s AND route = %(route)s AND key = %(key)s
  AND expires_at > now()
"""


def replayed(connection: psycopg.Connection, key: IdempotencyKey | None) -> KeptAnswer | None:
    """The answer to give again, or None: then the key is this transaction's until it ends. Call it first.

    ConflictError `idempotency_mismatch` for another body, `idempotency_in_progress` while the first is being answered.
    """
    if key is None:
        return None
    locked = connection.execute(_LOCK, key.primary_key).fetchone()
    if locked != (True,):
        raise ConflictError(
            "The first request with this Idempotency-Key is still being answered.",
            "idempotency_in_progress",
            retry_after=1,
        )
    kept = connection.execute(_KEPT, key.primary_key).fetchone()
    if kept is None:
        return None
    status, body, body_sha256 = kept
    if bytes(body_sha256) != key.body_sha256:
        raise ConflictError("This Idempotency-Key was used with another body.", "idempotency_mismatch")
    return KeptAnswer(status, body)


_KEEP: LiteralString = """
INSERT INTO stowage.idempotency_answers (tenant, caller, method, route, key, body_sha256, status, body)
VALUES (%(tenant)s, %(caller)s, %(method)s, %(route)s, %(key)s, %(body_sha256)s, %(status)s, %(body)s)
"""


def keep(connection: psycopg.Connection, key: IdempotencyKey | None, status: int, body: str) -> None:
    """Keep the answer (JSON text) for 24 hours, in the transaction that made the change; nothing without a key."""
    if key is not None:
        connection.execute(_KEEP, {**key.primary_key, "body_sha256": key.body_sha256, "status": status, "body": body})
