"""Deleting: to the trash, with what belongs to it, undoable."""

from collections.abc import Sequence

from stowage.access.identity import for_role
from stowage.bulk.requests import DeleteRequest, read_ids
from stowage.bulk.results import answer
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, entity_among, must_be_writable, must_have_trash
from stowage.postgres.edits import deletes
from stowage.postgres.edits.locks import Outcome
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.encodings import held_ids
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.settings import settings
from stowage.trash.retention import purge_time


def delete_records(
    connection: Connection, edit: Edit, declared: Entity, ids: Sequence[str | None], *, kind: str | None = "delete"
) -> Outcome:
    """Move records (raw ids, each once; None for what no id is) to the trash in the caller's transaction.

    Codes: `not_found`, `already_deleted`, `has_children`, `too_large` (`stowage.bulk.results.explain`). `kind` None:
    no summary, so no bulk operation to undo. BadRequestError `not_supported` for an entity that has no trash.
    """
    must_have_trash(declared)
    purge_at, most = purge_time(edit.tenant, edit.at), settings().max_cascade
    known = held_ids(connection, ids)
    return deletes.delete_records(connection, edit, declared, known, purge_at, most_children=most, kind=kind)


@for_role("operator")
def bulk_delete(edit: Edit, request: DeleteRequest) -> KeptAnswer:
    """The answer of `POST bulk/delete`: a BulkOperationResult with 200 or 207."""
    if asked := ENTITIES.get(request.dataType):
        must_be_writable(asked)
    declared = entity_among(
        request.dataType, [each for each in ENTITIES.values() if each.dashboard], code="invalid_request"
    )
    ids = read_ids(declared, request.ids)

    def work(connection: Connection) -> KeptAnswer:
        outcome = delete_records(connection, edit, declared, ids)
        return answer(edit.operation, declared, request.ids, outcome.codes, outcome.cascaded)

    return edit.answer_once("POST bulk/delete", request.model_dump_json().encode(), work)
