"""GET /api/v1/audit: what happened in a tenant, and who did it."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from stowage.audit.reading import AuditPage, read_audit, wanted
from stowage.basics.moments import Bound
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, WholeNumber, http_app

app = http_app("admin", answers=(Answer(200, AuditPage),), reads=("X-Tenant-Id",))


@app.get("/api/v1/audit")
def list_audit(
    caller: Caller,
    project_id: str | None = None,
    actor: str | None = None,
    type: str | None = None,
    entity: str | None = None,
    id: str | None = None,
    since: Bound | None = None,
    until: Bound | None = None,
    cursor: str | None = None,
    limit: Annotated[WholeNumber, Query(ge=1, le=100)] = 20,
) -> Response[str]:
    """Show a page of a tenant's audit log, newest first."""
    tenant = caller.tenant_named(project_id)
    filters = wanted(actor, type, entity, id, since, until)
    return Response(200, "application/json", read_audit(tenant, caller.identity, filters, cursor, limit))
