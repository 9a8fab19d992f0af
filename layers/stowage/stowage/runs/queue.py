"""The queue of the runs that wait for a place of a pool, read in pages and only as far as needed."""

from collections.abc import Iterable, Iterator
from itertools import count, islice

from stowage.aws import table
from stowage.aws.table import Item
from stowage.runs.record import Run, waiting_list

PAGE = 50
"""Runs read at once."""
HEAD = 250
"""How many runs one call reads from the front of the queue, and then as many from further back."""

type RunKey = tuple[str, str]
"""A run's tenant and id."""


class WaitingRuns:
    """The waiting runs of a pool in the order of its queue; each page is read once and kept.

    `written` are runs that have just begun to wait: the index may not show them yet, so they are
    read by their keys, last. Runs that cannot be read are left out, with the errors in `failures`.

    The first runs may be ones that cannot start yet (their tenant has as many as it may), while
    others behind them could. So each call reads a little further than the one before, from where
    that one stopped, and begins anew after the last run.
    """

    def __init__(self, pool: str, written: Iterable[RunKey] = ()) -> None:
        self.failures: list[Exception] = []
        self._pool = pool
        self._written = dict.fromkeys(tuple(key) for key in written)
        self._read: list[Run] = []
        self._rest = self._read_on()

    def __iter__(self) -> Iterator[Run]:
        for place in count():
            if place == len(self._read):
                run = next(self._rest, None)
                if run is None:
                    return
                self._read.append(run)
            yield self._read[place]

    def _read_on(self) -> Iterator[Run]:
        known: set[object] = set()
        for item in self._items():
            known.add((item["tenant"], item["id"]))
            yield from self._run(item)
        for tenant, run_id in self._written:
            if (tenant, run_id) not in known:
                written = table.get(f"T#{tenant}", f"RUN#{run_id}")
                if written and written.get("due_list") == waiting_list(self._pool):
                    yield from self._run(written)

    def _items(self) -> Iterator[Item]:
        place = ""
        for number, item in enumerate(islice(self._query(place), HEAD), 1):
            yield item
            place = item["due_at"] if number == HEAD else ""
        if not place:
            return
        key = f"DB#{self._pool}", "QUEUE"
        stopped = (table.get(*key) or {}).get("looked_at", "")
        looked_at = ""
        for number, item in enumerate(islice(self._query(max(place, stopped)), HEAD), 1):
            yield item
            looked_at = item["due_at"] if number == HEAD else ""
        if looked_at != stopped:
            table.update(*key, {"looked_at": looked_at})

    def _query(self, after: str) -> Iterator[Item]:
        return table.query(waiting_list(self._pool), index="due", after=after or None, page_size=PAGE)

    def _run(self, item: Item) -> Iterator[Run]:
        try:
            yield Run.model_validate(item)
        except ValueError as error:
            error.add_note(f"The waiting run {item.get('pk')} {item.get('sk')} cannot be read.")
            self.failures.append(error)
