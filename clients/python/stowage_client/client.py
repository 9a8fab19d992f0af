"""Stowage's API as methods: each gives what the API answers, unwrapped, or raises StowageError."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from stowage_client import files
from stowage_client.answers import (
    AuditEntry,
    Backup,
    BackupCreated,
    BackupDetail,
    BatchPartAnswer,
    BulkOperationResult,
    DeletedRecords,
    DifferenceEntry,
    ExportEstimate,
    ExportProgress,
    ExportRecord,
    FileImportCreated,
    GraphqlAnswer,
    Job,
    Me,
    OperationRecord,
    RestoreJob,
    TenantEntry,
    TrashItem,
)
from stowage_client.changes import Changes
from stowage_client.errors import RunFailedError
from stowage_client.files import Progress
from stowage_client.transport import Transport, path_id

PAGE = 100
HOLD = 20
"""Seconds for which the API holds an answer that waits for something."""
ENDED = ("completed", "failed", "cancelled", "expired")
QUICKEST, SLOWEST = 0.2, 3.0
"""Seconds between two looks at a job."""


class Stowage:
    """The API for one caller: `token` is a JWT or an API key (`stw_…`), `tenant` the tenant's id.

    Every POST and PATCH has an Idempotency-Key, and what fails on the way is repeated up to `retries`
    times; so nothing is done twice. Without `tenant` the API takes the token's only one. A client belongs
    to one thread; it is a context manager, and `close` ends its connections.
    """

    def __init__(
        self,
        url: str,
        token: str,
        tenant: str | None = None,
        *,
        retries: int = 5,
        user_agent: str = "stowage-client",
    ) -> None:
        self.tenant = tenant
        self._transport = Transport(url, token, tenant, retries=retries, user_agent=user_agent)
        self.request = self._transport.call
        """Any route of the API: `request("GET", "/api/v1/attention")`; its JSON. `key` is the Idempotency-Key."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def me(self) -> Me:
        """Who the caller is, and which tenants it may see."""
        return self.request("GET", "/api/v1/me")  # type: ignore[no-any-return]

    def tenants(self) -> list[TenantEntry]:
        """The tenants that the caller may see."""
        return self.request("GET", "/api/v1/tenants")["data"]  # type: ignore[no-any-return]

    # Records

    def records(self, entity: str, *, sort: str | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """All records that the filters let through (docs/api.md), each whole; a list means any of its values."""
        query = {"sort": sort} | {name: _filter(value) for name, value in filters.items()}
        page = 1
        while True:
            told = self.request("GET", f"/api/v1/{path_id(entity)}", query=query | {"page": page, "limit": PAGE})
            for record in told["data"]:
                is_short = told.get("truncated") and set(record) == {"id"}  # there was no room for all
                yield self.record(entity, record["id"]) if is_short else record
            if page >= told["pagination"]["total_pages"]:
                return
            page += 1

    def record(self, entity: str, id: str) -> dict[str, Any]:
        """One record."""
        return self.request("GET", f"/api/v1/{path_id(entity)}/{path_id(id)}")["data"]  # type: ignore[no-any-return]

    def create(self, entity: str, **values: Any) -> dict[str, Any]:
        """Make a record; it as it became."""
        return self.request("POST", f"/api/v1/{path_id(entity)}", values)["data"]  # type: ignore[no-any-return]

    def update(self, entity: str, id: str, **values: Any) -> dict[str, Any]:
        """Change fields of a record; it as it became."""
        return self.request("PATCH", f"/api/v1/{path_id(entity)}/{path_id(id)}", values)["data"]  # type: ignore[no-any-return]

    def delete(self, entity: str, id: str) -> None:
        """Put a record into the trash."""
        self.request("DELETE", f"/api/v1/{path_id(entity)}/{path_id(id)}")

    def history(self, entity: str, id: str) -> Iterator[dict[str, Any]]:
        """What has become of a record, newest first."""
        return self._by_cursor(f"/api/v1/{path_id(entity)}/{path_id(id)}/history", {})

    # Bulk edits and undo

    def create_many(self, entity: str, items: Sequence[Mapping[str, Any]], *, skip_invalid: bool = False) -> Any:
        """Make up to 10,000 records: all or none, or with `skip_invalid` those that can be."""
        options = {"skipInvalid": skip_invalid, "returnFailures": skip_invalid}
        body = {"items": items, "options": options}
        return self.request("POST", f"/api/v1/import/{path_id(entity)}", body)["data"]

    def update_many(self, entity: str, updates: Sequence[Mapping[str, Any]]) -> Any:
        """Change up to 10,000 records, each by its `id` and fields; `failures` names those left as they were."""
        return self.request("PATCH", f"/api/v1/bulk/{path_id(entity)}", {"updates": updates})["data"]

    def delete_many(self, entity: str, ids: Sequence[str]) -> DeletedRecords:
        """Put up to 10,000 records into the trash; `failures` names those that are not there."""
        answer = self.request("POST", f"/api/v1/bulk/{path_id(entity)}/delete", {"ids": ids})
        return answer["data"]  # type: ignore[no-any-return]

    def reassign(self, ids: Sequence[str], entity: str = "accounts", **targets: str) -> BulkOperationResult:
        """Give up to 10,000 records other parents: `targetBrandId="brd_2", targetGroupId="grp_2"`."""
        body = {"ids": ids, "dataType": entity} | targets
        return self.request("POST", self._guild("bulk/reassign"), body)  # type: ignore[no-any-return]

    def undo(self, operation_id: str) -> list[BulkOperationResult]:
        """Undo an operation whole: large ones in several requests, with a result for each."""
        results: list[BulkOperationResult] = []
        while True:
            result: BulkOperationResult = self.request("POST", self._guild("bulk/undo"), {"operationId": operation_id})
            before = results[-1].get("remaining") if results else None
            results.append(result)
            left = result.get("remaining")
            if not left or (before is not None and left >= before):  # nothing more, or no more of it can be undone
                return results

    def operations(self) -> Iterator[OperationRecord]:
        """The bulk operations, newest first."""
        return self._by_page(self._guild("bulk/operations"), "operations")

    # Trash

    def trash(self, entity: str | None = None) -> Iterator[TrashItem]:
        """What is in the trash, newest first; without an entity that of accounts and posts."""
        return self._by_page(self._guild("trash"), "items", type=entity)

    def restore_from_trash(self, entity: str, id: str, *, on_conflict: Literal["fail", "rename"] = "fail") -> TrashItem:
        """Take a record out of the trash, with what went there along with it."""
        body = {"dataType": entity, "onConflict": on_conflict}
        path = self._guild(f"trash/{path_id(id)}/restore")
        return self.request("POST", path, body)["item"]  # type: ignore[no-any-return]

    def purge(self, entity: str, id: str) -> None:
        """Delete a record of the trash for good."""
        self.request("DELETE", self._guild(f"trash/{path_id(id)}"), query={"dataType": entity})

    # Exports

    def start_export(
        self,
        entity: str,
        format: str = "csv",
        *,
        filters: Mapping[str, Any] | None = None,
        filename: str | None = None,
        bom: bool = False,
    ) -> ExportRecord:
        """Start an export of an entity, of `audit`, or of `gdpr`: all that the tenant has."""
        mode = "current_view" if filters else "all"
        body = {"format": format, "mode": mode, "dataType": entity, "filename": filename, "bom": bom}
        given = body | {"filters": dict(filters) if filters else None}
        return self.request("POST", self._guild("exports"), given)  # type: ignore[no-any-return]

    def estimate_export(self, entity: str, format: str = "csv", **filters: Any) -> ExportEstimate:
        """How large an export will be, and how long it will take."""
        body = {"format": format, "mode": "all", "dataType": entity, "filters": filters}
        return self.request("POST", self._guild("exports/estimate"), body)  # type: ignore[no-any-return]

    def export(self, export_id: str) -> ExportRecord:
        """An export as it is now."""
        return self.request("GET", self._guild(f"exports/{path_id(export_id)}"))  # type: ignore[no-any-return]

    def exports(self) -> Iterator[ExportRecord]:
        """The exports, newest first."""
        return self._by_page(self._guild("exports"), "exports")

    def wait_for_export(
        self, export_id: str, *, progress: Progress | None = None, timeout: float | None = None
    ) -> ExportRecord:
        """Wait for an export's end; RunFailedError where that is a bad one, TimeoutError after so many seconds."""
        deadline, hold = _deadline(timeout), 0
        while True:
            state: ExportProgress = self.request(
                "GET", self._guild(f"exports/{path_id(export_id)}/progress"), query={"wait": hold}
            )
            _tell(progress, state["progress"], state["message"] or state["status"])
            if state["status"] in ENDED:
                break
            hold = int(min(HOLD, max(1, _left(deadline, export_id))))
        export = self.export(export_id)
        if export["status"] != "completed":
            raise RunFailedError(f"The export is {export['status']}: {export['errorMessage']}", export)
        return export

    def download_export(self, export_id: str, path: str | Path, *, progress: Progress | None = None) -> Path:
        """Fetch the file of an export that has completed. The API says no checksum of it; its size is checked."""

        def link() -> str:
            export = self.export(export_id)
            if export["downloadUrl"] is None:
                raise RunFailedError(f"The export is {export['status']} and has no file for you.", export)
            return export["downloadUrl"]

        return files.download(self._transport, link, Path(path), progress=progress)

    def export_to(
        self,
        path: str | Path,
        entity: str,
        format: str = "csv",
        *,
        filters: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> ExportRecord:
        """Export an entity into a file: start, wait, download."""
        export = self.wait_for_export(self.start_export(entity, format, filters=filters)["id"], progress=progress)
        self.download_export(export["id"], path, progress=progress)
        return export

    # Jobs: runs of every kind

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Runs, newest first; filters are `type`, `status`, `since` and others (docs/api.md)."""
        query = {"project_id": self.tenant} | {name: _filter(value) for name, value in filters.items()}
        return self._by_cursor("/api/jobs", query)

    def job(self, job_id: str) -> Job:
        """A run as it is now."""
        return self.request("GET", f"/api/jobs/{path_id(job_id)}")["data"]  # type: ignore[no-any-return]

    def wait(self, job_id: str, *, progress: Progress | None = None, timeout: float | None = None) -> Job:
        """Wait for a run's end; RunFailedError where that is a bad one, TimeoutError after so many seconds."""
        deadline, pause = _deadline(timeout), QUICKEST
        while True:
            job = self.job(job_id)
            _tell(progress, job["progress"]["percent"], job["progress"]["message"] or job["status"])
            if job["status"] == "completed":
                return job
            if job["status"] in ENDED:
                raise RunFailedError(f"The job is {job['status']}: {job['last_error']}", job, job["error_code"])
            time.sleep(min(pause * random.uniform(0.8, 1.2), _left(deadline, job_id)))  # noqa: S311  no secret
            pause = min(pause * 1.3, SLOWEST)

    def cancel(self, job_id: str) -> Job:
        """Ask a run to end."""
        return self.request("POST", f"/api/jobs/{path_id(job_id)}/cancel")["data"]  # type: ignore[no-any-return]

    def retry(self, job_id: str) -> Job:
        """Start a run that has failed or was cancelled once more."""
        return self.request("POST", f"/api/jobs/{path_id(job_id)}/retry")["data"]  # type: ignore[no-any-return]

    # Backups

    def start_backup(self, format: Literal["sql", "tar", "custom"] = "sql") -> BackupCreated:
        """Start a backup of the tenant; `job_id` is the backup's id too."""
        body = {"project_id": self.tenant, "format": format}
        return self.request("POST", "/api/backup/export", body)["data"]  # type: ignore[no-any-return]

    def backups(self, status: str | None = None) -> Iterator[Backup]:
        """The tenant's backups, newest first."""
        offset = 0
        while True:
            query = {"project_id": self.tenant, "status": status, "limit": PAGE, "offset": offset}
            page = self.request("GET", "/api/backup", query=query)
            yield from page["data"]
            offset += len(page["data"])
            if not page["has_more"]:
                return

    def backup(self, backup_id: str) -> BackupDetail:
        """A backup with its manifest."""
        return self.request("GET", f"/api/backup/{path_id(backup_id)}")["data"]  # type: ignore[no-any-return]

    def download_backup(self, backup_id: str, path: str | Path, *, progress: Progress | None = None) -> Path:
        """Fetch a backup's file and compare its SHA-256; StowageError `damaged` where it is another."""
        sha256 = self.backup(backup_id)["sha256"]

        def link() -> str:
            return self._transport.link(f"/api/backup/{path_id(backup_id)}/download")

        return files.download(self._transport, link, Path(path), sha256=sha256, progress=progress)

    def verify(self, backup_id: str, level: Literal[2, 3] = 2) -> Job:
        """Start to read a stored backup to its end (2), or to restore it elsewhere and compare (3)."""
        return self.request("POST", f"/api/backup/{path_id(backup_id)}/verify", {"level": level})["data"]  # type: ignore[no-any-return]

    def compare(self, backup_id: str, entities: Sequence[str] | None = None) -> Job:
        """Start to compare a backup with the live tenant."""
        body = {"entities": entities}
        return self.request("POST", f"/api/backup/{path_id(backup_id)}/compare", body)["data"]  # type: ignore[no-any-return]

    def differences(
        self, compare_id: str, entity: str, kind: Literal["only_in_backup", "only_live", "changed"]
    ) -> Iterator[DifferenceEntry]:
        """What a comparison that has completed has found, record by record."""
        return self._by_cursor(f"/api/backup/compare/{path_id(compare_id)}", {"entity": entity, "kind": kind})

    def bring_back(
        self,
        compare_id: str,
        entity: str,
        ids: Sequence[str] | None = None,
        *,
        kind: Literal["only_in_backup", "changed"] | None = None,
        fields: Sequence[str] | None = None,
        on_conflict: Literal["fail", "rename"] = "fail",
    ) -> list[BulkOperationResult]:
        """Bring these records, or all of a kind, back as the compared backup has them. Of a kind they come
        10,000 at a time, with a result for each request; each is an operation that `undo` takes back.
        """
        body = {"entity": entity, "ids": ids, "kind": kind, "fields": fields, "on_conflict": on_conflict}
        body = {name: value for name, value in body.items() if value is not None}
        results: list[BulkOperationResult] = []
        while not results or results[-1].get("next_cursor"):
            cursor = {"cursor": results[-1]["next_cursor"]} if results else {}
            results.append(self.request("POST", f"/api/backup/compare/{path_id(compare_id)}/bring-back", body | cursor))
        return results

    def start_restore(
        self,
        backup_id: str,
        mode: Literal["new_schema", "in_place"] = "new_schema",
        *,
        tables: Sequence[str] | None = None,
        confirm: str | None = None,
    ) -> RestoreJob:
        """Start to make a backup a schema again: beside the live one, or in its place (`confirm`: its slug)."""
        body = {"project_id": self.tenant, "backup_id": backup_id, "mode": mode, "tables": tables, "confirm": confirm}
        return self.request("POST", "/api/backup/restore", body)["data"]  # type: ignore[no-any-return]

    def revert(self, restore_id: str) -> RestoreJob:
        """Start to put back what a restore in place has replaced."""
        return self.request("POST", f"/api/backup/restore/{path_id(restore_id)}/revert")["data"]  # type: ignore[no-any-return]

    # Imports of files

    def start_import(
        self,
        entity: str,
        path: str | Path,
        *,
        type: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Job:
        """Upload a file and start its import; `type` (csv, ndjson, xlsx) is the name's ending if it is not said.
        Options are those of docs/file-imports.md, such as `onConflict="update"`.
        """
        path = Path(path)
        kind = type or path.suffix.removeprefix(".").lower()
        body = {"filename": path.name, "size": path.stat().st_size, "type": kind} | options
        made: FileImportCreated = self.request("POST", f"/api/v1/import/{path_id(entity)}/file", body)["data"]
        files.upload(self._transport, made["upload"], path, progress)
        return self.request("POST", f"/api/v1/import/{path_id(entity)}/file/{made['id']}/start", {})["data"]  # type: ignore[no-any-return]

    # Batch, GraphQL, changes, audit log

    def batch(self, requests: Sequence[Mapping[str, Any]]) -> list[BatchPartAnswer]:
        """Up to 20 requests of record routes in one; an answer for each, whatever became of the others."""
        return self.request("POST", "/api/v1/batch", {"requests": requests})["responses"]  # type: ignore[no-any-return]

    def graphql(self, query: str, **variables: Any) -> GraphqlAnswer:
        """Carry out a query; `errors` of single fields stand in the answer."""
        return self.request("POST", "/api/v1/graphql", {"query": query, "variables": variables})  # type: ignore[no-any-return]

    def changes(self, entity: str, after: str | None = None, *, follow: bool = True) -> Changes:
        """Follow an entity's changes from a cursor on, or from now on."""
        return Changes(self._transport, entity, after, self.tenant, HOLD, follow=follow)

    def audit(self, **filters: Any) -> Iterator[AuditEntry]:
        """The audit log, newest first; filters are `actor`, `type`, `entity`, `id`, `since`, `until`."""
        query = {"project_id": self.tenant} | {name: _filter(value) for name, value in filters.items()}
        return self._by_cursor("/api/v1/audit", query)

    def _guild(self, path: str) -> str:
        tenant = self.tenant
        if tenant is None:
            tenants = self.me()["tenants"]
            if len(tenants) != 1 or tenants == ["*"]:
                raise ValueError("Name the tenant: Stowage(url, token, tenant).")
            tenant = self.tenant = tenants[0]
        return f"/api/v1/guilds/{path_id(tenant)}/{path}"

    def _by_page(self, path: str, name: str, **query: Any) -> Iterator[Any]:
        page = 1
        while True:
            told = self.request("GET", path, query=query | {"page": page, "limit": PAGE})
            yield from told[name]
            if page >= told["pagination"]["total_pages"]:
                return
            page += 1

    def _by_cursor(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        cursor = None
        while True:
            told = self.request("GET", path, query={"limit": PAGE} | dict(query) | {"cursor": cursor})
            yield from told["data"]
            cursor = told["next_cursor"]
            if cursor is None:
                return


def _filter(value: Any) -> Any:
    """A filter's value as a query takes it. ValueError for a list's value with a comma, which would be two."""
    if isinstance(value, (list, tuple)):
        if any("," in str(each) for each in value):
            raise ValueError(f"No value of a list can have a comma here: {value}")
        return ",".join(str(_filter(each)) for each in value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _deadline(timeout: float | None) -> float:
    return time.monotonic() + timeout if timeout is not None else float("inf")


def _left(deadline: float, run_id: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"The run {run_id} has not ended in time; it goes on.")
    return left


def _tell(progress: Progress | None, percent: float, text: str) -> None:
    if progress:
        progress(percent, text)
