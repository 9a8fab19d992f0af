"""Asking for a run about a backup, or about another run: verify, compare, restore, take back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stowage import jobs
from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups.limits import TOO_MANY
from stowage.runs.actions import must_be_able
from stowage.runs.record import Run
from stowage.runs.request import request_run
from stowage.runs.store import WAITING


@for_role("admin")
def ask(
    run: Run,
    action: str,
    about: Run,
    identity: Identity,
    now: datetime,
    *,
    route: str,
    body: Any,
    key: str | None,
    limits: Sequence[Limit],
    told: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask for a run that does `action` with another one; its job and what is `told` beside, or the first answer again.

    `route` and `body` are what an Idempotency-Key goes by. ForbiddenError, ConflictError and GoneError as the action
    has them, RateLimitedError.
    """

    def answer() -> dict[str, Any]:
        must_be_able(action, about, identity, now)
        return {**jobs.job(run, identity, now, progress=WAITING).model_dump(), **(told or {})}

    once = IdempotencyKey.of(run.tenant, identity.sub, route, key, body)
    return request_run(run, now, answer, key=once, limits=limits, limit_message=TOO_MANY)
