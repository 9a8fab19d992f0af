"""What clients see of a backup, and what they may ask for (docs/api.md)."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from stowage.basics.ids import rfc3339
from stowage.delivery.records import Address
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run

type BackupFormat = Literal["sql", "tar", "custom"]

_STORAGE_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9/._-]{0,200}")


def _project_id(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", given):
        raise ValueError("a tenant's id has 1 to 100 letters, digits, _ and -")
    return given


ProjectId = Annotated[str, AfterValidator(_project_id)]


def _storage_path(path: str) -> str:
    """One leading slash is dropped; what could leave the tenant's prefix is refused."""
    path = path.removeprefix("/").rstrip("/")
    if not _STORAGE_PATH.fullmatch(path) or ".." in path:
        raise ValueError("a path of letters, digits and / . _ - that begins with a letter or digit; .. is not taken")
    return path


StoragePath = Annotated[str, AfterValidator(_storage_path)]


class BackupRequest(BaseModel):
    """The body of `POST /api/backup/export`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    project_id: ProjectId | None = None
    format: BackupFormat = "sql"
    compress: bool = True
    notify_email: Address | None = None
    storage_path: StoragePath | None = None


class BackupCreated(BaseModel):
    """The job that a backup's request made."""

    job_id: str
    status: Literal["pending"]
    project_id: str
    created_at: str


class VerifyRequest(BaseModel):
    """The body of `POST /api/backup/{id}/verify`; level 2 reads the stored file to its end, 3 restores it for trial."""

    model_config = ConfigDict(extra="forbid", strict=True)

    level: Literal[2, 3] = 2


class Verification(BaseModel):
    """How a backup was last proved."""

    level: int
    at: str
    ok: bool


class Destination(BaseModel):
    """Where a copy lies."""

    type: str
    status: str
    ref: str


class Backup(BaseModel):
    """One backup in the history."""

    id: str
    job_id: str
    project_id: str
    type: Literal["database", "logs"]
    format: str
    compressed: bool
    status: str
    trigger: Literal["manual", "schedule"]
    size_bytes: int | None
    sha256: str | None
    file_name: str
    storage_key: str | None
    tables: int | None
    rows: int | None
    duration_ms: int | None
    created_at: str
    completed_at: str | None
    expires_at: str | None
    """The earliest moment at which it may go; null for one that is pinned, or that a rule of retention keeps longer."""
    pinned: bool
    verification: Verification | None
    destinations: list[Destination]


class BackupDetail(Backup):
    """One backup with the manifest that proves it."""

    manifest: dict[str, Any] | None
    last_error: str | None


class BackupPage(BaseModel):
    """The answer of `GET /api/backup`."""

    data: list[Backup]
    total: int
    limit: int
    offset: int
    has_more: bool


def job_result(run: Run, _now: datetime, _link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of a backup tells."""
    file = run.file
    assert file is not None, "there is an outcome"
    return {
        "backup_id": run.id,
        "file_name": file.file_name,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "download_path": f"/api/backup/{run.id}/download",
    }


def verify_result(run: Run, _now: datetime, _link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of a verification tells: `{backup_id, level, at, ok, checks: [{name, ok, message}]}`."""
    outcome = run.outcome
    assert outcome is not None, "a job without one has no result"
    facts = outcome.facts
    return {"backup_id": facts["backup_id"], **facts["verification"], "checks": facts["checks"]}


def backup(run: Run, now: datetime) -> Backup:
    """A run as a backup."""
    file, expired = run.file, run.is_expired(now)
    return Backup(
        id=run.id,
        job_id=run.id,
        project_id=run.tenant,
        type="database" if kind_of(run.kind).protects else "logs",
        format=run.spec["format"],
        compressed=run.spec["compress"],
        status="expired" if expired else run.status,
        trigger=run.trigger,
        size_bytes=file.size_bytes if file else None,
        sha256=file.sha256 if file else None,
        file_name=run.spec["file_name"],
        storage_key=file.key if file else None,
        tables=run.outcome.facts.get("tables") if run.outcome else None,
        rows=file.rows if file else None,
        duration_ms=run.duration_ms,
        created_at=run.created_at,
        completed_at=run.completed_at,
        expires_at=_expires_at(run, now),
        pinned=run.pinned_at is not None,
        verification=Verification(**run.verification) if run.verification else None,
        destinations=[Destination(type="s3", status="stored", ref=file.key)] if file and not expired else [],
    )


def _expires_at(run: Run, now: datetime) -> str | None:
    if not run.is_planned:
        return run.expires_at
    if run.expired_at or run.expires_at is None or run.expires_at > rfc3339(now):
        return None if run.pinned_at else run.expired_at or run.expires_at
    return None


def backup_detail(run: Run, now: datetime, manifest: dict[str, Any] | None) -> BackupDetail:
    """A run as a backup, with its manifest."""
    last_error = run.error.message if run.error else None
    return BackupDetail(**backup(run, now).model_dump(), manifest=manifest, last_error=last_error)
