"""GET /api/backup/protection: how well each tenant is protected."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, WholeNumber, http_app, json_response
from stowage.protection.fleet import list_protection as read_protection
from stowage.protection.records import Order, ProtectionPage, StateList, tag_of

app = http_app(
    answers=(
        Answer(200, ProtectionPage, ("ETag", "Cache-Control")),
        Answer(304, None, ("ETag", "Cache-Control")),
    ),
    reads=("If-None-Match",),
)


@app.get("/api/backup/protection")
def list_protection(
    caller: Caller,
    state: StateList = "at_risk,soon_due,safe,paused",
    q: Annotated[str | None, Query(max_length=200)] = None,
    sort: Order = "state",
    page: Annotated[WholeNumber, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> Response[ProtectionPage | None]:
    """Show a page of tenants, those at risk first; 304 to who knows it already."""
    tenants = caller.tenants()
    found = read_protection(tenants, caller.now, states=state.split(","), q=q, order=sort, page=page, limit=limit)
    headers = {"ETag": tag_of(found), "Cache-Control": "no-cache"}
    if caller.has(headers["ETag"]):
        return Response(304, headers=headers)
    return json_response(found, 200, headers)
