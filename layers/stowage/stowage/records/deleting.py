"""Records to the trash: one, or many with an answer for each that stays (docs/api.md)."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from stowage.access.identity import for_role
from stowage.basics.errors import ConflictError, NotFoundError, PreconditionFailedError
from stowage.basics.sizes import is_deliverable
from stowage.bulk.deleting import delete_records
from stowage.bulk.requests import Ids, read_ids
from stowage.bulk.results import explain
from stowage.entities.declaration import Entity
from stowage.postgres.reads.cut_ids import refuse_cut_id
from stowage.postgres.reads.records import read_record
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.records.answers import envelope, etag, names

_ABSENT = ("not_found", "already_deleted")


class RecordIds(BaseModel):
    """The body of `POST /api/v1/bulk/{entity}/delete`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: Ids


@for_role("operator")
def delete_record(edit: Edit, entity: Entity, record_id: str, if_match: str | None) -> None:
    """Move one record to the trash, with what goes along.

    NotFoundError; BadRequestError `encode_id` as `refuse_cut_id`; PreconditionFailedError where `if_match` names
    another state; ConflictError `has_children` or `too_large`.
    """

    def work(connection: Connection) -> None:
        refuse_cut_id(connection, edit.schema, [entity], record_id)
        if if_match is not None:
            present = read_record(connection, edit.tenant, entity, record_id, lock=True)
            if present is not None and not names(if_match, etag(present)):
                raise PreconditionFailedError("The record has changed since; read it again.")
        (code,) = delete_records(connection, edit, entity, [record_id], kind=None).codes
        if code in _ABSENT:
            raise NotFoundError(f"There is no such {entity.singular}.", "record_not_found")
        if code is not None:
            raise ConflictError(explain([code], entity)[code], code)

    edit.run(work)


@for_role("operator")
def bulk_delete(edit: Edit, entity: Entity, request: RecordIds) -> KeptAnswer:
    """Move up to 10,000 records to the trash; 200, or 207 where any stays."""
    ids = read_ids(entity, request.ids)

    def work(connection: Connection) -> KeptAnswer:
        return _answer(entity, request.ids, edit.operation, delete_records(connection, edit, entity, ids).codes)

    return edit.answer_once(f"POST bulk/{entity.name}/delete", request.model_dump_json().encode(), work)


def _answer(entity: Entity, given: list[str], operation: str, codes: list[str | None]) -> KeptAnswer:
    sentences = explain(codes, entity)
    failures: list[dict[str, Any]] = [
        {"index": index, "id": record_id, "code": code, "error": sentences[code]}
        for index, (record_id, code) in enumerate(zip(given, codes, strict=True))
        if code is not None
    ]
    data: dict[str, Any] = {"operationId": operation, "deleted": len(codes) - len(failures)}
    if not failures:
        return KeptAnswer(200, envelope(to_json(data).decode()))
    data["failed"] = len(failures)
    body = envelope(to_json(data | {"failures": failures}).decode())
    data["truncated"] = True
    for dispensable in ("error", "id"):  # the index says which it is
        if not is_deliverable(body):
            for failure in failures:
                failure.pop(dispensable)
            body = envelope(to_json(data | {"failures": failures}).decode())
    return KeptAnswer(207, body)
