"""POST /api/backup/compare/{id}/bring-back: records as they were in a backup."""

from aws_lambda_powertools.event_handler import Response

from stowage.bulk.results import BulkOperationResult
from stowage.compares import find_compare
from stowage.compares.bring_back_request import BringBackRequest
from stowage.compares.bringing_back import bring_back
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, http_app
from stowage.postgres.session.edit import Edit
from stowage.runs.store import tenant_of
from stowage.tenants import find_tenant

app = http_app(
    "admin",
    answers=(Answer(200, BulkOperationResult), Answer(207, BulkOperationResult)),
    refuses=(409, 410),
    reads=("Idempotency-Key",),
)


@app.post("/api/backup/compare/<job_id>/bring-back")
def bring_back_records(caller: Caller, job_id: Id, request: BringBackRequest) -> Response[str]:
    """Bring records back as one operation that can be undone: chosen ones, all of a kind, or single fields."""
    run = find_compare(caller.must_see_run(tenant_of(job_id)), job_id)
    answer = bring_back(Edit.by(caller, find_tenant(run.tenant, caller.now)), run, request, caller.now)
    return Response(answer.status, "application/json", answer.body)
