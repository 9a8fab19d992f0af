"""How large a backup will be, read from the catalog."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from stowage.access.identity import Identity, for_role
from stowage.backups.included import included_schemas
from stowage.backups.records import BackupRequest
from stowage.basics.errors import UnavailableError
from stowage.delivery.wishes import must_take
from stowage.postgres.dumps.estimates import Estimate as DumpEstimate
from stowage.postgres.dumps.estimates import estimate, estimates
from stowage.postgres.dumps.preflight import must_exist
from stowage.postgres.session.connection import DUMP, Connection
from stowage.postgres.session.held_tables import READING, telling_held_tables
from stowage.postgres.session.transactions import look
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.plan import lane_of
from stowage.runs.record import Estimate, Lane, Run
from stowage.tenants import Tenant

DUMP_BYTES_A_SECOND = 100_000_000
WORKER_START_SECONDS = 45
IMAGE_START_SECONDS = 3
LOCK_SECONDS = 5.0
"""How long a request waits for a table that somebody holds exclusively."""


class BackupEstimate(BaseModel):
    """The expected size of a backup: `bytes` of the artifact, `seconds` until it is there."""

    bytes: int
    rows: int
    tables: int
    lane: Lane
    seconds: float


@for_role("admin")
def estimate_backup(tenant: Tenant, identity: Identity, request: BackupRequest) -> BackupEstimate:  # noqa: ARG001
    """Estimate a backup without starting it; BadRequestError as for the backup itself, UnavailableError that names
    a table which stays locked.
    """
    if request.notify_email is not None:
        must_take(tenant.id, request.notify_email, "notify_email")
    found = _estimate(tenant.id, tenant.database, tenant.schema, request.compress)
    run = Run(
        id="", tenant=tenant.id, kind=EXPORT_BACKUP.name, database=tenant.database, spec={}, requested_by="",
        created_at="",
    )  # fmt: skip
    lane = lane_of(run, Estimate(rows=found.rows, bytes=found.source_bytes))
    start = WORKER_START_SECONDS if lane == "worker" else IMAGE_START_SECONDS
    seconds = start + found.source_bytes / DUMP_BYTES_A_SECOND
    return BackupEstimate(bytes=found.bytes, rows=found.rows, tables=found.tables, lane=lane, seconds=round(seconds, 1))


def estimate_run(run: Run) -> Estimate:
    """The estimate against which a backup's progress is measured: rows, and bytes before compression.

    It waits for no lock, which the dump itself may outlast: the sizes as last counted are good enough then.
    """
    schema, compress = run.spec["schema"], run.spec["compress"]
    try:
        found = _estimate(run.tenant, run.database, schema, compress)
    except UnavailableError as error:
        if error.code != "database_busy":
            raise
        found = _estimate(run.tenant, run.database, schema, compress, measured=False)
    return Estimate(rows=found.rows, bytes=found.source_bytes)


def estimate_runs(runs: Sequence[Run]) -> Mapping[str, Estimate]:
    """The same of several runs of one database at once; a tenant whose schema is not there has none."""
    of_schema = {run.spec["schema"]: run.id for run in runs}
    database = runs[0].database

    def work(measured: bool) -> Mapping[str, DumpEstimate]:
        return look(
            database,
            lambda connection: estimates(connection, list(of_schema), measured=measured),
            role=DUMP,
            lock_seconds=LOCK_SECONDS,
        )

    try:
        found = work(True)
    except UnavailableError as error:
        if error.code != "database_busy":
            raise
        found = work(False)
    return {of_schema[schema]: Estimate(rows=each.rows, bytes=each.source_bytes) for schema, each in found.items()}


def _estimate(tenant: str, database: str, schema: str, compressed: bool, *, measured: bool = True) -> DumpEstimate:
    included = included_schemas(tenant)

    def work(connection: Connection) -> DumpEstimate:
        must_exist(connection, schema)
        return estimate(connection, schema, compressed=compressed, measured=measured, included=included)

    return telling_held_tables(
        database, DUMP, schema, READING, lambda: look(database, work, role=DUMP, lock_seconds=LOCK_SECONDS)
    )
