"""The daily purge: what is past its time in the trash goes for good, and so do old entries of the journal; in batches,
from where the last call stopped.
"""

import time
from collections.abc import Callable
from datetime import datetime

from stowage.aws import table
from stowage.entities import ENTITIES, Entity
from stowage.entry.telemetry import logger
from stowage.errors import ConflictError
from stowage.ids import new_operation_id, rfc3339
from stowage.postgres.bulk import Stamp
from stowage.postgres.connection import APP, PURGE, Connection
from stowage.postgres.purge import (
    BATCH,
    Purged,
    append_event,
    due_for_purge,
    forget_changes,
    in_order,
    purge_records,
    sweep_answers,
)
from stowage.postgres.transactions import transact
from stowage.postgres.trash import list_orphans, recount_trash
from stowage.tenants import Tenant, list_tenants
from stowage.trash.due import PATIENCE, PURGE_ITEM, next_purge
from stowage.trash.retention import forget_time

ACTOR = "stowage"
BUDGET_SECONDS = 240.0
"""A call ends before its function's time-out; the clock calls again at once."""


def purge_trash(
    now: datetime, clock: Callable[[], float] = time.monotonic, budget_seconds: float = BUDGET_SECONDS
) -> dict[str, int]:
    """Purge every tenant's trash and journal of what is past its time; how many records and entries went, and whether
    all is done.

    Tenants are taken by id; one that fails does not hold up the others, and is tried again by the clock.
    """
    deadline = clock() + budget_seconds
    kept = table.get(*PURGE_ITEM) or {}
    after, purged, forgotten = str(kept.get("after", "")), 0, 0
    failure: Exception | None = None

    def has_time() -> bool:
        return clock() < deadline

    for tenant in list_tenants():
        if tenant.id <= after:
            continue
        try:
            count, finished = purge_tenant(tenant, now, has_time)
            purged += count
            if finished:
                count, finished = purge_journal(tenant, now, has_time)
                forgotten += count
        except Exception as error:  # whatever it is, other tenants' time has come too
            failure = failure or error
            continue
        if not finished:
            table.update(*PURGE_ITEM, {"due_at": rfc3339(now), **({} if failure else {"after": after})})
            return {"purged": purged, "forgotten": forgotten, "finished": 0}
        if failure is None:
            after = tenant.id
    if failure is not None:
        table.update(*PURGE_ITEM, {"due_at": rfc3339(now + PATIENCE), "after": after})
        raise failure
    table.update(*PURGE_ITEM, {"due_at": rfc3339(next_purge(now))}, remove=("after",))
    return {"purged": purged, "forgotten": forgotten, "finished": 1}


def purge_tenant(tenant: Tenant, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    """Purge one tenant's trash, batch by batch; how many records, and whether all that are due.

    Each batch is a transaction with its own entries in the journal, so a call that is killed has lost nothing but time.
    The call that finds nothing more appends the event for all of them.
    """
    total = 0
    for declared in in_order():
        count, finished = _purge_entity(tenant, declared, now, has_time)
        total += count
        if not finished:
            return total, False

    def close(connection: Connection) -> None:
        sweep_answers(connection)
        list_orphans(connection, tenant.schema)
        recount_trash(connection, tenant, [each for each in ENTITIES.values() if each.soft_delete])
        append_event(connection, tenant.id, Stamp(new_operation_id(now), ACTOR, now, now))

    transact(tenant.database, close, role=APP)
    return total, True


def purge_journal(tenant: Tenant, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    """Delete what is past its time from one tenant's journal, oldest first; how many entries, and whether all."""
    older_than = forget_time(tenant, now)
    total = 0
    while older_than is not None:
        if not has_time():
            return total, False
        count = transact(
            tenant.database, lambda connection: forget_changes(connection, tenant.id, older_than), role=PURGE
        )
        if not count:
            break
        total += count
    return total, True


def _purge_entity(tenant: Tenant, declared: Entity, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    """Purge one entity's trash; what does not go is left for tomorrow, and holds nothing else up.

    A batch that the database refuses, because a table of the product's own still refers to one of its records, is
    halved until that record is by itself.
    """
    total, at_once = 0, BATCH
    left: list[str] = []

    def find(connection: Connection) -> list[str]:
        return due_for_purge(connection, tenant.schema, declared, now, left)

    while has_time():
        ids = transact(tenant.database, find, role=PURGE)[:at_once]
        if not ids:
            return total, True
        try:
            purged = _purge_batch(tenant, declared, ids, now)
        except ConflictError:
            if len(ids) == 1:
                logger.warning("still referred to", tenant=tenant.id, entity=declared.name, id=ids[0])
                left += ids
            at_once = max(1, len(ids) // 2)
            continue
        if not purged.count:
            left += ids
        total += purged.count + sum(purged.cascaded.values())
        at_once = min(BATCH, 2 * at_once)
    return total, False


def _purge_batch(tenant: Tenant, declared: Entity, ids: list[str], now: datetime) -> Purged:
    stamp = Stamp(new_operation_id(now), ACTOR, now, now)
    return transact(
        tenant.database,
        lambda connection: purge_records(connection, tenant, declared, ids, stamp, only_due=True),
        role=PURGE,
    )
