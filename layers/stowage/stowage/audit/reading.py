"""The history of a record and the audit log, a page at a time (docs/api.md)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from pydantic_core import to_json

from stowage.access.identity import Identity, for_role
from stowage.audit.images import show_image
from stowage.basics.errors import BadRequestError, NotFoundError
from stowage.basics.ids import decode_id, encode_id, rfc3339
from stowage.basics.sizes import is_deliverable
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.journal.entries import RECORD_TYPES, Entry, Position, Wanted, read_entries
from stowage.postgres.journal.entries import read_history as read_entries_of
from stowage.postgres.reads.records import has_record
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.encodings import is_held
from stowage.postgres.session.transactions import look
from stowage.tenants import Tenant

type Image = dict[str, Any] | None


class HistoryEntry(TypedDict):
    """What happened to a record: `after` is the record as it became, `before` what was changed, as it was."""

    seq: int
    type: str
    operation: str
    actor: str
    at: str
    before: Image
    after: Image


class HistoryPage(TypedDict):
    """Entries, newest first; `next_cursor` is null on the last page. `truncated`: an image is larger than an answer."""

    success: Literal[True]
    data: list[HistoryEntry]
    next_cursor: str | None
    truncated: NotRequired[Literal[True]]


class AuditEntry(HistoryEntry):
    """The same with the entity and the id that it is about: a record's, a run's, an operation's."""

    entity: str
    id: str


class AuditPage(TypedDict):
    """Entries, newest first. Where filters leave out many, a page may be short: the last one has no `next_cursor`."""

    success: Literal[True]
    data: list[AuditEntry]
    next_cursor: str | None
    truncated: NotRequired[Literal[True]]


@for_role("admin")
def read_history(
    tenant: Tenant,
    identity: Identity,  # noqa: ARG001
    entity: Entity,
    record_id: str,
    cursor: str | None,
    limit: int,
) -> str:
    """The body of a page of a record's history; NotFoundError for one that neither is there nor ever was changed."""
    before = _seq(cursor) if cursor is not None else None

    def work(connection: Connection) -> list[Entry]:
        held = is_held(connection, record_id)
        found = read_entries_of(connection, tenant.id, entity.name, record_id, before, limit + 1) if held else []
        if not found and cursor is None and not has_record(connection, tenant, entity, record_id):
            raise NotFoundError(f"There is no such {entity.singular}.", "record_not_found")
        return found

    found = look(tenant.database, work, schema=tenant.schema)
    page, more = _fitting(found[:limit]), len(found) > limit
    cut = len(page) < min(limit, len(found))
    return _body([_shown(entry) for entry in page], str(page[-1].seq) if page and (more or cut) else None, page)


@for_role("admin")
def read_audit(tenant: Tenant, identity: Identity, wanted: Wanted, cursor: str | None, limit: int) -> str:  # noqa: ARG001
    """The body of a page of a tenant's audit log."""
    before = _position(cursor) if cursor is not None else None
    found, stopped = look(
        tenant.database, lambda connection: read_entries(connection, tenant.id, wanted, before, limit + 1)
    )
    page = _fitting(found[:limit])
    if len(page) < len(found):
        stopped = Position(page[-1].at, page[-1].seq)
    shown = [
        f'{_shown(entry)[:-1]},"entity":{_json(entry.entity)},"id":{_json(encode_id(entry.id))}}}' for entry in page
    ]
    return _body(shown, _packed(stopped) if stopped else None, page)


def _fitting(entries: list[Entry]) -> list[Entry]:
    """The entries up to the first whose images have no room beside the others; it, where it is the first."""
    cut = next((n for n, entry in enumerate(entries) if entry.is_cut), len(entries))
    return entries[: cut or 1]


def _shown(entry: Entry) -> str:
    if entry.type in RECORD_TYPES:
        entity = ENTITIES.get(entry.entity)
        before = show_image(entity, entry.before) if entity else "null"
        after = show_image(entity, entry.after) if entity else "null"
    else:
        before, after = "null", entry.told or "null"
    about = {"seq": entry.seq, "type": entry.type, "operation": entry.operation, "actor": entry.actor}
    return f'{_json(about | {"at": rfc3339(entry.at)})[:-1]},"before":{before},"after":{after}}}'


def _body(shown: list[str], next_cursor: str | None, page: list[Entry]) -> str:
    head = '{"success":true,' + ('"truncated":true,' if any(entry.is_cut for entry in page) else "")
    body = f'{head}"data":[{",".join(shown)}],"next_cursor":{_json(next_cursor)}}}'
    assert is_deliverable(body), "images have half of an answer's bytes"
    return body


def _json(value: object) -> str:
    return to_json(value).decode()


def _seq(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise _no_cursor()
    return int(cursor)


def _packed(position: Position) -> str:
    return urlsafe_b64encode(f"{position.at.isoformat()} {position.seq}".encode()).decode().rstrip("=")


def _position(cursor: str) -> Position:
    try:
        at, seq = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")
        position = Position(datetime.fromisoformat(at), _seq(seq))
    except ValueError:
        raise _no_cursor() from None
    if position.at.tzinfo is None:
        raise _no_cursor()
    return position


def _no_cursor() -> BadRequestError:
    return BadRequestError(
        "That cursor is none of ours; take next_cursor of the page before.",
        "invalid_cursor",
        details=[{"field": "cursor", "message": "not a cursor"}],
    )


def wanted(
    actor: str | None,
    types: str | None,
    entity: str | None,
    id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Wanted:
    """The filters of a request; `types` are several by commas, the id is of either form.

    BadRequestError for texts that no entry has, because Postgres holds none such.
    """
    raw = decode_id(id) if id else None
    given = {"actor": actor, "type": types, "entity": entity, "id": raw}
    for field, text in given.items():
        if text is not None and "\0" in text:
            raise BadRequestError(
                "A filter holds no NUL character.", details=[{"field": field, "message": "holds NUL"}]
            )
    names = [name.strip() for name in types.split(",") if name.strip()] if types else None
    return Wanted(actor, names or None, entity, raw, since, until)
