"""Restores: a backup becomes a schema again, beside the live one or in its place (docs/restore.md)."""

from collections.abc import Sequence
from datetime import datetime

from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.backups import find_backup
from stowage.backups.asking import ask
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.restores.records import RestoreBackupRequest, RestoreJob
from stowage.runs.kinds import RESTORE
from stowage.runs.record import Run
from stowage.runs.request import as_sent
from stowage.tenants import Tenant


@for_role("admin")
def start_restore(
    tenant: Tenant,
    identity: Identity,
    request: RestoreBackupRequest,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> RestoreJob:
    """Ask for a restore; the job that will do it, with a warning of what that means.

    NotFoundError for a backup that is not this tenant's, ConflictError or GoneError where it has no file (yet, or any
    more), BadRequestError `confirm` where a restore in place is not confirmed, RateLimitedError.
    """
    if request.backup_id is None:
        raise BadRequestError(
            "Backups are restored from the deployment's own storage; a copy elsewhere cannot be named here yet.",
            "not_supported",
            details=[{"field": "file_id", "message": "name a backup by backup_id"}],
        )
    backup = find_backup(tenant.id, request.backup_id)
    _must_be_confirmed(tenant, request)
    if request.tables is not None and backup.spec["format"] == "sql":
        raise BadRequestError(
            "Single tables come out of tar and custom backups only: a plain one does not say what a table needs. "
            "Restore it whole into a new schema.",
            "not_supported",
            details=[{"field": "tables", "message": "the backup is of the format sql"}],
        )
    run = Run(
        id=new_run_id(now),
        tenant=tenant.id,
        kind=RESTORE.name,
        database=tenant.database,
        spec={
            "mode": request.mode,
            "backup_id": backup.id,
            "schema": tenant.schema,
            "size_bytes": backup.file.size_bytes if backup.file else 0,
            **({"tables": sorted(set(request.tables))} if request.tables is not None else {}),
        },
        uses=backup.id,
        request=as_sent(request),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    body, told = request.model_dump(mode="json"), {"warning": _warning(tenant, request, backup.created_at)}
    return RestoreJob.model_validate(
        ask(run, "restore", backup, identity, now, route="restore_backup", body=body, key=key, limits=limits, told=told)
    )


@for_role("admin")
def start_revert(
    restored: Run,
    tenant: Tenant,
    identity: Identity,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> RestoreJob:
    """Ask for a restore in place to be taken back; the job that will do it.

    ConflictError `not_revertible` where nothing was replaced, GoneError where what was replaced is not kept any more.
    """
    run = Run(
        id=new_run_id(now),
        tenant=tenant.id,
        kind=RESTORE.name,
        database=restored.database,
        spec={"mode": "revert", "of": restored.id, "schema": tenant.schema},
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    warning = (
        f"{tenant.schema} will be again as it was before the restore: what was written since is not in it. The schema "
        "as it is now is kept for 7 days."
    )
    body, told = {"of": restored.id}, {"warning": warning}
    return RestoreJob.model_validate(
        ask(
            run, "revert", restored, identity, now, route="revert_restore", body=body, key=key, limits=limits, told=told
        )
    )


def _must_be_confirmed(tenant: Tenant, request: RestoreBackupRequest) -> None:
    if request.mode == "in_place" and request.confirm != tenant.slug:
        raise BadRequestError(
            "A restore in place replaces everything that the tenant has. Say its slug in confirm.",
            "confirm_required",
            details=[{"field": "confirm", "message": "the tenant's slug"}],
        )


def _warning(tenant: Tenant, request: RestoreBackupRequest, made_at: str) -> str:
    if request.mode == "in_place":
        return (
            f"Everything in {tenant.schema} will be replaced by the state of {made_at}: what was written since is not "
            "in it. The schema as it is now is kept for 7 days, and one call takes it back."
        )
    what = "These tables" if request.tables is not None else "The backup"
    return f"{what} will lie in a new schema beside {tenant.schema}, which is not touched. Drop it when you are done."
