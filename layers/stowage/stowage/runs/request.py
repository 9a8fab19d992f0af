"""Asking for a run, once: with an Idempotency-Key the same request gives the first answer again (CONTRACT §0).

The key's item is written in the transaction that makes the run, so there is never a key without its run, nor a moment
in which the first request is in flight.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stowage.access.limits import Limit
from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError, Put, Write
from stowage.basics.errors import ConflictError, UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.record import Run
from stowage.runs.store import create_run

KEYS_LIVE = timedelta(hours=24)


@dataclass(frozen=True)
class IdempotencyKey:
    """A caller's key for one operation on a tenant, with the body it came with."""

    tenant: str
    sub: str
    operation: str
    key: str
    body: dict[str, Any]

    @property
    def item_key(self) -> tuple[str, str]:
        """Where the first answer is kept."""
        return f"T#{self.tenant}", "ONCE#" + _digest([self.sub, self.operation, self.key])

    def kept_answer(self, now: datetime) -> dict[str, Any] | None:
        """The first answer, if this key was used within a day; ConflictError when it came with another body."""
        item = table.get(*self.item_key)
        if item is None or item["expires_at"] <= rfc3339(now):
            return None
        if item["body"] != _digest(self.body):
            raise ConflictError("This Idempotency-Key was used with another request.", "idempotency_mismatch")
        answer: dict[str, Any] = json.loads(item["answer"])
        return answer

    def keep(self, answer: dict[str, Any], now: datetime) -> Put:
        """The write that keeps the first answer, refused when there is one that still lives."""
        pk, sk = self.item_key
        expires = now + KEYS_LIVE
        return Put(
            {
                "pk": pk,
                "sk": sk,
                "body": _digest(self.body),
                "answer": json.dumps(answer),
                "expires_at": rfc3339(expires),
                "ttl": int(expires.timestamp()),
            },
            when={"expires_at": Below(rfc3339(now))},
        )


def request_run(
    run: Run,
    now: datetime,
    answer: Callable[[], dict[str, Any]],
    *,
    key: IdempotencyKey | None = None,
    limits: Sequence[Limit] = (),
    limit_message: str = "",
) -> dict[str, Any]:
    """Create a run and return its answer, or the answer that the same key was given before.

    RateLimitedError when one of the limits is used up. Only what makes a run counts: no repetition, no refusal.
    """
    if key and (kept := key.kept_answer(now)):
        return kept
    made = answer()
    writes: list[Write] = [limit.take(now) for limit in limits]
    if key:
        writes.append(key.keep(made, now))
    try:
        create_run(run, now, writes)
    except ConditionFailedError as error:
        if key and (kept := key.kept_answer(now)):
            return kept
        for place, limit in enumerate(limits):
            if place in error.failed:
                raise limit.refusal(limit_message, now) from None
        raise UnavailableError("Two requests at once; send this one again.", retry_after=1) from error
    return made


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
