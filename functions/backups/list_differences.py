"""GET /api/backup/compare/{job_id}: what a comparison has found."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.compares import find_compare
from stowage.compares.reading import DifferencesPage, read_differences_page
from stowage.compares.requests import DifferenceKind
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Id, WholeNumber, http_app
from stowage.runs.store import tenant_of
from stowage.tenants import find_tenant

app = http_app("admin", answers=(Answer(200, DifferencesPage),), refuses=(409, 410))


@app.get("/api/backup/compare/<job_id>")
def list_differences(
    caller: Caller,
    job_id: Id,
    entity: str,
    kind: DifferenceKind,
    cursor: str | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> Response[str]:
    """Show a page of an entity's records that differ, with both sides and who changed them last."""
    run = find_compare(caller.must_see_run(tenant_of(job_id)), job_id)
    tenant = find_tenant(run.tenant, caller.now)
    body = read_differences_page(run, tenant, caller.identity, caller.now, entity, kind, cursor, limit)
    return Response(200, "application/json", body)
