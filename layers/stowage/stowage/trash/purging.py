"""The daily purge: what is past its time in the trash goes for good, and so do old entries of the journal; in batches,
from where the last call stopped.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from stowage.aws import table
from stowage.basics.ids import rfc3339
from stowage.entities.absence import without
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.connection import APP, PURGE, Connection
from stowage.postgres.session.disagreements import lacking_entities
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import look, transact
from stowage.postgres.trash.lists import list_orphans, sweep_entries
from stowage.postgres.trash.purge import append_event, forget_changes, sweep_answers
from stowage.postgres.trash.purge_due import ADOPTED_AT_ONCE, Batch, adopt_deleted, due_for_purge, in_order
from stowage.postgres.trash.spans import recount_trash
from stowage.tenants import Tenant, list_tenants
from stowage.trash.batches import purge_next
from stowage.trash.due import PATIENCE, PURGE_ITEM, next_purge
from stowage.trash.retention import forget_time

ACTOR = "stowage"
BUDGET_SECONDS = 240.0
"""A call ends before its function's time-out; the clock calls again at once."""
BATCH_SECONDS = 55.0
"""For one transaction: a batch, or counting a large trash anew; what begins in time ends before the function's."""


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

    left = [tenant for tenant in list_tenants() if tenant.id > after]
    for tenant in left:
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
            if tenant == left[0] and not purged + forgotten:
                # It had the whole time, and nothing of it can go: it waits until tomorrow.
                after = tenant.id
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
    with without(look(tenant.database, lambda connection: lacking_entities(connection, tenant.schema), role=PURGE)):
        return _purge_there(tenant, now, has_time)


def _purge_there(tenant: Tenant, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    total = 0
    edit = Edit(tenant, ACTOR, "admin", now, login=PURGE, seconds=BATCH_SECONDS)
    for declared in in_order():
        if not _adopt(tenant, declared, now, has_time):
            return total, False
        find = partial(_find_due, tenant, declared, now)
        count, finished = purge_next(edit, declared, find, has_time, only_due=True)
        total += count
        if not finished:
            return total, False

    closing = replace(edit.anew(), login=APP)

    def close(connection: Connection) -> None:
        sweep_answers(connection)
        list_orphans(connection, tenant)
        sweep_entries(connection, tenant)
        recount_trash(connection, tenant, [each for each in ENTITIES.values() if each.soft_delete])
        append_event(connection, closing)

    closing.run(close)
    return total, True


def _adopt(tenant: Tenant, declared: Entity, now: datetime, has_time: Callable[[], bool]) -> bool:
    """Give what the product deleted itself its time, where the owner has a rule for that; whether there was time."""
    if declared.trash.purge_days is None:
        return True

    def adopt(connection: Connection) -> int:
        return adopt_deleted(connection, tenant, declared, now)

    while has_time():
        if transact(tenant.database, adopt, role=PURGE, seconds=BATCH_SECONDS) < ADOPTED_AT_ONCE:
            return True
    return False


def _find_due(tenant: Tenant, declared: Entity, now: datetime, left: Sequence[str], connection: Connection) -> Batch:
    return due_for_purge(connection, tenant, declared, now, left)


def purge_journal(tenant: Tenant, now: datetime, has_time: Callable[[], bool]) -> tuple[int, bool]:
    """Delete what is past its time from one tenant's journal, oldest first; how many entries, and whether all."""
    older_than = forget_time(tenant, now)
    total = 0
    while older_than is not None:
        if not has_time():
            return total, False
        count = transact(
            tenant.database,
            lambda connection: forget_changes(connection, tenant.id, older_than),
            role=PURGE,
            seconds=BATCH_SECONDS,
        )
        if not count:
            break
        total += count
    return total, True
