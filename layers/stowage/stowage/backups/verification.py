"""Verifications of backups: ask for one, and how large it will be."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stowage import jobs
from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups.limits import TOO_MANY
from stowage.backups.records import VerifyRequest
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.actions import must_be_able
from stowage.runs.kinds import VERIFY
from stowage.runs.record import Estimate, Run
from stowage.runs.request import as_sent, request_run
from stowage.runs.store import WAITING


@for_role("admin")
def start_verification(
    backup: Run,
    identity: Identity,
    request: VerifyRequest,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> jobs.Job:
    """Ask for a backup to be verified; the job that will do it.

    BadRequestError `not_supported` for a level that is not there, ConflictError or GoneError where there is no file
    (yet, or any more), RateLimitedError when the minute has no more room.
    """
    if request.level != 2:
        raise BadRequestError(
            "Backups are verified at level 2, by reading the stored file to its end; there are no trial restores (3).",
            "not_supported",
            details=[{"field": "level", "message": "2 is what there is"}],
        )
    run = Run(
        id=new_run_id(now),
        tenant=backup.tenant,
        kind=VERIFY.name,
        database=backup.database,
        spec={"backup_id": backup.id, "level": request.level, "size_bytes": backup.file and backup.file.size_bytes},
        uses=backup.id,
        request=as_sent(request, backup_id=backup.id),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )

    def answer() -> dict[str, Any]:
        must_be_able("verify", backup, identity, now)
        return jobs.job(run, identity, now, progress=WAITING).model_dump()

    body = {"backup_id": backup.id, **request.model_dump(mode="json")}
    once = IdempotencyKey.of(backup.tenant, identity.sub, "verify_backup", key, body)
    made = request_run(run, now, answer, key=once, limits=limits, limit_message=TOO_MANY)
    return jobs.Job.model_validate(made)


def estimate_run(run: Run) -> Estimate:
    """The size of the file in bytes: a verification's progress is measured against it."""
    return Estimate(rows=0, bytes=run.spec["size_bytes"])
