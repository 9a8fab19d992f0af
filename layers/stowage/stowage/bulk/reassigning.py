"""Reassigning: accounts to another brand, and to one of its groups or none."""

from stowage.access.identity import for_role
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import decode_id
from stowage.bulk.requests import ReassignRequest
from stowage.bulk.results import answer
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.assigns import assign_records
from stowage.postgres.edits.locks import lock_target
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer


@for_role("operator")
def bulk_reassign(edit: Edit, request: ReassignRequest) -> KeptAnswer:
    """The answer of `POST bulk/reassign`: a BulkOperationResult with 200 or 207.

    BadRequestError where there is no such brand or group, or the group is not the brand's.
    """
    declared = ENTITIES[request.dataType]
    brand = decode_id(request.targetBrandId)
    group = decode_id(request.targetGroupId) if request.targetGroupId is not None else None
    ids = [decode_id(given) for given in request.ids]

    def work(connection: Connection) -> KeptAnswer:
        _lock_target(connection, edit.schema, brand, group)
        values = {"brandId": brand, "groupId": group}
        outcome = assign_records(connection, edit, declared, ids, values, kind="reassign")
        return answer(edit.operation, declared, request.ids, outcome.codes, {})

    return edit.answer_once("POST bulk/reassign", request.model_dump_json().encode(), work)


def _lock_target(connection: Connection, schema: str, brand: str, group: str | None) -> None:
    if lock_target(connection, schema, ENTITIES["brands"], brand) is None:
        raise _refusal("targetBrandId", "There is no such brand.", "unknown_brand")
    if group is None:
        return
    found = lock_target(connection, schema, ENTITIES["groups"], group, "brandId")
    if found is None:
        raise _refusal("targetGroupId", "There is no such group.", "unknown_group")
    if found[0] != brand:
        raise _refusal("targetGroupId", "The group does not belong to this brand.", "group_of_another_brand")


def _refusal(field: str, sentence: str, code: str) -> BadRequestError:
    message = sentence[:1].lower() + sentence[1:].rstrip(".")
    return BadRequestError(sentence, code, details=[{"field": field, "message": message}])
