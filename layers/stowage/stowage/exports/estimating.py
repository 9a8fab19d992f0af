"""How large an export will be, asked of Postgres's planner."""

from typing import Literal

from pydantic import BaseModel

from stowage.access.identity import Identity, for_role
from stowage.entities.filters import EVERYTHING, parse_filters
from stowage.exports import check_request, must_fetch
from stowage.exports.formats import estimate
from stowage.exports.records import ExportRequest
from stowage.postgres.reads.copy import LOCK_SECONDS
from stowage.postgres.session.transactions import look
from stowage.runs.kinds import EXPORT
from stowage.runs.plan import lane_of
from stowage.runs.record import Estimate, Run
from stowage.tenants import Tenant

INLINE_BYTES_A_SECOND = 20_000_000
WORKER_BYTES_A_SECOND = 60_000_000
WORKER_START_SECONDS = 45


class ExportEstimate(BaseModel):
    """The expected size of an export: `bytes` of the file, `seconds` until it can be fetched."""

    rows: int
    bytes: int
    lane: Literal["inline", "worker"]
    seconds: float


@for_role("operator")
def estimate_export(tenant: Tenant, identity: Identity, request: ExportRequest) -> ExportEstimate:
    """Estimate a request without starting it; BadRequestError and ForbiddenError as for the export itself."""
    spec: dict[str, object] = {
        "format": request.format,
        "dataType": request.dataType,
        "filters": check_request(request),
    }
    run = Run(
        id="", tenant=tenant.id, kind=EXPORT.name, database=tenant.database, spec=spec, requested_by="", created_at=""
    )
    must_fetch(run, identity)
    found = _estimate(tenant.database, tenant.schema, tenant.id, spec)
    is_inline = lane_of(run, found) == "inline"
    if is_inline:
        seconds = 0.5 + found.bytes / INLINE_BYTES_A_SECOND
    else:
        seconds = WORKER_START_SECONDS + found.bytes / WORKER_BYTES_A_SECOND
    lane: Literal["inline", "worker"] = "inline" if is_inline else "worker"
    return ExportEstimate(rows=found.rows, bytes=found.bytes, lane=lane, seconds=round(seconds, 1))


def estimate_run(run: Run) -> Estimate:
    """The estimate by which a run gets its lane; it waits for a locked table as long as the export itself does."""
    return _estimate(run.database, run.spec["schema"], run.tenant, run.spec, lock_seconds=LOCK_SECONDS)


def _estimate(
    database: str, schema: str, tenant: str, spec: dict[str, object], *, lock_seconds: float | None = None
) -> Estimate:
    data_type = str(spec["dataType"])
    given = spec["filters"]
    assert isinstance(given, dict)
    filters = None if data_type == EVERYTHING else parse_filters(data_type, given)
    found = look(
        database,
        lambda connection: estimate(connection, schema, tenant, data_type, filters, str(spec["format"])),
        schema=schema,
        lock_seconds=lock_seconds,
    )
    return Estimate(rows=found.rows, bytes=found.bytes)
