"""Records of every declared entity: list, read, create, change (docs/api.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from stowage.access.identity import for_role
from stowage.basics.errors import BadRequestError, Detail, NotFoundError, PreconditionFailedError
from stowage.basics.ids import decode_id
from stowage.basics.paging import paginate
from stowage.basics.sizes import MOST_ANSWER_BYTES, MOST_CHANGED_BYTES, is_deliverable, too_large_record
from stowage.entities.declaration import Entity
from stowage.postgres.edits.inserts import insert_problems, insert_records, with_ids
from stowage.postgres.edits.updates import Update, larger, lock_followed, lock_records, update_problems, update_records
from stowage.postgres.reads.cut_ids import refuse_cut_id
from stowage.postgres.reads.records import read_page
from stowage.postgres.reads.records import read_record as read_row
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.encodings import is_held
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.own_rules import skipped
from stowage.postgres.session.savepoints import Refused
from stowage.postgres.session.transactions import look
from stowage.records.answers import envelope, etag, fits, names, whole
from stowage.records.bodies import Items, read_body, read_items
from stowage.records.failures import (
    NOT_FOUND,
    TOO_LARGE,
    Failure,
    explain,
    explain_left,
    explain_refusal,
    invalid,
    single,
)
from stowage.records.hooks import hooked, hooked_items
from stowage.records.models import changed_record, changed_records, defaults_of, holds_exact, new_record
from stowage.records.queries import parse_query
from stowage.records.splitting import Found, Numbered, Told, Writing
from stowage.tenants import Tenant


def clean_id(entity: Entity, given: str) -> str:
    """The raw id of a path. BadRequestError for a NUL in it; NotFoundError where no record of these can have it."""
    raw = decode_id(given)
    if "\0" in raw:
        raise BadRequestError("An id holds no NUL character.", "invalid_id")
    read = entity.key.read(raw)
    if read is None:
        raise _not_found(entity)
    return read


@dataclass(frozen=True)
class ListAnswer:
    """A page of records as JSON; `is_cut`: of their ids alone, since they are too large for one answer."""

    data: str
    pagination: str
    is_cut: bool

    @property
    def body(self) -> str:
        """The answer of the route."""
        head = '"success":true,"truncated":true' if self.is_cut else '"success":true'
        return f'{{{head},"data":{self.data},"pagination":{self.pagination}}}'


def read_list(tenant: Tenant, entity: Entity, given: Mapping[str, str]) -> ListAnswer:
    """A page of records; BadRequestError for a query that cannot be meant."""
    query = parse_query(entity, given)
    page = look(
        tenant.database,
        lambda connection: read_page(connection, tenant, entity, query.filters, query.order, query.limit, query.offset),
        schema=tenant.schema,
    )
    pagination = paginate(query.page, query.limit, page.total).model_dump_json()
    if page.records is not None:
        answer = ListAnswer(f"[{page.records}]", pagination, is_cut=False)
        if is_deliverable(answer.body):
            return answer
    return ListAnswer(f"[{page.ids}]", pagination, is_cut=True)


def list_records(tenant: Tenant, entity: Entity, given: Mapping[str, str]) -> str:
    """The body of a page of records, as `read_list`."""
    return read_list(tenant, entity, given).body


def read_record(tenant: Tenant, entity: Entity, record_id: str) -> str:
    """A record's JSON; NotFoundError, for one in the trash too; TooLargeError."""
    record = look(
        tenant.database,
        lambda connection: read_row(connection, tenant, entity, record_id),
        schema=tenant.schema,
    )
    if record is None:
        raise _not_found(entity)
    return whole(record)


def _not_found(entity: Entity) -> NotFoundError:
    return NotFoundError(f"There is no such {entity.singular}.", "record_not_found")


