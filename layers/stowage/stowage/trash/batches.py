"""Purging in batches, each a transaction with its own entries in the journal: who is killed in between has lost nothing
but time, and whoever comes next goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from stowage.basics.errors import ConflictError
from stowage.basics.ids import new_operation_id
from stowage.entities.declaration import Entity, Reference
from stowage.entry.telemetry import logger
from stowage.postgres.edits.locks import Stamp
from stowage.postgres.session.connection import PURGE, Connection
from stowage.postgres.session.transactions import transact
from stowage.postgres.trash.purge import Purged, purge_records
from stowage.postgres.trash.purge_due import BATCH, Batch, begin_purge, next_children
from stowage.postgres.trash.purge_references import empty_references
from stowage.tenants import Tenant


@dataclass(frozen=True)
class Purge:
    """A purge of one tenant's trash, by whom and when; a batch begins while there is time and may take `seconds`."""

    tenant: Tenant
    actor: str
    now: datetime
    has_time: Callable[[], bool]
    seconds: float

    def in_transaction[T](self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, done by the purge's role."""
        return transact(self.tenant.database, work, role=PURGE, seconds=self.seconds)

    def stamp(self) -> Stamp:
        """A new operation's; each batch is one."""
        return Stamp(new_operation_id(self.now), self.actor, self.now, self.now)


def purge_next(
    purge: Purge,
    declared: Entity,
    find: Callable[[Sequence[str], Connection], Batch],
    *,
    only_due: bool,
) -> tuple[int, bool]:
    """Purge what `find` finds but for the ids it is given, until that is nothing; how many records went, and whether
    none that may go is left.

    A batch that the database refuses, because a table of the product's own still refers to one of its records, is
    halved until that record is by itself.
    """
    total, at_once = 0, BATCH
    left: list[str] = []
    while purge.has_time():
        batch = purge.in_transaction(partial(find, tuple(left)))
        ids = batch.ids[:at_once]
        if not ids:
            return total, True
        if not batch.fits:
            count, finished = purge_large(purge, declared, ids[0], only_due=only_due)
            total += count
            if not finished:
                return total, False
            left += ids
            continue
        try:
            purged = _purge_batch(purge, declared, ids, only_due=only_due)
        except ConflictError:
            if len(ids) == 1:
                _tell(purge, declared, ids[0])
                left += ids
            at_once = max(1, len(ids) // 2)
            continue
        if not purged.count:
            left += ids
        total += purged.count + sum(purged.cascaded.values())
        at_once = min(BATCH, 2 * at_once)
    return total, False


def purge_large(purge: Purge, declared: Entity, record_id: str, *, only_due: bool) -> tuple[int, bool]:
    """Purge one record with more than a batch of what belongs to it: that first, then it; counts as `purge_next`."""

    def begin(connection: Connection) -> bool:
        return begin_purge(connection, purge.tenant, declared, record_id, purge.now, only_due=only_due)

    def release(connection: Connection) -> int:
        return empty_references(connection, purge.tenant, declared, [record_id], purge.stamp(), BATCH)

    if not purge.in_transaction(begin):
        return 0, True
    released = BATCH
    while released >= BATCH:
        if not purge.has_time():
            return 0, False
        released = purge.in_transaction(release)
    total = 0
    for child in declared.children("cascade"):
        find = partial(_find_children, purge, declared, child, record_id)
        count, finished = purge_next(purge, child[0], find, only_due=False)
        total += count
        if not finished:
            return total, False
    if not purge.has_time():
        return total, False
    try:
        purged = _purge_batch(purge, declared, [record_id], only_due=only_due)
    except ConflictError:
        _tell(purge, declared, record_id)
        return total, True
    return total + purged.count + sum(purged.cascaded.values()), True


def _find_children(
    purge: Purge,
    declared: Entity,
    child: tuple[Entity, Reference],
    parent: str,
    left: Sequence[str],
    connection: Connection,
) -> Batch:
    return next_children(connection, purge.tenant.schema, declared, child, parent, left)


def _purge_batch(purge: Purge, declared: Entity, ids: Sequence[str], *, only_due: bool) -> Purged:
    return purge.in_transaction(
        lambda connection: purge_records(connection, purge.tenant, declared, ids, purge.stamp(), only_due=only_due)
    )


def _tell(purge: Purge, declared: Entity, record_id: str) -> None:
    logger.warning("still referred to", tenant=purge.tenant.id, entity=declared.name, id=record_id)
