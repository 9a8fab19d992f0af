"""Comparisons: ask for one, and how large it will be."""

from collections.abc import Sequence
from datetime import datetime

from stowage import jobs
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups.asking import ask
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.compares.requests import CompareRequest
from stowage.entities.declared import entity_named
from stowage.runs.kinds import COMPARE
from stowage.runs.record import Estimate, Run
from stowage.runs.request import as_sent
from stowage.tenants import Tenant


@for_role("admin")
def start_compare(
    backup: Run,
    tenant: Tenant,
    identity: Identity,
    request: CompareRequest,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> jobs.Job:
    """Ask for a backup to be compared with the live tenant; the job that will do it.

    BadRequestError for an entity that is not declared or comes twice, ConflictError or GoneError where there is no file
    (yet, or any more), RateLimitedError when the minute has no more room.
    """
    names = request.entities
    for place, name in enumerate(names or ()):
        entity_named(name, f"entities[{place}]")
        if names and name in names[:place]:
            message = f"{name} is named twice"
            raise BadRequestError(f"{message}.", details=[{"field": f"entities[{place}]", "message": message}])
    run = Run(
        id=new_run_id(now),
        tenant=backup.tenant,
        kind=COMPARE.name,
        database=tenant.database,
        spec={
            "backup_id": backup.id,
            "schema": tenant.schema,
            "entities": names,
            "size_bytes": backup.file and backup.file.size_bytes,
        },
        uses=backup.id,
        request=as_sent(request, backup_id=backup.id),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    body = {"backup_id": backup.id, **request.model_dump(mode="json")}
    return jobs.Job.model_validate(
        ask(run, "compare", backup, identity, now, route="compare_backup", body=body, key=key, limits=limits)
    )


def estimate_run(run: Run) -> Estimate:
    """The size of the file in bytes: a comparison's progress is measured by how much of it was read."""
    return Estimate(rows=0, bytes=run.spec["size_bytes"])
