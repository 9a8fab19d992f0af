"""Undoing an operation: what it changed goes back as it was, but for what somebody has edited since."""

from datetime import datetime

from stowage.bulk.deleting import must_have_trash
from stowage.bulk.requests import UndoRequest
from stowage.bulk.results import answer
from stowage.entities import ENTITIES
from stowage.errors import ConflictError, NotFoundError, TooLargeError
from stowage.ids import decode_id, encode_id, new_operation_id
from stowage.postgres import undo
from stowage.postgres.bulk import Outcome, Stamp, delete_locked, lock_records
from stowage.postgres.connection import Connection
from stowage.postgres.idempotency import IdempotencyKey, KeptAnswer, keep, replayed
from stowage.postgres.journal import append_changes
from stowage.postgres.operations import UNDOABLE, Operation, lock_operation, summary, undone
from stowage.postgres.transactions import retry_unique, transact
from stowage.postgres.trash import lock_for_restoring, restore_records
from stowage.tenants import Tenant
from stowage.trash.retention import purge_time

MOST_UNDONE = 50_000
"""Records that one request puts back; an operation of a request changes 10,000 at most."""


def bulk_undo(tenant: Tenant, actor: str, request: UndoRequest, now: datetime, key: str | None) -> KeptAnswer:
    """The answer of `POST bulk/undo`: a BulkOperationResult of what the operation changed, in its order.

    What it deleted comes back from the trash with what went along; what it changed gets its former values; what it
    created goes to the trash. Codes: `changed_since`, `purged`, `conflict`, `parent_in_trash`, `has_children`.
    NotFoundError; ConflictError `already_undone` or `not_undoable`; TooLargeError; BadRequestError `not_supported`
    where it created records of an entity that has no trash.
    """
    once = IdempotencyKey.of(tenant.id, actor, "POST bulk/undo", key, request)
    wanted = decode_id(request.operationId)

    def work(connection: Connection) -> KeptAnswer:
        if kept := replayed(connection, once):
            return kept
        operation = _undoable(lock_operation(connection, tenant.id, wanted))
        stamp = Stamp(new_operation_id(now), actor, now, purge_time(tenant, now))
        undoing = undo.Undoing(connection, tenant, operation, stamp)
        records = undo.changed_records(connection, tenant.id, operation, MOST_UNDONE + 1)
        if len(records) > MOST_UNDONE:
            raise TooLargeError(
                f"This operation changed more than {MOST_UNDONE:,} records; it cannot be undone at once."
            )
        outcome = _put_back(undoing, records)
        told = {"undoes": operation.id} | ({"cascaded": outcome.cascaded} if outcome.cascaded else {})
        changes = [
            summary(
                stamp.operation,
                "undo",
                operation.entity,
                actor,
                now,
                total=len(records),
                succeeded=outcome.succeeded,
                **told,
            )
        ]
        if outcome.succeeded:
            changes.append(undone(stamp.operation, operation, actor, now))
        append_changes(connection, tenant.id, changes)
        ids = [encode_id(record_id) for _, record_id in records]
        made = answer(stamp.operation, undoing.declared, ids, outcome.codes, outcome.cascaded)
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


def _put_back(undoing: undo.Undoing, records: list[tuple[str, str]]) -> Outcome:
    """Lock everything, look at everything, then change it: what takes the journal's numbers comes last."""
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

    judged = {
        "updated": undo.judge_updated(undoing, len(updated)) if updated else [],
        "deleted": undo.judge_deleted(undoing, len(deleted)) if deleted else [],
        "created": undo.judge_created(undoing, len(created)) if created else [],
    }
    cascaded: dict[str, int] = {}
    if updated:
        undo.put_back(undoing, judged["updated"])
    if deleted:
        good = [record_id for record_id, code in zip(deleted, judged["deleted"], strict=True) if code is None]
        cascaded = restore_records(connection, tenant, declared, good, undoing.stamp)
    if created:
        delete_locked(connection, tenant, declared, created, Outcome(judged["created"]), undoing.stamp, kind=None)
    in_turn = {kind: iter(codes) for kind, codes in judged.items()}
    return Outcome([next(in_turn[kind]) for kind, _ in records], cascaded)
