"""POST bulk/reassign: many accounts to another brand or group."""

from aws_lambda_powertools.event_handler import Response

from stowage import bulk
from stowage.bulk.requests import ReassignRequest
from stowage.bulk.results import BulkOperationResult
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit

app = http_app(
    "operator",
    answers=(Answer(200, BulkOperationResult), Answer(207, BulkOperationResult)),
    reads=("Idempotency-Key",),
)


@app.post("/api/guilds/<guild_id>/bulk/reassign")
def bulk_reassign(caller: Caller, request: ReassignRequest) -> Response[str]:
    """Give up to 10,000 accounts a brand and one of its groups, or none, with a result for each."""
    answer = bulk.bulk_reassign(Edit.by(caller, caller.tenant), request)
    return Response(answer.status, "application/json", answer.body)
