"""What the dashboards see of an export, and what they may ask for (docs/api.md)."""

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from stowage.access.links import Link, link_url
from stowage.basics.ids import encode_id
from stowage.basics.paging import Pagination
from stowage.runs.record import Run

type Format = Literal["csv", "json", "ndjson", "xlsx", "parquet"]
type ExportStatus = Literal["pending", "processing", "completed", "failed", "cancelled", "expired"]

LONGEST_FILENAME = 120
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ExportRequest(BaseModel):
    """The body of `POST exports` and `POST exports/estimate`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Format
    mode: Literal["current_view", "all"]
    dataType: str
    filters: dict[str, Any] | None = None
    """Read by `stowage.entities.filters`."""
    filename: Annotated[str, Field(min_length=1, max_length=LONGEST_FILENAME)] | None = None
    bom: bool = False
    """Begin a CSV with a byte order mark, without which Excel takes it for another encoding than UTF-8."""

    @field_validator("bom")
    @classmethod
    def _of_csv(cls, bom: bool, info: ValidationInfo) -> bool:
        if bom and info.data.get("format", "csv") != "csv":
            raise ValueError("only a CSV begins with a byte order mark")
        return bom

    @field_validator("filename")
    @classmethod
    def _plain_name(cls, name: str | None) -> str | None:
        if name is not None and (_NOT_IN_NAMES.search(name) or name.strip(". ") == ""):
            raise ValueError("a file name has no path separators and no control characters")
        return name


class QuotaUse(BaseModel):
    """How much of a day's quota is left; `resetAt` is the next midnight UTC."""

    limit: int
    remaining: int
    resetAt: str


class Quota(BaseModel):
    """A user's quotas on a tenant."""

    standard: QuotaUse
    gdpr: QuotaUse


class ExportRecord(BaseModel):
    """An export as its dashboards know it.

    `absent` names the entities that an export of everything left out, because the tenant has no table for them.
    """

    id: str
    format: Format
    mode: str
    dataType: str
    status: ExportStatus
    filename: str
    recordCount: int | None
    progress: float
    downloadUrl: str | None
    expiresAt: str | None
    errorMessage: str | None
    createdAt: str
    completedAt: str | None
    absent: list[str] = Field(default_factory=list, exclude_if=operator.not_)


class CreatedExport(ExportRecord):
    """The answer of `POST exports`: the bare record plus the quotas after it."""

    quota: Quota


class ExportPage(BaseModel):
    """The answer of `GET exports`."""

    exports: list[ExportRecord]
    pagination: Pagination
    quota: Quota


_STATUS: dict[str, ExportStatus] = {"running": "processing"}


def export_status(run_status: str, *, expired: bool) -> ExportStatus:
    """The dashboards' word for a run's state."""
    if expired:
        return "expired"
    return _STATUS.get(run_status, run_status)  # type: ignore[arg-type]


def export_record(run: Run, percent: float, base_url: str | None, now: datetime) -> ExportRecord:
    """A run as an export; `base_url` None gives no link (a viewer reads, but fetches no file)."""
    status = export_status(run.status, expired=run.is_expired(now))
    return ExportRecord(
        id=encode_id(run.id),
        format=run.spec["format"],
        mode=run.spec["mode"],
        dataType=run.spec["dataType"],
        status=status,
        filename=run.spec["filename"],
        recordCount=run.file.rows if run.file else None,
        progress=100 if run.status == "completed" else percent,
        downloadUrl=download_url(run, base_url) if status == "completed" else None,
        expiresAt=run.expires_at,
        errorMessage=run.error.message if run.error and run.status != "pending" else None,
        createdAt=run.created_at,
        completedAt=run.completed_at,
        absent=run.outcome.facts.get("absent", []) if run.outcome else [],
    )


def download_url(run: Run, base_url: str | None) -> str | None:
    """Our own link to a completed export's file, which works as long as the file is kept."""
    if base_url is None or run.expires_at is None:
        return None
    return link_url(Link(run.tenant, run.id, run.expires_at), base_url)


def job_result(run: Run, now: datetime, _link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of an export tells."""
    file = run.file
    assert file is not None, "there is an outcome"
    return {
        "export_id": run.id,
        "file_name": file.file_name,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "rows": file.rows,
        "expired": run.is_expired(now),
    }


def spec_of(request: ExportRequest, filename: str, filters: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps of the request."""
    return {
        "format": request.format,
        "mode": request.mode,
        "dataType": request.dataType,
        "filters": filters,
        "filename": filename,
        "bom": request.bom,
    }
