"""An export's progress, polled: one item read, an ETag, a long poll, a finite event stream (docs/api.md)."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from stowage.access.identity import Identity
from stowage.access.links import Link, link_url
from stowage.aws.table import Item
from stowage.basics.errors import NotFoundError
from stowage.basics.ids import rfc3339
from stowage.exports.records import export_status
from stowage.runs.kinds import EXPORT
from stowage.runs.record import FINAL
from stowage.runs.store import read_progress

POLL_AFTER_MS = 2000
STREAM_SECONDS = 20.0
LOOK_SECONDS = 0.25


class ExportProgress(BaseModel):
    """How far an export is; `pollAfterMs` says when to ask again, null when there is nothing more to come."""

    progress: float
    status: str
    recordCount: int
    bytes: int
    message: str
    pollAfterMs: int | None


@dataclass(frozen=True)
class Viewer:
    """Who asks for a progress, for which tenant and when; a link is shown to those who may fetch the file."""

    tenant: str
    identity: Identity
    base_url: str
    now: datetime


def read_state(viewer: Viewer, export_id: str) -> Item:
    """The progress item of a tenant's export, with `expired` where its file's time is over; NotFoundError."""
    item = read_progress(export_id)
    if item is None or item["tenant"] != viewer.tenant or item["kind"] != EXPORT.name:
        raise NotFoundError("There is no such export.")
    expired = "expired_at" in item or ("expires_at" in item and item["expires_at"] <= rfc3339(viewer.now))
    return item | {"expired": expired}


def etag(item: Item) -> str:
    """Changes whenever the state does; a file expires without a write."""
    return f'"{item["sequence"]}{"-expired" if item["expired"] else ""}"'


def is_known(item: Item, if_none_match: str | None) -> bool:
    """Whether one of the header's entity tags is that of this state; they are compared weakly (RFC 9110 §13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag(item) in tags or "*" in tags


def wait_for_change(viewer: Viewer, export_id: str, known: str | None, seconds: float) -> Item:
    """The state, as soon as it differs from `known` (None: from the present one), is final, or `seconds` are over."""
    deadline = time.monotonic() + seconds
    item = read_state(viewer, export_id)
    known = known or etag(item)
    while is_known(item, known) and item["status"] not in FINAL:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(LOOK_SECONDS, left))
        item = read_state(viewer, export_id)
    return item


def show_progress(item: Item) -> ExportProgress:
    """The state as clients of the JSON form see it."""
    final = item["status"] in FINAL
    return ExportProgress(
        progress=item["percent"],
        status=export_status(item["status"], expired=item["expired"]),
        recordCount=item["rows"],
        bytes=item["bytes"],
        message=item["message"],
        pollAfterMs=None if final else POLL_AFTER_MS,
    )


def event_stream(viewer: Viewer, export_id: str, last_event_id: str | None) -> str | None:
    """The changes until a terminal state or 20 seconds as one event-stream body; None if the client
    has the terminal state already.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    deadline = time.monotonic() + STREAM_SECONDS
    item = read_state(viewer, export_id)
    if item["status"] in FINAL and last_event_id == str(item["sequence"]):
        return None
    events = [f"retry: {POLL_AFTER_MS}\n\n"]
    if last_event_id != str(item["sequence"]):
        events.append(_event(item, viewer))
    while item["status"] not in FINAL and time.monotonic() < deadline:
        changed = wait_for_change(viewer, export_id, etag(item), deadline - time.monotonic())
        if etag(changed) != etag(item):
            events.append(_event(changed, viewer))
        item = changed
    return "".join(events)


def _event(item: Item, viewer: Viewer) -> str:
    data: dict[str, Any] = {
        "progress": item["percent"],
        "status": export_status(item["status"], expired=item["expired"]),
        "recordCount": item["rows"],
        "message": item["message"],
        "downloadUrl": _link(item, viewer),
    }
    return f"id: {item['sequence']}\ndata: {json.dumps(data)}\n\n"


def _link(item: Item, viewer: Viewer) -> str | None:
    if not viewer.identity.may(item["file_role"]) or item["status"] != "completed" or item["expired"]:
        return None
    run_id = item["pk"].removeprefix("RUN#")
    return link_url(Link(viewer.tenant, run_id, item["expires_at"]), viewer.base_url)