@for_role("operator")
def create_record(edit: Edit, entity: Entity, body: bytes) -> KeptAnswer:
    """Make one record; 201 with the record. ConflictError, BadRequestError or TooLargeError where it cannot be."""
    item = hooked(entity, read_body(new_record(entity), body, exactly=holds_exact(entity)), is_new=True)

    def work(connection: Connection) -> KeptAnswer:
        (row,) = with_ids(connection, edit, entity, [defaults_of(entity) | item])
        inserted = insert_records(connection, edit, entity, [row])
        if isinstance(inserted, Refused):
            problems = insert_problems(connection, edit.schema, entity, [row]) or []
            raise single([explain(entity, problem) for problem in problems] or [explain_refusal(inserted)])
        return KeptAnswer(201, envelope(whole(inserted)))

    return edit.answer_once(f"POST {entity.name}", body, work)


@for_role("operator")
def change_record(edit: Edit, entity: Entity, record_id: str, body: bytes, if_match: str | None) -> str:
    """Change the fields that a body names; the record's JSON as it is now.

    NotFoundError; BadRequestError `encode_id` as `refuse_cut_id`; PreconditionFailedError where `if_match` names
    another state; ConflictError, BadRequestError or TooLargeError where the record cannot be so.
    """
    item = hooked(entity, read_body(changed_record(entity), body, exactly=holds_exact(entity)), is_new=False)
    updates = [{entity.column("id"): record_id, **item}]

    def work(connection: Connection) -> str:
        refuse_cut_id(connection, edit.schema, [entity], record_id)
        if not is_held(connection, record_id):
            raise _not_found(entity)
        if if_match is not None:
            present = read_row(connection, edit.tenant, entity, record_id, lock=True)
            if present is None:
                raise _not_found(entity)
            if not names(if_match, etag(present)):
                raise PreconditionFailedError("The record has changed since; read it again.")
        lock_followed(connection, edit.schema, entity, updates)
        updated = update_records(connection, edit, entity, updates, largest=MOST_ANSWER_BYTES)
        if not isinstance(updated, Refused) and not updated.missing:
            if updated.records is None:
                raise too_large_record()
            return whole(updated.records)
        if larger(connection, edit.schema, entity, updates, MOST_ANSWER_BYTES):
            raise too_large_record()
        problems, lost = update_problems(connection, edit.schema, entity, updates)
        if lost:
            raise _not_found(entity)
        found = [explain(entity, problem) for problem in problems or []]
        if not found and isinstance(updated, Refused):
            found = [explain_refusal(updated)]
        raise single(found or [explain_left(skipped(connection, edit.schema, entity, "UPDATE"))])

    return edit.run(work)


@for_role("operator")
def change_records(edit: Edit, entity: Entity, body: bytes) -> KeptAnswer:
    """Change up to 10,000 records, each its own fields; 200, or 207 where any was not changed.

    BadRequestError for a body that is none, an item without an id, an id that is there twice.
    """
    items = read_items(changed_records(entity), body, "updates", required=("id",), exactly=holds_exact(entity))
    key = entity.column("id")
    _refuse_duplicates(items, key)
    items = hooked_items(entity, items, is_new=False)
    updates = [(index, item) for index, item in items.valid if item[key] is not None]
    failures = {index: invalid(complaints) for index, complaints in items.invalid.items()}
    failures |= {index: NOT_FOUND for index, item in items.valid if item[key] is None}

    def work(connection: Connection) -> KeptAnswer:
        found = {index: NOT_FOUND for index, item in updates if not is_held(connection, item[key])}
        held = [(index, item) for index, item in updates if index not in found]
        lock_followed(connection, edit.schema, entity, [update for _, update in held])
        changing = Changing(connection, edit, entity, "update", items.total)
        found |= {index: complaints[0] for index, complaints in changing.write(held).items()}
        records = None if None in changing.changed else ",".join(filter(None, changing.changed))
        return _answer(edit.operation, records, updates, failures | found, items)

    return edit.answer_once(f"PATCH bulk/{entity.name}", body, work)


