"""Undoing an operation: what it changed goes back as it was, but for what somebody has edited since."""

from collections import Counter

from stowage.access.identity import for_role
from stowage.basics.errors import ConflictError, NotFoundError
from stowage.basics.ids import decode_id, encode_id
from stowage.bulk.requests import UndoRequest
from stowage.bulk.results import answer
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, must_be_writable, must_have_trash
from stowage.postgres.edits import undo
from stowage.postgres.edits.deletes import delete_locked
from stowage.postgres.edits.giving_back import give_back
from stowage.postgres.edits.locks import Outcome, lock_records
from stowage.postgres.journal.changes import Change, append_changes
from stowage.postgres.journal.operations import UNDOABLE, Operation, lock_operation, partly_undone, summary, undone
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.encodings import is_held
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.transactions import retry_unique
from stowage.postgres.trash.restores import lock_for_restoring, restore_records
from stowage.trash.retention import purge_time

MOST_UNDONE = 20_000
"""Changes that one request undoes, 4,000 to 20,000 of them a second. A file import may have made more."""


@for_role("operator")
def bulk_undo(edit: Edit, request: UndoRequest) -> KeptAnswer:
    """The answer of `POST bulk/undo`: a BulkOperationResult of what the operation changed, in its order.

    What it deleted comes back from the trash with what went along; what it changed gets its former values; what it
    created or took out of the trash goes there. Codes: `changed_since`, `purged`, `conflict`, `parent_in_trash`,
    `has_children`. Of an operation of more than `MOST_UNDONE` changes the last ones are undone, and the same request
    (with another idempotency key) undoes the next of the `remaining`.
    NotFoundError; ConflictError `already_undone` or `not_undoable`; BadRequestError `not_supported` where it created
    records of an entity that has no trash.
    """
    wanted = decode_id(request.operationId)

    def work(connection: Connection) -> KeptAnswer:
        held = is_held(connection, wanted)
        operation = _undoable(lock_operation(connection, edit.tenant.id, wanted) if held else None)
        declared = ENTITIES[operation.entity]
        part = undo.next_part(connection, edit.tenant.id, operation, MOST_UNDONE)
        records = undo.gather(connection, edit.tenant.id, operation, part)
        outcome = _put_back(connection, edit, operation, declared, records)
        append_changes(connection, edit.tenant.id, _journal(edit, operation, part, outcome))
        ids = [encode_id(record_id) for _, record_id in records]
        return answer(
            edit.operation,
            declared,
            ids,
            outcome.codes,
            outcome.cascaded,
            part.remaining,
            must_list_failures=False,
        )

    return edit.answer_once("POST bulk/undo", request.model_dump_json().encode(), work, again_on=retry_unique)


def _undoable(operation: Operation | None) -> Operation:
    if operation is None:
        raise NotFoundError("There is no such operation.", "operation_not_found")
    if operation.kind not in UNDOABLE or operation.entity not in ENTITIES:
        raise ConflictError("An operation of this kind cannot be undone.", "not_undoable")
    must_be_writable(ENTITIES[operation.entity])
    if operation.undone_at is not None:
        raise ConflictError("This operation has been undone already.", "already_undone")
    return operation


def _journal(edit: Edit, operation: Operation, part: undo.Part, outcome: Outcome) -> list[Change]:
    """The summary, and what has become of the operation: one of which nothing went back may be undone once more."""
    told: dict[str, object] = {"undoes": operation.id}
    if outcome.cascaded:
        told["cascaded"] = outcome.cascaded
    if part.remaining:
        told["remaining"] = part.remaining
    total, succeeded = len(outcome.codes), outcome.succeeded
    by, at, entity = edit.actor, edit.at, operation.entity
    changes = [summary(edit.operation, "undo", entity, by, at, total=total, succeeded=succeeded, **told)]
    back = operation.undone_records + succeeded
    if part.remaining or (operation.undone_down_to is not None and not back):
        down_to = part.first if part.remaining else None
        changes.append(partly_undone(edit.operation, operation, by, at, down_to=down_to, succeeded=back))
    elif back:
        changes.append(undone(edit.operation, operation, by, at))
    return changes


def _put_back(
    connection: Connection, edit: Edit, operation: Operation, declared: Entity, records: list[tuple[str, str]]
) -> Outcome:
    """Lock everything, then look at it and change it: what takes the journal's numbers comes after every other lock.

    What the operation made goes first, for it may have what a record that it changed is to have again.
    """
    by_type: dict[str, list[str]] = {}
    for kind, record_id in records:
        by_type.setdefault(kind, []).append(record_id)
    deleted, updated, created, restored = (
        by_type.get(kind, []) for kind in ("deleted", "updated", "created", "restored")
    )
    if deleted or restored or (created and not updated):
        must_have_trash(declared)
    if updated:
        undo.lock_updated(connection, edit.schema, declared, updated)
    if deleted:
        lock_for_restoring(connection, edit.schema, declared, deleted)
    if created:
        lock_records(connection, edit.schema, declared, created)
    if restored:
        lock_records(connection, edit.schema, declared, restored)

    codes: dict[str, list[str | None]] = {}
    cascaded: dict[str, int] = {}
    if created and not declared.soft_delete:
        codes["created"] = ["no_trash"] * len(created)
    elif created:
        codes["created"] = undo.judge_created(connection, edit.schema, declared, len(created))
        purge_at = purge_time(edit.tenant, edit.at)
        delete_locked(connection, edit, declared, created, Outcome(codes["created"]), purge_at, kind=None)
    if restored:
        codes["restored"] = undo.judge_created(connection, edit.schema, declared, len(restored), "restored")
        cascaded = _put_into_trash_again(connection, edit, declared, restored, codes["restored"])
    if updated:
        judged = undo.judge_updated(connection, edit.schema, declared, len(updated))
        codes["updated"] = judged.codes
        undo.put_back(connection, edit, declared, judged)
    if deleted:
        codes["deleted"] = undo.judge_deleted(connection, edit.tenant, operation, declared, len(deleted))
        good = [record_id for record_id, code in zip(deleted, codes["deleted"], strict=True) if code is None]
        cascaded = _sum(cascaded, restore_records(connection, edit, declared, good))
    in_turn = {kind: iter(its_codes) for kind, its_codes in codes.items()}
    return Outcome([next(in_turn[kind]) for kind, _ in records], cascaded)


def _put_into_trash_again(
    connection: Connection, edit: Edit, declared: Entity, ids: list[str], codes: list[str | None]
) -> dict[str, int]:
    """Give records that came out of the trash what they had there, and put them back with what belongs to them; how
    much of that. A record that what it had would clash with another one stays as it is: `conflict`.
    """
    untouched = undo.only_restored(connection, declared)
    changed = [place for place, code in enumerate(codes) if not code and place + 1 not in untouched]
    give_back(connection, edit, declared, codes, changed)
    purge_at = purge_time(edit.tenant, edit.at)
    return delete_locked(connection, edit, declared, ids, Outcome(codes), purge_at, kind=None).cascaded


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    """Counts by entity added up."""
    return dict(sum((Counter(each) for each in counts), Counter()))
