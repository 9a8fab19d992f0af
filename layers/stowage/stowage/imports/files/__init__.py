"""Imports of files: ask for one, upload the file, start it (docs/api.md).

An import that was asked for waits as an item of the table for its file; `start` makes it a run of the same id.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from stowage import jobs
from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.aws import objects, table
from stowage.aws.table import ABSENT, ConditionFailedError, Put, Update, Write
from stowage.basics.errors import BadRequestError, ConflictError, Detail
from stowage.basics.ids import is_run_id, new_run_id, rfc3339
from stowage.entities.declaration import Entity
from stowage.entities.declared import writable_entity_at
from stowage.imports.files.records import FileImportCreated, FileImportRequest, FileImportSpec, UploadForm
from stowage.runs.kinds import IMPORT
from stowage.runs.record import Run
from stowage.runs.request import as_sent, keep_answer, kept_answer
from stowage.runs.store import WAITING, create_run
from stowage.settings import settings
from stowage.tenants import Tenant

UPLOAD_SECONDS = 3600
"""How long the form for the upload works; the same Idempotency-Key gives a new one."""
WAITS = timedelta(days=7)
"""How long an import waits for its file; the bucket keeps files a day longer."""


@for_role("operator")
def create_file_import(
    tenant: Tenant, identity: Identity, entity_name: str, request: FileImportRequest, now: datetime, *, key: str | None
) -> FileImportCreated:
    """Ask for an import; where to put its file.

    NotFoundError for no such entity, BadRequestError for a mapping that does not fit it.
    """
    entity = writable_entity_at(entity_name, "unknown_entity")
    check_mapping(entity, request.mapping or {})
    import_id = new_run_id(now)
    body = {"entity": entity.name, **request.model_dump(mode="json")}
    once = IdempotencyKey.of(tenant.id, identity.sub, "create_file_import", key, body)
    if once and (kept := kept_answer(once, now)):
        import_id = kept["id"]
    else:
        item = {
            "pk": f"IMPORT#{import_id}",
            "sk": "UPLOAD",
            "tenant": tenant.id,
            "database": tenant.database,
            "schema_name": tenant.schema,
            "entity": entity.name,
            "type": request.type,
            "filename": request.filename,
            "mapping": json.dumps(request.mapping or {}),
            "ignore_unknown": request.ignoreUnknown,
            "encoding": request.encoding,
            "delimiter": request.delimiter,
            "on_conflict": request.onConflict,
            "request": as_sent(request, entity=entity.name),
            "asked_by": identity.sub,
            "ttl": int((now + WAITS).timestamp()),
        }
        writes: list[Write] = [Put(item, when={"pk": ABSENT})]
        if once:
            writes.append(keep_answer(once, {"id": import_id}, now))
        try:
            table.transact(writes)
        except ConditionFailedError:
            kept = kept_answer(once, now) if once else None
            if kept is None:
                raise
            import_id = kept["id"]
    form = objects.signed_post(
        settings().uploads_bucket,
        upload_key(tenant.id, import_id, request.type),
        most_bytes=request.size,
        seconds=UPLOAD_SECONDS,
    )
    expires_at = rfc3339(now + timedelta(seconds=UPLOAD_SECONDS))
    return FileImportCreated(id=import_id, upload=UploadForm.model_validate(form), expiresAt=expires_at)


def check_mapping(entity: Entity, mapping: dict[str, str | None]) -> None:
    """BadRequestError for a mapping to what is no field, or of two columns to one."""
    details: list[Detail] = []
    taken: dict[str, str] = {}
    for column, name in mapping.items():
        if name is None:
            continue
        if entity.field(name) is None:
            known = ", ".join(field.name for field in entity.fields)
            details.append({"field": f"mapping.{column}", "message": f"not a field; there are {known}"})
        elif name in taken:
            details.append({"field": f"mapping.{column}", "message": f"{name} has a column already: {taken[name]}"})
        taken.setdefault(name, column)
    if details:
        raise BadRequestError("The mapping does not fit the entity's fields.", "invalid_mapping", details=details)


def upload_key(tenant: str, import_id: str, file_type: str) -> str:
    """Where the file of an import lies: within its tenant's prefix, under a name of ours."""
    return f"{tenant}/imports/{import_id}/file.{file_type}"


def find_upload(import_id: str) -> dict[str, Any] | None:
    """What was asked for under that id, of any tenant: it says whose it is, so the caller must look."""
    return table.get(f"IMPORT#{import_id}", "UPLOAD") if is_run_id(import_id) else None


@for_role("operator")
def start_file_import(
    asked: dict[str, Any], import_id: str, identity: Identity, now: datetime, *, key: str | None
) -> dict[str, Any]:
    """Start an import whose file has been uploaded; the job as JSON.

    ConflictError `nothing_uploaded` or `already_started`, BadRequestError `empty_file`.
    """
    tenant = str(asked["tenant"])
    once = IdempotencyKey.of(tenant, identity.sub, "start_file_import", key, {"id": import_id})
    if once and (kept := kept_answer(once, now)):
        return kept
    if "started_at" in asked:
        raise _already_started()
    object_key = upload_key(tenant, import_id, asked["type"])
    found = objects.head(settings().uploads_bucket, object_key)
    if found is None:
        raise ConflictError("Nothing has been uploaded for this import yet.", "nothing_uploaded")
    if found["size"] == 0:
        raise BadRequestError("The uploaded file is empty; upload it again.", "empty_file")
    spec = FileImportSpec(
        entity=asked["entity"],
        schema_name=asked["schema_name"],
        type=asked["type"],
        mapping=asked["mapping"],
        ignore_unknown=asked.get("ignore_unknown", False),
        encoding=asked.get("encoding"),
        delimiter=asked.get("delimiter"),
        on_conflict=asked["on_conflict"],
        filename=asked["filename"],
        key=object_key,
        size=found["size"],
        etag=found["etag"],
    )
    run = Run(
        id=import_id,
        tenant=tenant,
        kind=IMPORT.name,
        database=asked["database"],
        spec=spec.model_dump(),
        request=asked.get("request"),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    made = jobs.job(run, identity, now, progress=WAITING)
    answer = made.model_dump(mode="json")
    started = {"started_at": rfc3339(now)}
    writes: list[Write] = [Update(f"IMPORT#{import_id}", "UPLOAD", started, when={"started_at": ABSENT})]
    if once:
        writes.append(keep_answer(once, answer, now))
    try:
        create_run(run, now, writes)
    except ConditionFailedError:
        if once and (kept := kept_answer(once, now)):
            return kept
        raise _already_started() from None
    return answer


def _already_started() -> ConflictError:
    return ConflictError("This import was started already; its job has the same id.", "already_started")
