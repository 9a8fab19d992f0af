"""Exports: ask for one, follow it, fetch it (docs/api.md)."""

import json
from datetime import datetime
from itertools import islice
from typing import Any

from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.access.limits import DAY, Limit
from stowage.access.links import no_link, read_token
from stowage.aws import table
from stowage.aws.objects import signed_link
from stowage.basics.errors import BadRequestError, ForbiddenError, GoneError, TooLargeError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.basics.paging import paginate
from stowage.entities.declared import ENTITIES, must_hold_everything
from stowage.entities.filters import EVERYTHING, JOURNAL, parse_filters
from stowage.exports.records import (
    CreatedExport,
    ExportPage,
    ExportRecord,
    ExportRequest,
    Quota,
    QuotaUse,
    export_record,
    spec_of,
)
from stowage.runs.actions import must_be_able
from stowage.runs.audit_notes import audit_note
from stowage.runs.change import cancel_run, forget_run
from stowage.runs.counters import count_history
from stowage.runs.kinds import EXPORT
from stowage.runs.manifest import bucket_of
from stowage.runs.record import ONE_FILE, Run
from stowage.runs.request import as_sent, request_run
from stowage.runs.store import find_run, list_history, read_run, with_progress
from stowage.settings import settings
from stowage.tenants import Tenant

MOST_FILTER_BYTES = 200_000
"""The filters are kept in the run's record, and an item of the table holds 400 KB."""
LINK_SECONDS = 300
"""How long the storage's own link works. It is signed when a client follows ours."""


@for_role("operator")
def create_export(
    tenant: Tenant,
    identity: Identity,
    request: ExportRequest,
    now: datetime,
    base_url: str,
    *,
    key: str | None,
) -> CreatedExport:
    """Ask for an export; the record of the run that will make it. ForbiddenError where its file is for admins only.

    BadRequestError or TooLargeError for what cannot be exported, RateLimitedError when the day's quota is used up.
    """
    filters = check_request(request)
    run = Run(
        id=new_run_id(now),
        tenant=tenant.id,
        kind=EXPORT.name,
        database=tenant.database,
        spec=spec_of(request, file_name(tenant, request, now), filters) | {"schema": tenant.schema},
        request=as_sent(request),
        requested_by=identity.sub,
        created_at=rfc3339(now),
    )
    must_fetch(run, identity)
    [limit] = limits_of(tenant.id, identity.sub, request)
    once = IdempotencyKey.of(tenant.id, identity.sub, "create_export", key, request.model_dump(mode="json"))

    def answer() -> dict[str, Any]:
        quota = read_quota(tenant.id, identity.sub, now)
        used = quota.gdpr if request.dataType == EVERYTHING else quota.standard
        used.remaining = max(0, used.remaining - 1)
        return CreatedExport(**export_record(run, 0, base_url, now).model_dump(), quota=quota).model_dump()

    message = f"That was today's last export of {limit.most}; the next is possible at {rfc3339(limit.resets_at(now))}."
    made = request_run(run, now, answer, key=once or None, limits=[limit], limit_message=message)
    return CreatedExport.model_validate(made)


def must_fetch(run: Run, identity: Identity) -> None:
    """Raise ForbiddenError if the caller's role may not fetch the export's file."""
    if not identity.may(run.file_role):
        raise ForbiddenError("The audit log is for admins, and so is an export that holds it.", "role_too_low")


def check_request(request: ExportRequest) -> dict[str, Any]:
    """The filters of a request, without null and empty ones; BadRequestError if the request cannot be carried out."""
    if request.dataType not in (*ENTITIES, JOURNAL, EVERYTHING):
        known = ", ".join((*ENTITIES, JOURNAL, EVERYTHING))
        raise BadRequestError(
            f"{request.dataType!r} cannot be exported; these can: {known}.",
            "unknown_data_type",
            details=[{"field": "dataType", "message": f"one of {known}"}],
        )
    if request.dataType == EVERYTHING:
        must_hold_everything()
    filters = {name: value for name, value in (request.filters or {}).items() if value not in (None, "", [])}
    if len(json.dumps(filters)) > MOST_FILTER_BYTES:
        raise TooLargeError("The filters may have 200 kB; export a larger selection in parts.")
    if request.dataType == EVERYTHING and filters:
        raise BadRequestError(
            "A GDPR export holds everything and takes no filters.",
            details=[{"field": "filters", "message": "not taken with dataType gdpr"}],
        )
    if request.dataType != EVERYTHING:
        parse_filters(request.dataType, filters)
    return filters


