"""Asking for a run, once: with an Idempotency-Key the same request gives the first answer again (docs/api.md).

The key's item is written in the transaction that makes the run, so there is never a key without its run, nor a moment
in which the first request is in flight.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from stowage.access.idempotency import IdempotencyKey
from stowage.access.limits import Limit
from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError, Put, Write
from stowage.basics.errors import ConflictError, UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.record import Run
from stowage.runs.store import create_run

KEYS_LIVE = timedelta(hours=24)
LONGEST_SHOWN = 4_000
"""A value of a request that is longer as JSON is not kept for showing."""


def as_sent(request: BaseModel, **named: str) -> str:
    """A request as JSON, as a job shows it: the ids that its path `named`, and the fields that were sent.

    A value of more than 4,000 characters becomes null, so that lists of jobs stay small.
    """
    sent = request.model_dump(mode="json", exclude_unset=True, by_alias=True)
    return json.dumps(named | {name: value if _is_short(value) else None for name, value in sent.items()})


def _is_short(value: object) -> bool:
    return len(json.dumps(value)) <= LONGEST_SHOWN


def kept_answer(key: IdempotencyKey, now: datetime) -> dict[str, Any] | None:
    """The first answer, if this key was used within a day; ConflictError if it was used with another body."""
    item = table.get(*_item_key(key))
    if item is None or item["expires_at"] <= rfc3339(now):
        return None
    if item["body"] != key.body_sha256.hex():
        raise ConflictError("This Idempotency-Key was used with another request.", "idempotency_mismatch")
    answer: dict[str, Any] = json.loads(item["answer"])
    return answer


def keep_answer(key: IdempotencyKey, answer: dict[str, Any], now: datetime) -> Put:
    """The write that keeps the first answer, refused when there is one that still lives."""
    pk, sk = _item_key(key)
    expires = now + KEYS_LIVE
    return Put(
        {
            "pk": pk,
            "sk": sk,
            "body": key.body_sha256.hex(),
            "answer": json.dumps(answer),
            "expires_at": rfc3339(expires),
            "ttl": int(expires.timestamp()),
        },
        when={"expires_at": Below(rfc3339(now))},
    )


def _item_key(key: IdempotencyKey) -> tuple[str, str]:
    named = json.dumps([key.caller, key.route, key.key])
    return f"T#{key.tenant}", "ONCE#" + hashlib.sha256(named.encode()).hexdigest()


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
    if key and (kept := kept_answer(key, now)):
        return kept
    made = answer()
    writes: list[Write] = [limit.take(now) for limit in limits]
    if key:
        writes.append(keep_answer(key, made, now))
    try:
        create_run(run, now, writes)
    except ConditionFailedError as error:
        if key and (kept := kept_answer(key, now)):
            return kept
        for place, limit in enumerate(limits):
            if place in error.failed:
                raise limit.refusal(limit_message, now) from None
        raise UnavailableError("Two requests at once; send this one again.", retry_after=1) from error
    return made
