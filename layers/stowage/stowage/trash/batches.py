"""Purging in batches, each a transaction with its own entries in the journal: who is killed in between has lost nothing
but time, and whoever comes next goes on.
"""

from collections.abc import Callable, Sequence
from functools import partial

from stowage.basics.errors import ConflictError, UnavailableError
from stowage.basics.telemetry import logger
from stowage.entities.declaration import Entity, Reference
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import transact
from stowage.postgres.trash.purge import Purged, purge_records
from stowage.postgres.trash.purge_due import BATCH, Batch, begin_purge, next_children
from stowage.postgres.trash.purge_references import empty_references

type HasTime = Callable[[], bool]
"""Whether there is time for another batch."""


def purge_next(
    edit: Edit,
    declared: Entity,
    find: Callable[[Sequence[str], Connection], Batch],
    has_time: HasTime,
    *,
    only_due: bool,
) -> tuple[int, bool]:
    """Purge in batches, each an operation of its own; how many records went, and whether none that may go is left.

    `find(skip, connection)` gives the next batch without the ids in `skip`; an empty batch ends the loop. The edit's
    login is the purge's.

    A batch that the database refuses, because a table of the product's own still refers to one of its records or a
    trigger keeps it, is halved until that record is by itself. After one that takes too long, because its records are
    large, the first goes by itself.
    """
    total, at_once = 0, BATCH
    left: list[str] = []
    while has_time():
        batch = _look(edit, partial(find, tuple(left)))
        ids = batch.ids[:at_once]
        if not ids:
            return total, True
        if not batch.fits:
            count, finished = purge_large(edit, declared, ids[0], has_time, only_due=only_due)
            total += count
            if not finished:
                return total, False
            left += ids
            continue
        try:
            purged = _purge_batch(edit, declared, ids, only_due=only_due)
        except ConflictError as error:
            if len(ids) == 1:
                _tell(edit, declared, ids[0], error)
                left += ids
            at_once = max(1, len(ids) // 2)
            continue
        except UnavailableError as error:
            if len(ids) == 1 or error.code != "database_busy":
                raise
            at_once = 1
            continue
        if not purged.count:
            left += ids
        total += purged.count + sum(purged.cascaded.values())
        at_once = min(BATCH, 2 * at_once)
    return total, False


def purge_large(edit: Edit, declared: Entity, record_id: str, has_time: HasTime, *, only_due: bool) -> tuple[int, bool]:
    """Purge one record with more than a batch of what belongs to it: that first, then it; counts as `purge_next`."""

    def begin(connection: Connection) -> bool:
        return begin_purge(connection, edit.tenant, declared, record_id, edit.at, only_due=only_due)

    if not _look(edit, begin):
        return 0, True
    released = BATCH
    while released >= BATCH:
        if not has_time():
            return 0, False
        released = _release(edit.anew(), declared, record_id)
    total = 0
    for child in declared.children("cascade"):
        find = partial(_find_children, edit, declared, child, record_id)
        count, finished = purge_next(edit, child[0], find, has_time, only_due=False)
        total += count
        if not finished:
            return total, False
    if not has_time():
        return total, False
    try:
        purged = _purge_batch(edit, declared, [record_id], only_due=only_due)
    except ConflictError as error:
        _tell(edit, declared, record_id, error)
        return total, True
    return total + purged.count + sum(purged.cascaded.values()), True


def _look[T](edit: Edit, work: Callable[[Connection], T]) -> T:
    """What `work` returns, done in a transaction that appends nothing to the journal."""
    return transact(edit.tenant.database, work, schema=edit.schema, role=edit.login, seconds=edit.seconds)


def _release(edit: Edit, declared: Entity, record_id: str) -> int:
    return edit.run(lambda connection: empty_references(connection, edit, declared, [record_id], BATCH))


def _find_children(
    edit: Edit,
    declared: Entity,
    child: tuple[Entity, Reference],
    parent: str,
    left: Sequence[str],
    connection: Connection,
) -> Batch:
    return next_children(connection, edit.tenant, declared, child, parent, left)


def _purge_batch(edit: Edit, declared: Entity, ids: Sequence[str], *, only_due: bool) -> Purged:
    batch = edit.anew()
    return batch.run(lambda connection: purge_records(connection, batch, declared, ids, only_due=only_due))


def _tell(edit: Edit, declared: Entity, record_id: str, error: ConflictError) -> None:
    logger.warning("cannot go", tenant=edit.tenant.id, entity=declared.name, id=record_id, why=error.message)