def file_name(tenant: Tenant, request: ExportRequest, now: datetime) -> str:
    """The name under which a browser saves the file, with the right extension."""
    extension = "zip" if request.dataType == EVERYTHING else request.format
    stem = request.filename or f"{tenant.slug}-{request.dataType}-{now:%Y-%m-%d}"
    return stem if stem.lower().endswith(f".{extension}") else f"{stem}.{extension}"


def limits_of(tenant: str, sub: str, request: ExportRequest | None = None) -> list[Limit]:
    """The limit on a user's exports of a tenant; GDPR exports have one of their own, which counts
    for a `request` of that kind.
    """
    return [_quota_limit(tenant, sub, gdpr=request is not None and request.dataType == EVERYTHING)]


def _quota_limit(tenant: str, sub: str, *, gdpr: bool) -> Limit:
    name, most = ("gdpr", settings().gdpr_exports_per_day) if gdpr else ("exports", settings().exports_per_day)
    return Limit(name, f"{tenant}#{sub}", most, DAY)


def read_quota(tenant: str, sub: str, now: datetime) -> Quota:
    """What is left today of a user's quotas."""
    return Quota(
        standard=_quota_use(_quota_limit(tenant, sub, gdpr=False), now),
        gdpr=_quota_use(_quota_limit(tenant, sub, gdpr=True), now),
    )


def _quota_use(limit: Limit, now: datetime) -> QuotaUse:
    remaining = max(0, limit.most - limit.used(now))
    return QuotaUse(limit=limit.most, remaining=remaining, resetAt=rfc3339(limit.resets_at(now)))


def list_exports(tenant: str, identity: Identity, now: datetime, page: int, limit: int, base_url: str) -> ExportPage:
    """A page of a tenant's exports, newest first."""
    runs = islice(list_history(tenant, EXPORT.history, {}, page * limit), (page - 1) * limit, page * limit)
    total = count_history(tenant, EXPORT.history, None, now)
    return ExportPage(
        exports=[show(run, identity, now, base_url) for run in runs],
        pagination=paginate(page, limit, total),
        quota=read_quota(tenant, identity.sub, now),
    )


def read_export(tenant: str, identity: Identity, export_id: str, now: datetime, base_url: str) -> ExportRecord:
    """One export; NotFoundError."""
    return show(read_run(tenant, export_id, EXPORT.history), identity, now, base_url)


def show(run: Run, identity: Identity, now: datetime, base_url: str) -> ExportRecord:
    """A run as this caller may see it: without a link if the caller may not fetch the file."""
    run, progress = with_progress(run)
    percent = float(progress["percent"]) if progress else 0.0
    return export_record(run, percent, base_url if identity.may(run.file_role) else None, now)


@for_role("operator")
def cancel_export(tenant: str, identity: Identity, export_id: str, now: datetime, base_url: str) -> ExportRecord:
    """Stop an export; ConflictError `already_finished`."""
    run = read_run(tenant, export_id, EXPORT.history)
    must_be_able("cancel", run, identity, now)
    return show(cancel_run(run, identity.sub, now), identity, now, base_url)


@for_role("operator")
def delete_export(tenant: str, identity: Identity, export_id: str, now: datetime) -> str:
    """Delete an export's file and record; ConflictError `still_running`, `in_use`."""
    run = read_run(tenant, export_id, EXPORT.history)
    must_be_able("delete", run, identity, now)
    forget_run(run, identity.sub, now)
    return run.id


def follow_link(token: str, source_ip: str, now: datetime, *, head: bool = False) -> str:
    """A storage link for one of our download links, signed at this moment.

    Each use is audited, except with `head`, whose link gives headers only. NotFoundError for a link
    that is not ours or whose export was deleted, GoneError for one whose file has expired.
    """
    link = read_token(token)
    run = find_run(link.tenant, link.run_id)
    if run is None or run.outcome is None or run.expires_at != link.expires_at:
        raise no_link()
    if run.is_expired(now):
        raise GoneError("The file has expired; export again.", "expired")
    if not head:
        note = audit_note(run, "downloaded", f"link from {source_ip}", now)
        table.put(note.item)
    file = run.outcome.files[link.file or ONE_FILE]
    return signed_link(
        str(bucket_of(run)),
        file.key,
        file_name=file.file_name,
        content_type=file.content_type,
        seconds=LINK_SECONDS,
        head=head,
    )
