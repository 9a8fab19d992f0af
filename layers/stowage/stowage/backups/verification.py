"""Verifications of backups: ask for one, and how large it will be."""

from collections.abc import Sequence
from datetime import datetime

from stowage import jobs
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups.asking import ask
from stowage.backups.records import VerifyRequest
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.kinds import TRIAL_LEVEL, VERIFY
from stowage.runs.record import Estimate, Run
from stowage.runs.request import as_sent


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

    ConflictError or GoneError where there is no file (yet, or any more), RateLimitedError when the minute has no more
    room.
    """
    run = new_verification(backup, request.level, now, requested_by=identity.sub)
    run.request = as_sent(request, backup_id=backup.id)
    body = {"backup_id": backup.id, **request.model_dump(mode="json")}
    return jobs.Job.model_validate(
        ask(run, "verify", backup, identity, now, route="verify_backup", body=body, key=key, limits=limits)
    )


def new_verification(backup: Run, level: int, now: datetime, *, requested_by: str | None = None) -> Run:
    """A run that will verify a backup: at level 2 by reading it to its end, at level 3 by a trial restore. Without
    somebody who has asked for it, a policy has.
    """
    return Run(
        id=new_run_id(now),
        tenant=backup.tenant,
        kind=VERIFY.name,
        database=backup.database,
        trigger="manual" if requested_by else "schedule",
        spec={"backup_id": backup.id, "level": level, "size_bytes": backup.file.size_bytes if backup.file else 0},
        uses=backup.id,
        requested_by=requested_by or "stowage",
        created_at=rfc3339(now),
    )


def estimate_run(run: Run) -> Estimate:
    """The bytes that will be read: a verification's progress is measured against them. A trial reads the file twice."""
    return Estimate(rows=0, bytes=run.spec["size_bytes"] * (2 if run.spec["level"] == TRIAL_LEVEL else 1))
