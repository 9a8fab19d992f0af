"""Undoing an operation: what it changed goes back as it was, but for what somebody has edited since."""

from datetime import datetime

from stowage.basics.errors import ConflictError, NotFoundError
from stowage.basics.ids import decode_id, encode_id, new_operation_id
from stowage.bulk.requests import UndoRequest
from stowage.bulk.results import answer
from stowage.entities.declared import ENTITIES, must_have_trash
from stowage.postgres.edits import undo
from stowage.postgres.edits.deletes import delete_locked
from stowage.postgres.edits.locks import Outcome, Stamp, lock_records
from stowage.postgres.journal.changes import Change, append_changes
from stowage.postgres.journal.operations import UNDOABLE, Operation, lock_operation, partly_undone, summary, undone
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.idempotency import IdempotencyKey, KeptAnswer, keep, replayed
from stowage.postgres.session.transactions import retry_unique, transact
from stowage.postgres.trash.restores import lock_for_restoring, restore_records
from stowage.tenants import Tenant
from stowage.trash.retention import purge_time

MOST_UNDONE = 20_000
"""Changes that one request undoes, 4,000 to 20,000 of them a second. A file import may have made more."""


def bulk_undo(tenant: Tenant, actor: str, request: UndoRequest, now: datetime, key: str | None) -> KeptAnswer:
    """The answer of `POST bulk/undo`: a BulkOperationResult of what the operation changed, in its order.

    What it deleted comes back from the trash with what went along; what it changed gets its former values; what it
    created goes to the trash. Codes: `changed_since`, `purged`, `conflict`, `parent_in_trash`, `has_children`. Of an
    operation of more than `MOST_UNDONE` changes the last ones are undone, and the same request (with another
    idempotency key) undoes the next of the `remaining`.
    NotFoundError; ConflictError `already_undone` or `not_undoable`; BadRequestError `not_supported` where it created
    records of an entity that has no trash.
    """
    once = IdempotencyKey.of(tenant.id, actor, "POST bulk/undo", key, request)
    wanted = decode_id(request.operationId)

    def work(connection: Connection) -> KeptAnswer:
        if kept := replayed(connection, once):
            return kept
        operation = _undoable(lock_operation(connection, tenant.id, wanted))
        stamp = Stamp(new_operation_id(now), actor, now, purge_time(tenant, now))
        undoing = undo.Undoing(connection, tenant, operation, stamp)
        part = undo.next_part(connection, tenant.id, operation, MOST_UNDONE)
        records = undo.gather(undoing, part)
        outcome = _put_back(undoing, records)
        append_changes(connection, tenant.id, _journal(undoing, part, outcome))
        ids = [encode_id(record_id) for _, record_id in records]
        made = answer(
            stamp.operation,
            undoing.declared,
            ids,
            outcome.codes,
            outcome.cascaded,
            part.remaining,
            must_list_failures=False,
        )
        keep(connection, once, made.status, made.body)
        return made

    return transact(tenant.database, work, again_on=retry_unique)


def _undoable(operation: Operation | None) -> Operation:
    if operation is None:
        raise NotFoundError("There is no such operation.", "operation_not_found")
    if operation.kind not in UNDOABLE or operation.entity not in ENTITIES:
        raise ConflictError("An operation of this kind cannot be undone.", "not_undoable")
    if operation.undone_at is not None:
        raise ConflictError("This operation has been undone already.", "already_undone")
    return operation


def _journal(undoing: undo.Undoing, part: undo.Part, outcome: Outcome) -> list[Change]:
    """The summary, and what has become of the operation: one of which nothing went back may be undone once more."""
    operation, stamp = undoing.operation, undoing.stamp
    told: dict[str, object] = {"undoes": operation.id}
    if outcome.cascaded:
        told["cascaded"] = outcome.cascaded
    if part.remaining:
        told["remaining"] = part.remaining
    total, succeeded = len(outcome.codes), outcome.succeeded
    changes = [
        summary(
            stamp.operation, "undo", operation.entity, stamp.actor, stamp.at, total=total, succeeded=succeeded, **told
        )
    ]
    back = operation.undone_records + succeeded
    if part.remaining or (operation.undone_down_to is not None and not back):
        down_to = part.first if part.remaining else None
        changes.append(
            partly_undone(stamp.operation, operation, stamp.actor, stamp.at, down_to=down_to, succeeded=back)
        )
    elif back:
        changes.append(undone(stamp.operation, operation, stamp.actor, stamp.at))
    return changes


def _put_back(undoing: undo.Undoing, records: list[tuple[str, str]]) -> Outcome:
    """Lock everything, then look at it and change it: what takes the journal's numbers comes after every other lock.

    What the operation made goes first, for it may have what a record that it changed is to have again.
    """
    connection, declared, tenant = undoing.connection, undoing.declared, undoing.tenant
    by_type: dict[str, list[str]] = {}
    for kind, record_id in records:
        by_type.setdefault(kind, []).append(record_id)
    deleted, updated, created = (by_type.get(kind, []) for kind in ("deleted", "updated", "created"))
    if created or deleted:
        must_have_trash(declared)
    if updated:
        undo.lock_updated(undoing, updated)
    if deleted:
        lock_for_restoring(connection, tenant.schema, declared, deleted)
    if created:
        lock_records(connection, tenant.schema, declared, created)

    codes: dict[str, list[str | None]] = {}
    cascaded: dict[str, int] = {}
    if created:
        codes["created"] = undo.judge_created(undoing, len(created))
        delete_locked(connection, tenant, declared, created, Outcome(codes["created"]), undoing.stamp, kind=None)
    if updated:
        judged = undo.judge_updated(undoing, len(updated))
        codes["updated"] = judged.codes
        undo.put_back(undoing, judged)
    if deleted:
        codes["deleted"] = undo.judge_deleted(undoing, len(deleted))
        good = [record_id for record_id, code in zip(deleted, codes["deleted"], strict=True) if code is None]
        cascaded = restore_records(connection, tenant, declared, good, undoing.stamp)
    in_turn = {kind: iter(its_codes) for kind, its_codes in codes.items()}
    return Outcome([next(in_turn[kind]) for kind, _ in records], cascaded)
