"""POST bulk/delete: many records to the trash."""

from aws_lambda_powertools.event_handler import Response

from stowage import bulk
from stowage.bulk.requests import DeleteRequest
from stowage.bulk.results import BulkOperationResult
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit

app = http_app(
    "operator",
    answers=(Answer(200, BulkOperationResult), Answer(207, BulkOperationResult)),
    reads=("Idempotency-Key",),
)


@app.post("/api/guilds/<guild_id>/bulk/delete")
def bulk_delete(caller: Caller, request: DeleteRequest) -> Response[str]:
    """Delete up to 10,000 accounts or posts, with a result for each; an account's posts go along."""
    answer = bulk.bulk_delete(Edit.by(caller, caller.tenant), request)
    return Response(answer.status, "application/json", answer.body)
