"""GET exports/{exportId}/progress: how far an export is, as JSON or as a finite event stream."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, WholeNumber, http_app
from stowage.exports.progress import (
    ExportProgress,
    Viewer,
    etag,
    event_stream,
    is_known,
    show_progress,
    wait_for_change,
)

app = http_app(
    answers=(
        Answer(200, ExportProgress, ("ETag", "Cache-Control")),
        Answer(200, str, ("Cache-Control",), "text/event-stream"),
        Answer(204),
        Answer(304, None, ("ETag", "Cache-Control")),
    ),
    reads=("If-None-Match", "Last-Event-ID"),
)


@app.get("/api/guilds/<guild_id>/exports/<export_id>/progress")
def get_export_progress(
    caller: Caller, export_id: Id, wait: Annotated[WholeNumber, Query(ge=0, le=20)] = 0
) -> Response[ExportProgress | str | None]:
    """Read one item; `wait` holds the answer until the state changes; an event stream ends with the export."""
    viewer = Viewer(caller.tenant_id, caller.identity, caller.base_url, caller.now)
    if "text/event-stream" in caller.headers.get("accept", ""):
        stream = event_stream(viewer, export_id, caller.headers.get("last-event-id"))
        if stream is None:
            return Response(204)
        return Response(200, "text/event-stream", stream, {"Cache-Control": "no-store"})
    known = caller.headers.get("if-none-match")
    item = wait_for_change(viewer, export_id, known, wait)
    headers = {"ETag": etag(item), "Cache-Control": "no-cache"}
    if is_known(item, known):
        return Response(304, headers=headers)
    return Response(200, "application/json", show_progress(item), headers)
