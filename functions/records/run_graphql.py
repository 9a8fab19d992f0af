"""POST /api/v1/graphql: records by GraphQL."""

import json
from typing import Any, NotRequired, TypedDict

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer, Refusal
from stowage.entry.http import Caller, RawBody, error_answer, http_app
from stowage.graphql import OWN, answer_graphql, media_type
from stowage.graphql.requests import GraphqlRequest
from stowage.postgres.session.edit import Edit


class GraphqlAnswer(TypedDict):
    """`data` as it was asked for, and what went wrong, each with its path and `extensions.code`."""

    data: NotRequired[dict[str, Any] | None]
    errors: NotRequired[list[dict[str, Any]]]


app = http_app(
    answers=(
        Answer(200, GraphqlAnswer),
        Answer(200, GraphqlAnswer, media_type=OWN),
        Answer(400, Refusal),
        Answer(400, GraphqlAnswer, media_type=OWN),
    ),
    refuses=(406,),
    reads=("X-Tenant-Id", "Idempotency-Key"),
    body=GraphqlRequest,
)


@app.post("/api/v1/graphql")
def run_graphql(caller: Caller, body: RawBody) -> Response[str]:
    """Read, make, change and delete records by one GraphQL request."""
    kind = media_type(caller.headers.get("accept"))
    request_id = app.current_event.request_context.request_id

    def told(error: Exception) -> Any:
        return json.loads(error_answer(error, request_id)["body"])

    status, text = answer_graphql(Edit.by(caller, caller.tenant_named(None)), body, kind, told)
    return Response(status, kind, text)
