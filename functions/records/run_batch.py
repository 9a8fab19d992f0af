"""POST /api/v1/batch: up to 20 requests of record routes in one."""

from typing import Any

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from stowage.batch import answer_batch
from stowage.batch.requests import BatchRequest
from stowage.batch.routes import Told
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, RawBody, error_answer, http_app
from stowage.postgres.session.edit import Edit


class BatchPartAnswer(BaseModel):
    """What one request of a batch was answered: the `data` of the route's own answer, or its refusal."""

    id: str
    status: int
    body: Any


class BatchAnswer(BaseModel):
    """The answers of a batch, in the order of its requests."""

    success: bool = True
    responses: list[BatchPartAnswer]


app = http_app(answers=(Answer(200, BatchAnswer),), reads=("X-Tenant-Id", "Idempotency-Key"), body=BatchRequest)


@app.post("/api/v1/batch")
def run_batch(caller: Caller, body: RawBody) -> Response[str]:
    """Run requests of record routes for the caller; a failing one never fails the others."""
    request_id = app.current_event.request_context.request_id

    def refuse(error: Exception) -> Told:
        refusal = error_answer(error, request_id)
        return refusal["statusCode"], refusal["body"]

    return Response(200, "application/json", answer_batch(Edit.by(caller, caller.tenant_named(None)), body, refuse))
