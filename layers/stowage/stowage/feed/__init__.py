"""The changes of an entity's records, in their order and without a gap: a page of them, or an event stream
(docs/api.md, Changes).
"""

import hashlib
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json

from stowage.audit.images import show_image
from stowage.basics.errors import BadRequestError, GoneError, UnavailableError
from stowage.basics.ids import encode_id, rfc3339
from stowage.entities.declaration import Entity
from stowage.postgres.journal.entries import Entry
from stowage.postgres.journal.following import Following, Place, follow
from stowage.postgres.session.marks import mark_version
from stowage.postgres.session.transactions import look
from stowage.tenants import Tenant

MOST_EVENTS = 100
LONGEST_WAIT = 20
LOOK_SECONDS = 0.25
RETRY_MS, BUSY_RETRY_MS = 300, 10_000
_CURSOR_VERSION = "1"
_LONGEST_CURSOR = 1_000


@dataclass(frozen=True)
class Feed:
    """The changes of one entity of a tenant."""

    tenant: Tenant
    entity: Entity

    def page(self, after: str | None, wait: float) -> str:
        """The JSON of the changes behind a cursor, as soon as there are any or `wait` seconds are over; without one, of
        the event `connected`. BadRequestError for a cursor that is none of ours, GoneError where what followed it is
        not kept any more.
        """
        if after is None:
            place = self._behind(None).place
            events = [self._connected(place)]
            return self._body(events, place, more=False)
        found = self._wait(self._place(after), wait)
        if found.is_lost:
            raise GoneError("What followed that cursor is not kept any more: read the records anew.", "cursor_gone")
        return self._body([self._event(entry) for entry in found.entries], found.place, more=found.more)

    def stream(self, after: str | None) -> str:
        """The same as the body of an event stream, which ends with the first changes: the client comes again. A cursor
        of which nothing follows any more gets `reset`, and a busy database a later time to come.

        https://html.spec.whatwg.org/multipage/server-sent-events.html
        """
        try:
            if after is None:
                place = self._behind(None).place
                return _retry(RETRY_MS) + self._told(place, self._connected(place))
            before = self._place(after)
            found = self._wait(before, LONGEST_WAIT)
        except UnavailableError:
            # Any other status than 200 ends an EventSource for good.
            return _retry(BUSY_RETRY_MS)
        if found.is_lost:
            return _retry(RETRY_MS) + self._told(found.place, _json({"type": "reset"}), "reset")
        events = [self._told(Place(entry.seq, entry.operation), self._event(entry)) for entry in found.entries]
        if not events and found.place != before:
            events = [self._told(found.place, _json({"type": "position"}), "position")]
        return _retry(RETRY_MS) + "".join(events)

    def _wait(self, after: Place, seconds: float) -> Following:
        """Postgres is asked again only when the tenant's mark has moved."""
        deadline = time.monotonic() + min(seconds, LONGEST_WAIT)
        version = mark_version(self.tenant.id)
        found = self._behind(after)
        while not (found.entries or found.is_lost or found.more) and time.monotonic() < deadline:
            time.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
            now = mark_version(self.tenant.id)
            if now != version:
                version = now
                found = self._behind(after)
        return found

    def _behind(self, after: Place | None) -> Following:
        return look(
            self.tenant.database,
            lambda connection: follow(connection, self.tenant.id, self.entity.name, after, MOST_EVENTS),
        )

    def _event(self, entry: Entry) -> str:
        """The JSON of an event. Its id is that of the entry wherever it is told of."""
        singular = self.entity.singular
        record = show_image(self.entity, entry.after)
        told = {
            "type": f"{singular}.{entry.type}",
            "id": event_id(self.tenant.id, entry.seq),
            "createdAt": rfc3339(entry.at),
            f"{singular}Id": encode_id(entry.id),
        }
        if entry.is_cut:
            told["truncated"] = True  # type: ignore[assignment]
        return f'{_json(told)[:-1]},"data":{record},{_json(singular)}:{record}}}'

    def _connected(self, place: Place) -> str:
        return _json({"type": "connected", "data": {"cursor": self._cursor(place)}})

    def _body(self, events: list[str], place: Place, *, more: bool) -> str:
        head = f'{{"success":true,"events":[{",".join(events)}]'
        return f'{head},"cursor":"{self._cursor(place)}","hasMore":{_json(more)}}}'

    def _told(self, place: Place, data: str, event: Literal["reset", "position"] | None = None) -> str:
        """An event of a stream; a client that comes again names its id."""
        name = f"event: {event}\n" if event else ""
        return f"{name}id: {self._cursor(place)}\ndata: {data}\n\n"

    def _cursor(self, place: Place) -> str:
        text = json.dumps([_CURSOR_VERSION, self.entity.name, place.seq, place.operation], separators=(",", ":"))
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _place(self, cursor: str) -> Place:
        match _unpacked(cursor):
            case [version, str(entity), int(seq), str(operation)] if (
                (version, entity) == (_CURSOR_VERSION, self.entity.name) and 0 <= seq < 2**62 and "\0" not in operation
            ):
                return Place(seq, operation)
        raise BadRequestError(
            f"That cursor is none of ours, or not of {self.entity.name}; begin without one.",
            "invalid_cursor",
            details=[{"field": "after", "message": "not a cursor"}],
        )


def _unpacked(cursor: str) -> Any:
    if len(cursor) > _LONGEST_CURSOR:
        return None
    try:
        return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        return None


def event_id(tenant: str, seq: int) -> str:
    """The id of the event that an entry of a tenant's journal is, the same whenever it is made."""
    return "evt_" + hashlib.sha256(f"{tenant}\0{seq}".encode()).hexdigest()[:32]


def _retry(milliseconds: int) -> str:
    return f"retry: {milliseconds}\n\n"


def _json(value: Any) -> str:
    return to_json(value).decode()
