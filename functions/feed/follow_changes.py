"""GET /api/v1/stream/{entity}: the changes of an entity's records, as JSON or as an event stream."""

from typing import Annotated, Any, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import BaseModel, ConfigDict

from stowage.entities.declared import entity_at
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, WholeNumber, http_app
from stowage.feed import LONGEST_WAIT, Feed


class ChangeEvent(BaseModel):
    """A change: `data` is the record as it became, also under the entity's own name, beside which stands its id
    (`task`, `taskId`). `connected` has the cursor alone. `truncated`: the record is larger than an answer.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    data: dict[str, Any] | None


class ChangesPage(BaseModel):
    """Changes in their order; `cursor` is where the next page begins, and with `hasMore` it is there already."""

    success: Literal[True]
    events: list[ChangeEvent]
    cursor: str
    hasMore: bool


app = http_app(
    answers=(Answer(200, ChangesPage), Answer(200, str, ("Cache-Control",), "text/event-stream")),
    refuses=(410,),
    reads=("X-Tenant-Id", "Last-Event-ID"),
)


@app.get("/api/v1/stream/<entity>")
def follow_changes(
    caller: Caller,
    entity: str,
    project_id: str | None = None,
    after: str | None = None,
    wait: Annotated[WholeNumber, Query(ge=0, le=LONGEST_WAIT)] = 0,
) -> Response[str]:
    """Give what has changed since a cursor; `wait` holds the answer until something has."""
    feed = Feed(caller.tenant_named(project_id), entity_at(entity))
    if "text/event-stream" in caller.headers.get("accept", ""):
        stream = feed.stream(caller.headers.get("last-event-id") or after)
        return Response(200, "text/event-stream", stream, {"Cache-Control": "no-store"})
    return Response(200, "application/json", feed.page(after, wait), {"Cache-Control": "no-store"})
