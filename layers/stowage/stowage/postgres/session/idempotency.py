"""Requests with an Idempotency-Key that write Postgres: their answers, kept in the change's own transaction."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from stowage.access.idempotency import IdempotencyKey
from stowage.basics.errors import ConflictError


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
    locked = connection.execute(_LOCK, _primary_key(key)).fetchone()
    if locked != (True,):
        raise ConflictError(
            "The first request with this Idempotency-Key is still being answered.",
            "idempotency_in_progress",
            retry_after=1,
        )
    kept = connection.execute(_KEPT, _primary_key(key)).fetchone()
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


def keep(connection: psycopg.Connection, key: IdempotencyKey | None, answer: KeptAnswer) -> None:
    """Keep an answer for 24 hours, in the transaction that made the change; nothing without a key."""
    if key is not None:
        given = {"body_sha256": key.body_sha256, "status": answer.status, "body": answer.body}
        connection.execute(_KEEP, _primary_key(key) | given)


def _primary_key(key: IdempotencyKey) -> dict[str, object]:
    method, _, route = key.route.partition(" ")
    return {"tenant": key.tenant, "caller": key.caller, "method": method, "route": route, "key": key.key}
