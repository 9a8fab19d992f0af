"""POST bulk/undo: take an operation back."""

from aws_lambda_powertools.event_handler import Response

from stowage import bulk
from stowage.bulk.requests import UndoRequest
from stowage.bulk.results import BulkOperationResult
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app
from stowage.postgres.session.edit import Edit

app = http_app(
    "operator",
    answers=(Answer(200, BulkOperationResult), Answer(207, BulkOperationResult)),
    reads=("Idempotency-Key",),
)


@app.post("/api/guilds/<guild_id>/bulk/undo")
def bulk_undo(caller: Caller, request: UndoRequest) -> Response[str]:
    """Put back what the operation changed, but for what was edited since; once."""
    answer = bulk.bulk_undo(Edit.by(caller, caller.tenant), request)
    return Response(answer.status, "application/json", answer.body)
