"""Backups: a tenant's schema dumped into storage, its history, its file (docs/api.md)."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.access.limits import Limit
from stowage.aws import objects, table
from stowage.aws.table import ABSENT, ConditionFailedError, Update
from stowage.backups.limits import TOO_MANY
from stowage.backups.records import (
    Backup,
    BackupCreated,
    BackupDetail,
    BackupPage,
    BackupRequest,
    backup,
    backup_detail,
)
from stowage.basics.errors import GoneError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.delivery.wishes import must_take
from stowage.runs.actions import must_be_able, must_have_right
from stowage.runs.audit_notes import audit_note
from stowage.runs.change import forget_run
from stowage.runs.counters import count_history
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.manifest import bucket_of, read_manifest
from stowage.runs.record import Run
from stowage.runs.request import as_sent, request_run
from stowage.runs.store import list_history, read_run
from stowage.tenants import Tenant

LINK_SECONDS = 15 * 60
EXTENSIONS = {"sql": "sql", "tar": "tar", "custom": "dump"}


@for_role("admin")
def create_backup(
    tenant: Tenant,
    identity: Identity,
    request: BackupRequest,
    now: datetime,
    *,
    key: str | None,
    limits: Sequence[Limit],
) -> BackupCreated:
    """Ask for a backup; the job that will make it.

    BadRequestError for what is not configured or an address that is not allowed, RateLimitedError when the minute has
    no more room.
    """
    if request.notify_email is not None:
        must_take(tenant.id, request.notify_email, "notify_email")
    run = new_backup(tenant, request, identity.sub, now)
    once = IdempotencyKey.of(tenant.id, identity.sub, "create_backup", key, request.model_dump(mode="json"))
    created = BackupCreated(job_id=run.id, status="pending", project_id=tenant.id, created_at=run.created_at)
    made = request_run(run, now, created.model_dump, key=once or None, limits=limits, limit_message=TOO_MANY)
    return BackupCreated.model_validate(made)


def new_backup(
    tenant: Tenant, request: BackupRequest, requested_by: str, now: datetime, slot: str | None = None
) -> Run:
    """A run that will make a backup; `slot` is the time of the schedule for which it does."""
    return Run(
        id=new_run_id(now),
        tenant=tenant.id,
        kind=EXPORT_BACKUP.name,
        database=tenant.database,
        trigger="schedule" if slot else "manual",
        spec={
            "format": request.format,
            "compress": request.compress,
            "storage_path": request.storage_path or "backups",
            "schema": tenant.schema,
            "file_name": file_name(tenant, request, now),
            **({"slot": slot} if slot else {}),
            **({"notify_email": request.notify_email} if request.notify_email else {}),
        },
        request=None if slot else as_sent(request),
        requested_by=requested_by,
        created_at=rfc3339(now),
    )


def file_name(tenant: Tenant, request: BackupRequest, now: datetime) -> str:
    """`acme-2026-11-20T081500Z.sql.gz`: whose it is, from when, and what opens it."""
    name = f"{tenant.slug}-{now:%Y-%m-%dT%H%M%SZ}.{EXTENSIONS[request.format]}"
    return f"{name}.gz" if request.compress else name


def list_backups(tenant: str, now: datetime, status: str | None, offset: int, limit: int) -> BackupPage:
    """A page of a tenant's backups, newest first.

    `total` is by the counts: what has expired counts as completed until the clock has taken its file away.
    """
    # An expired backup is a completed run whose file's time is over (`Run.is_expired`).
    where: dict[str, object] = {"status": "completed" if status == "expired" else status} if status else {}
    runs = list_history(tenant, EXPORT_BACKUP.history, where, offset + limit + 1)
    shown = (each for each in (backup(run, now) for run in runs) if status in (None, each.status))
    found = list(islice(shown, offset, offset + limit + 1))
    return BackupPage(
        data=found[:limit],
        total=count_history(tenant, EXPORT_BACKUP.history, status, now),
        limit=limit,
        offset=offset,
        has_more=len(found) > limit,
    )


def read_backup(run: Run, now: datetime) -> BackupDetail:
    """One backup with its manifest, which is null as long as there is no file."""
    manifest = read_manifest(run) if run.outcome and not run.is_expired(now) else None
    return backup_detail(run, now, manifest)


def find_backup(tenant: str, backup_id: str) -> Run:
    """A tenant's backup; NotFoundError."""
    return read_run(tenant, backup_id, EXPORT_BACKUP.history)


@for_role("admin")
def download_link(run: Run, identity: Identity, source_ip: str, now: datetime) -> str:
    """A storage link to a backup's file, good for 15 minutes; audited.

    ConflictError where there is no file (yet), GoneError where it has expired.
    """
    must_be_able("download", run, identity, now)
    file = run.file
    assert file is not None, "it has files, and its kind leaves one"
    note = audit_note(run, "downloaded", identity.sub, now, {"source_ip": source_ip})
    table.put(note.item)
    return objects.signed_link(
        str(bucket_of(run)),
        file.key,
        file_name=file.file_name,
        content_type=file.content_type,
        seconds=LINK_SECONDS,
    )


@for_role("admin")
def pin_backup(run: Run, identity: Identity, now: datetime) -> Backup:
    """Keep a backup from being expired or deleted, until it is unpinned; audited.

    ConflictError `pinned` if it is already; ConflictError or GoneError where there is no file (yet, or any more).
    """
    must_be_able("pin", run, identity, now)
    return _set_pin(run, identity, now, Update(run.pk, run.sk, {"pinned_at": rfc3339(now)}), "pinned")


@for_role("admin")
def unpin_backup(run: Run, identity: Identity, now: datetime) -> Backup:
    """Leave a pinned backup to retention again; audited. ConflictError `not_pinned`."""
    must_be_able("unpin", run, identity, now)
    return _set_pin(run, identity, now, Update(run.pk, run.sk, remove=("pinned_at",)), "unpinned")


def _set_pin(run: Run, identity: Identity, now: datetime, change: Update, event: str) -> Backup:
    change.when = {"status": "completed", "expired_at": ABSENT}
    try:
        table.transact([change, audit_note(run, event, identity.sub, now)])
    except ConditionFailedError:
        raise GoneError("The file has expired.", "expired") from None
    return backup(run.model_copy(update={"pinned_at": change.set.get("pinned_at")}), now)


@for_role("admin")
def delete_backup(run: Run, identity: Identity, now: datetime, *, force: bool) -> None:
    """Delete a backup for good: every version of its file and its manifest, then its record.

    ConflictError `last_verified` for the newest verified backup of its tenant, unless by `force`; `still_running`,
    `in_use`, `pinned` and `locked` in any case.
    """
    if force:
        must_have_right("delete", run, identity)
    else:
        must_be_able("delete", run, identity, now)
    forget_run(run, identity.sub, now)