class Changing(Writing[Update]):
    """Updates; `changed` is the JSON of the records that are changed, None for more than an answer may have."""

    def __init__(self, *given: Any, stamps_given: bool = False) -> None:
        super().__init__(*given)
        self.changed: list[str | None] = []
        self._stamps_given = stamps_given

    def save(self, records: Numbered[Update], told: Told | None, places: list[int] | None) -> Refused | None:
        """As in `Writing`."""
        updates = [update for _, update in records]
        updated = update_records(
            self.connection,
            self.edit,
            self.entity,
            updates,
            told,
            places=places,
            largest=MOST_CHANGED_BYTES,
            stamps_given=self._stamps_given,
        )
        if isinstance(updated, Refused):
            return updated
        self.changed.append(updated.records)
        if left := [records[n - 1] for n in updated.missing]:
            found = self._why(left) or {}
            if len(found) < len(left):
                kept = explain_left(skipped(self.connection, self.edit.schema, self.entity, "UPDATE"))
                updates = [update for _, update in left]
                large = larger(self.connection, self.edit.schema, self.entity, updates, MOST_CHANGED_BYTES)
                found = {index: [TOO_LARGE if n in large else kept] for n, (index, _) in enumerate(left, 1)} | found
            self.left |= found
        return None

    def judge(self, records: Numbered[Update]) -> Found | None:
        """As in `write_what_can_be`."""
        # Parts do not lock in the order in which everybody does.
        lock_records(self.connection, self.edit.schema, self.entity, [update for _, update in records])
        return self._why(records)

    def _why(self, records: Numbered[Update]) -> Found | None:
        updates = [update for _, update in records]
        problems, lost = update_problems(self.connection, self.edit.schema, self.entity, updates)
        found: Found = {records[n - 1][0]: [NOT_FOUND] for n in lost}
        for problem in problems or []:
            found.setdefault(records[problem.n - 1][0], []).append(explain(self.entity, problem))
        return None if problems is None and not lost else found


def _refuse_duplicates(items: Items, key: str) -> None:
    ids = {index: str(item[key]) for index, item in items.valid if item[key] is not None}
    if len(ids) < items.total:
        sent = items.sent()
        ids |= {index: decode_id(str(sent[index]["id"])) for index in range(items.total) if index not in ids}
    if len(set(ids.values())) == items.total:
        return
    first: dict[str, int] = {}
    details: list[Detail] = []
    for index in range(items.total):
        earlier = first.setdefault(ids[index], index)
        if earlier != index:
            details.append({"field": f"updates[{index}].id", "message": f"is also that of updates[{earlier}]"})
    raise BadRequestError("An id may stand there once.", "duplicate_ids", details=details)


def _answer(
    operation: str,
    records: str | None,
    updates: Sequence[tuple[int, Update]],
    failures: dict[int, Failure],
    items: Items,
) -> KeptAnswer:
    """200 or 207, ids as the request gave them, within the size that an answer may have."""
    head: dict[str, Any] = {"operationId": operation, "updated": items.total - len(failures), "failed": len(failures)}
    listed: list[dict[str, Any]] = []
    sent = items.sent() if failures else []
    for index, failure in sorted(failures.items()):
        listed.append({"index": index, "id": sent[index]["id"], "code": failure.code, "error": failure.error})
    status = 207 if failures else 200
    body = None if records is None else fits(head, "items", records, listed)
    if body is None:
        given = items.sent()
        short = to_json([{"id": given[index]["id"]} for index, _ in updates if index not in failures]).decode()[1:-1]
        for item in listed:
            item.pop("error")
        head["truncated"] = True
        body = fits(head, "items", short, listed)
    if body is None:
        for item in listed:
            item.pop("id")  # the index says which it is
        body = fits(head, "items", "", listed)
        assert body is not None, "10,000 indices and codes"
    return KeptAnswer(status, body)


__all__ = [
    "Changing",
    "ListAnswer",
    "change_record",
    "change_records",
    "clean_id",
    "create_record",
    "list_records",
    "read_list",
    "read_record",
]
