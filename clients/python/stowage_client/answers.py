"""The shapes of the API's answers, as docs/openapi.json has them under the same names."""

from typing import Any, Literal, NotRequired, TypedDict


class Pagination(TypedDict):
    page: int
    limit: int
    total: int
    total_pages: int


class Me(TypedDict):
    sub: str
    role: Literal["viewer", "operator", "admin"]
    tenants: list[str]
    expiresAt: str


class TenantEntry(TypedDict):
    id: str
    slug: str
    name: str


class ExportRecord(TypedDict):
    id: str
    format: Literal["csv", "json", "ndjson", "xlsx", "parquet"]
    mode: str
    dataType: str
    status: Literal["pending", "processing", "completed", "failed", "cancelled", "expired"]
    filename: str
    recordCount: int | None
    progress: float
    downloadUrl: str | None
    expiresAt: str | None
    errorMessage: str | None
    createdAt: str
    completedAt: str | None
    absent: NotRequired[list[str]]


class ExportProgress(TypedDict):
    progress: float
    status: str
    recordCount: int
    bytes: int
    message: str
    pollAfterMs: int | None


class ExportEstimate(TypedDict):
    rows: int
    bytes: int
    lane: Literal["inline", "worker"]
    seconds: float


class JobProgress(TypedDict):
    stage: str
    percent: float
    bytes: int
    rows: int
    message: str


class Job(TypedDict):
    id: str
    type: str
    project_id: str
    status: str
    progress: JobProgress
    attempts: int
    max_attempts: int
    last_error: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    result: dict[str, Any] | None
    trigger: str
    error_code: str | None
    request: dict[str, Any] | None
    verification: dict[str, Any] | None
    actions: list[str]


class RestoreJob(Job):
    warning: str


class BackupCreated(TypedDict):
    job_id: str
    status: Literal["pending"]
    project_id: str
    created_at: str


class Verification(TypedDict):
    level: int
    at: str
    ok: bool


class Destination(TypedDict):
    type: str
    status: str
    ref: str


class Backup(TypedDict):
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
    pinned: bool
    verification: Verification | None
    destinations: list[Destination]


class BackupDetail(Backup):
    manifest: dict[str, Any] | None
    last_error: str | None


class Change(TypedDict):
    type: str
    operation: str
    actor: str
    at: str


class DifferenceEntry(TypedDict):
    id: str
    label: str
    backup: dict[str, Any] | None
    live: dict[str, Any] | None
    changed_fields: list[str]
    last_change: Change | None
    truncated: NotRequired[Literal[True]]


class BulkResult(TypedDict):
    id: str
    status: Literal["success", "error"]
    error: NotRequired[str]
    code: NotRequired[str]


class BulkOperationResult(TypedDict):
    operationId: str
    total: int
    succeeded: int
    failed: int
    cascaded: NotRequired[dict[str, int]]
    truncated: NotRequired[bool]
    remaining: NotRequired[int]
    next_cursor: NotRequired[str]
    results: list[BulkResult]


class OperationRecord(TypedDict):
    id: str
    kind: str
    dataType: str
    total: int
    succeeded: int
    failed: int
    by: str
    createdAt: str
    undoneAt: str | None


class RecordFailure(TypedDict):
    index: int
    id: NotRequired[str]
    code: str
    error: NotRequired[str]


class DeletedRecords(TypedDict):
    operationId: str
    deleted: int
    failed: NotRequired[int]
    truncated: NotRequired[Literal[True]]
    failures: NotRequired[list[RecordFailure]]


class TrashItem(TypedDict):
    id: str
    name: str
    type: str
    platform: str | None
    deletedAt: str | None
    deletedBy: str | None
    daysUntilPurge: int | None
    cascaded: NotRequired[dict[str, int]]


class AuditEntry(TypedDict):
    seq: int
    type: str
    operation: str
    actor: str
    at: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    entity: str
    id: str


class UploadForm(TypedDict):
    url: str
    fields: dict[str, str]


class FileImportCreated(TypedDict):
    id: str
    upload: UploadForm
    expiresAt: str


class BatchPartAnswer(TypedDict):
    id: str
    status: int
    body: Any


class GraphqlAnswer(TypedDict):
    data: NotRequired[dict[str, Any] | None]
    errors: NotRequired[list[dict[str, Any]]]


class ChangeEvent(TypedDict):
    type: str
    data: dict[str, Any] | None
