"""The routes of records that a batch runs: the use cases behind them, under the same methods and paths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from pydantic_core import to_json

from stowage import records
from stowage.basics.errors import BadRequestError, NotFoundError
from stowage.basics.ids import encode_id, is_emitted
from stowage.entities.declared import entity_at, writable_entity_at
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.records.answers import data_of

PREFIX = "/api/v1/"


@dataclass(frozen=True)
class Sent:
    """A request of a batch, ready to be run for `edit`'s tenant and caller. `body` is JSON."""

    edit: Edit
    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes | None


type Told = tuple[int, str]
"""The status and the JSON of what the route's answer has as `data`."""


def sent(edit: Edit, method: str, path: str, body: bytes | None) -> Sent:
    """The request of a path with or without `/api/v1`. BadRequestError for a query or body where none belongs."""
    way, _, query = path.partition("?")
    segments = tuple(way.removeprefix(PREFIX).removeprefix("/").split("/"))
    if query and method != "GET":
        raise BadRequestError("Only a GET takes a query.", "invalid_query")
    if (body is None) != (method in ("GET", "DELETE")):
        raise BadRequestError(f"A {method} {'needs a' if body is None else 'takes no'} body.")
    return Sent(edit, method, segments, _joined(query), body)


def _joined(query: str) -> dict[str, str]:
    """Repeated keys as the gateway joins them."""
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def run(request: Sent) -> Told:
    """Do what the request asks for. NotFoundError for a path that is no record route's; what the use cases raise."""
    match request.method, *request.segments:
        case "GET", entity:
            return 200, records.read_list(request.edit.tenant, entity_at(entity), request.query).data
        case "POST", entity:
            return _of(records.create_record(request.edit, writable_entity_at(entity), _body(request)))
        case "POST", "import", entity:
            from stowage.imports.items import import_items

            return _of(import_items(request.edit, writable_entity_at(entity), _body(request)))
        case "PATCH", "bulk", entity:
            return _of(records.change_records(request.edit, writable_entity_at(entity), _body(request)))
        case "POST", "bulk", entity, "delete":
            return _delete_many(request, entity)
        case method, entity, given if one := _ONE.get(method):
            return 200, one(request, entity, _id(request, given))
    raise NotFoundError("A batch runs the routes of records only, and there is none with this method and path.")


def _of(answer: KeptAnswer) -> Told:
    return answer.status, data_of(answer.body)


def _body(request: Sent) -> bytes:
    assert request.body is not None, "checked by `sent`"
    return request.body


def _id(request: Sent, given: str) -> str:
    """As the gateway and `entry.http` take an id: of a change in the form of the answers only."""
    if request.query:
        raise BadRequestError(f"There is no query parameter {', '.join(request.query)} here.")
    read = unquote(given)
    if request.method != "GET" and not is_emitted(read):
        raise BadRequestError("In the path of a change an id stands as answers give it.", "encode_id")
    return read


def _read(request: Sent, entity: str, given: str) -> str:
    declared = entity_at(entity)
    return records.read_record(request.edit.tenant, declared, records.clean_id(declared, given))


def _change(request: Sent, entity: str, given: str) -> str:
    declared = writable_entity_at(entity)
    return records.change_record(request.edit, declared, records.clean_id(declared, given), _body(request), None)


def _delete(request: Sent, entity: str, given: str) -> str:
    from stowage.records.deleting import delete_record

    declared = writable_entity_at(entity)
    raw = records.clean_id(declared, given)
    delete_record(request.edit, declared, raw, None)
    return to_json({"id": encode_id(raw)}).decode()


def _delete_many(request: Sent, entity: str) -> Told:
    from pydantic import TypeAdapter

    from stowage.records.bodies import read_body
    from stowage.records.deleting import RecordIds, bulk_delete

    return _of(bulk_delete(request.edit, writable_entity_at(entity), read_body(TypeAdapter(RecordIds), _body(request))))


_ONE: dict[str, Callable[[Sent, str, str], str]] = {"GET": _read, "PATCH": _change, "DELETE": _delete}
