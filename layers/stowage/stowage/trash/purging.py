"""The daily purge: what is past its time goes for good, in batches, from where the last call stopped."""

import time
from collections.abc import Callable
from datetime import datetime

from stowage.aws import table
from stowage.entities import ENTITIES, Entity
from stowage.ids import new_operation_id, rfc3339
from stowage.postgres.bulk import Stamp
from stowage.postgres.connection import APP, PURGE, Connection
from stowage.postgres.purge import due_for_purge, in_order, purge_records, sweep_answers
from stowage.postgres.transactions import transact
from stowage.postgres.trash import list_orphans, recount_trash
from stowage.tenants import Tenant, list_tenants
from stowage.trash.due import PATIENCE, PURGE_ITEM, next_purge

ACTOR = "stowage"
BUDGET_SECONDS = 240.0
"""A call ends before its function's time-out; the clock calls again at once."""


def purge_trash(
    now: datetime, clock: Callable[[], float] = time.monotonic, budget_seconds: float = BUDGET_SECONDS
) -> dict[str, int]:
    """Purge every tenant's trash of what is past its time; how many records went, and whether all is done.

    Tenants are taken by id; one that fails does not hold up the others, and is tried again by the clock.
    """
    deadline = clock() + budget_seconds
    kept = table.get(*PURGE_ITEM) or {}
    after, purged = str(kept.get("after", "")), 0
    failure: Exception | None = None
    for tenant in list_tenants():
        if tenant.id <= after:
            continue
        try:
            count, finished = purge_tenant(tenant, now, lambda: clock() < deadline)
        except Exception as error:  # whatever it is, other tenants' time has come too
            failure = failure or error
            continue
        purged += count
        if not finished:
            table.update(*PURGE_ITEM, {"due_at": rfc3339(now), **({} if failure else {"after": after})})
            return {"purged": purged, "finished": 0}
        if failure is None:
            after = tenant.id
    if failure is not None:
        table.update(*PURGE_ITEM, {"due_at": rfc3339(now + PATIENCE), "after": after})
        raise failure
    table.update(*PURGE_ITEM, {"due_at": rfc3339(next_purge(now))}, remove=("after",))
    return {"purged": purged, "finished": 1}


def purge_tenant(tenant: Tenant, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    """Purge one tenant's trash, batch by batch; how many records, and whether all that are due.

    Each batch is a transaction with its own entries in the journal, so a call that is killed has lost nothing but time.
    """
    total = 0
    for declared in in_order():
        while True:
            if not has_time():
                return total, False
            count = _purge_batch(tenant, declared, now)
            if not count:
                break
            total += count

    def tidy(connection: Connection) -> None:
        list_orphans(connection, tenant.schema)
        recount_trash(connection, tenant, [each for each in ENTITIES.values() if each.soft_delete])
        sweep_answers(connection)

    transact(tenant.database, tidy, role=APP)
    return total, True


def _purge_batch(tenant: Tenant, declared: Entity, now: datetime) -> int:
    def work(connection: Connection) -> int:
        ids = due_for_purge(connection, tenant.schema, declared, now)
        if not ids:
            return 0
        stamp = Stamp(new_operation_id(now), ACTOR, now, now)
        purged = purge_records(connection, tenant, declared, ids, stamp, only_due=True)
        return purged.count + sum(purged.cascaded.values())

    return transact(tenant.database, work, role=PURGE)
