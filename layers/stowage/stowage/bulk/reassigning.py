"""Reassigning: records to another record that they belong to, as their declaration says (`reassign`)."""

from collections.abc import Sequence

from stowage.access.identity import for_role
from stowage.basics.complaints import refusal
from stowage.basics.errors import BadRequestError, Detail
from stowage.basics.ids import decode_id
from stowage.bulk.requests import ReassignRequest, read_ids
from stowage.bulk.results import answer
from stowage.entities.declaration import Entity, Reassignment
from stowage.entities.declared import ENTITIES, entity_among, must_be_writable
from stowage.postgres.edits.assigns import assign_records
from stowage.postgres.edits.locks import lock_target
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.encodings import held_ids, is_held
from stowage.postgres.session.idempotency import KeptAnswer

type Targets = list[tuple[Reassignment, Entity, str | None]]
"""What is set, the entity of the record that is named, and its raw id."""


@for_role("operator")
def bulk_reassign(edit: Edit, request: ReassignRequest) -> KeptAnswer:
    """The answer of `POST bulk/reassign`: a BulkOperationResult with 200 or 207.

    BadRequestError where a target is missing or unknown, there is no such record, or it does not belong to the first
    target's: the group is one of the brand's.
    """
    declared = _entity(request.dataType)
    targets = _targets(declared, request.__pydantic_extra__)
    ids = read_ids(declared, request.ids)

    def work(connection: Connection) -> KeptAnswer:
        _lock(connection, edit.schema, targets)
        values = {target.field: record_id for target, _, record_id in targets}
        outcome = assign_records(connection, edit, declared, held_ids(connection, ids), values, kind="reassign")
        return answer(edit.operation, declared, request.ids, outcome.codes, {})

    return edit.answer_once("POST bulk/reassign", request.model_dump_json().encode(), work)


def _entity(name: str | None) -> Entity:
    if name and (asked := ENTITIES.get(name)):
        must_be_writable(asked)
    entities = [declared for declared in ENTITIES.values() if declared.reassign]
    if not entities:
        raise BadRequestError("No entity here is declared to be reassigned.", "not_supported")
    if name is None and len(entities) > 1:
        names = ", ".join(declared.name for declared in entities)
        raise refusal([{"field": "dataType", "message": f"give one of {names}"}])
    return entity_among(name or entities[0].name, entities, code="invalid_request")


def _targets(declared: Entity, given: dict[str, str | None]) -> Targets:
    entities = {reference.field: reference.entity for reference in declared.references}
    details: list[Detail] = []
    targets: Targets = []
    for place, target in enumerate(declared.reassign):
        record_id = given.get(target.name)
        if record_id is None and (place == 0 or not declared.is_optional(target.field)):
            details.append({"field": target.name, "message": "is required"})
        other = ENTITIES[entities[target.field]]
        raw = None if record_id is None else other.key.read(decode_id(record_id))
        if record_id is not None and raw is None:
            raise _unknown(target, other)
        targets.append((target, other, raw))
    known = [target.name for target in declared.reassign]
    details += [{"field": name, "message": "there is no such field"} for name in given if name not in known]
    if details:
        raise refusal(details)
    return targets


def _lock(connection: Connection, schema: str, targets: Targets) -> None:
    """Let nobody delete the records that are named, until the transaction ends."""
    (_, first, first_id), *_ = targets
    for target, other, record_id in targets:
        if record_id is None:
            continue
        fields: Sequence[str] = () if target.of is None else (target.of,)
        held = is_held(connection, record_id)
        found = lock_target(connection, schema, other, record_id, *fields) if held else None
        if found is None:
            raise _unknown(target, other)
        if target.of is not None and found[0] != first_id:
            sentence = f"The {other.singular} does not belong to this {first.singular}."
            raise _refusal(target, sentence, f"{other.singular}_of_another_{first.singular}")


def _unknown(target: Reassignment, other: Entity) -> BadRequestError:
    return _refusal(target, f"There is no such {other.singular}.", f"unknown_{other.singular}")


def _refusal(target: Reassignment, sentence: str, code: str) -> BadRequestError:
    message = sentence[:1].lower() + sentence[1:].rstrip(".")
    return BadRequestError(sentence, code, details=[{"field": target.name, "message": message}])
