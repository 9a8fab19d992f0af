"""After a swap: the tenant's journal and trash follow the state that has become live."""

from datetime import datetime, timedelta

from stowage.entities.absence import without
from stowage.entities.declared import ENTITIES
from stowage.postgres.restores.following import follow_restored, has_followed
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.disagreements import lacking_entities
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import look
from stowage.runs.record import Run
from stowage.tenants import find_tenant
from stowage.trash.retention import purge_time

FOLLOW_SECONDS = 900.0


def follow(run: Run, now: datetime, *, made_at: datetime) -> None:
    """Let journal and trash follow, once for each run; `made_at` is when the restored state was written.

    UnavailableError where the database is away, ConflictError where a rule of a table keeps records out of the trash.
    """
    tenant = find_tenant(run.tenant, now)
    edit = Edit(tenant, run.requested_by, "admin", now, seconds=FOLLOW_SECONDS, operation=run.id)
    told: dict[str, object] = {"mode": run.spec["mode"], "state_of": run.spec.get("backup_id") or run.spec.get("of")}
    trash: timedelta = purge_time(tenant, now) - now

    def work(connection: Connection) -> None:
        if not has_followed(connection, tenant.id, run.id):
            trashed = [each for each in ENTITIES.values() if each.soft_delete and each.name not in lacking]
            follow_restored(connection, edit, trashed, made_at=made_at, trash=trash, told=told)

    lacking = look(tenant.database, lambda connection: lacking_entities(connection, tenant.schema))
    with without(lacking):
        edit.run(work)
