"""The changes of an entity's records, followed by a cursor."""

from collections import deque
from typing import Any, Self

from stowage_client.answers import ChangeEvent
from stowage_client.transport import Transport, path_id


class Changes:
    """An iterator of events (`type`, `id`, `createdAt`, `data`), in the order in which they were committed.

    Without `follow` it ends once there is nothing more; else it waits. Keep `cursor` after you have dealt
    with an event: given as `after` later, nothing is left out; events since the last page may come again,
    with the same ids. CursorGoneError: too much time has passed, so read the records anew.
    """

    def __init__(
        self, transport: Transport, entity: str, after: str | None, tenant: str | None, wait: int, *, follow: bool
    ) -> None:
        self._transport, self._path = transport, f"/api/v1/stream/{path_id(entity)}"
        self._query, self._wait, self._follow = {"project_id": tenant}, wait, follow
        self._events: deque[ChangeEvent] = deque()
        self._next = ""
        self.cursor = after or str(self._page({})["cursor"])

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChangeEvent:
        while not self._events:
            page = self._page({"after": self.cursor, "wait": self._wait if self._follow else None})
            self._events.extend(page["events"])
            self._next = page["cursor"]
            if not self._events:
                self.cursor = self._next
                if not self._follow and not page["hasMore"]:
                    raise StopIteration
        event = self._events.popleft()
        if not self._events:
            self.cursor = self._next
        return event

    def _page(self, query: dict[str, Any]) -> Any:
        return self._transport.call("GET", self._path, query=self._query | query)
