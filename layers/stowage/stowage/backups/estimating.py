"""How large a backup will be, read from the catalog."""

from pydantic import BaseModel

from stowage.backups import must_be_configured
from stowage.backups.records import BackupRequest
from stowage.postgres.dumps.contents import Estimate as DumpEstimate
from stowage.postgres.dumps.contents import estimate
from stowage.postgres.dumps.preflight import must_exist
from stowage.postgres.session.connection import DUMP, Connection
from stowage.postgres.session.transactions import look
from stowage.runs.record import Estimate, Run
from stowage.tenants import Tenant

DUMP_BYTES_A_SECOND = 100_000_000
WORKER_START_SECONDS = 45


class BackupEstimate(BaseModel):
    """What a backup would come to: `bytes` of the artifact, `seconds` until it is there."""

    bytes: int
    rows: int
    tables: int
    lane: str
    seconds: float


def estimate_backup(tenant: Tenant, request: BackupRequest) -> BackupEstimate:
    """Estimate a backup without starting it; BadRequestError as for the backup itself."""
    must_be_configured(request)
    found = _estimate(tenant.database, tenant.schema, request.compress)
    seconds = WORKER_START_SECONDS + found.source_bytes / DUMP_BYTES_A_SECOND
    return BackupEstimate(
        bytes=found.bytes, rows=found.rows, tables=found.tables, lane="worker", seconds=round(seconds, 1)
    )


def estimate_run(run: Run) -> Estimate:
    """The estimate against which a backup's progress is measured: rows, and bytes before compression."""
    found = _estimate(run.database, run.spec["schema"], run.spec["compress"])
    return Estimate(rows=found.rows, bytes=found.source_bytes)


def _estimate(database: str, schema: str, compressed: bool) -> DumpEstimate:
    def work(connection: Connection) -> DumpEstimate:
        must_exist(connection, schema)
        return estimate(connection, schema, compressed=compressed)

    return look(database, work, role=DUMP)
