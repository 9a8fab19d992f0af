"""Lists of runs of one tenant, of several or of all, newest first, read only as far as the caller takes them."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile

from stowage.aws import table
from stowage.aws.table import Item, Put
from stowage.basics.ids import first_run_id, named_run_id, rfc3339
from stowage.runs.counters import read_counts
from stowage.runs.endings import MARKED, by_month, marks_of, month_of
from stowage.runs.keeping import oldest_record
from stowage.runs.kinds import kind_of
from stowage.runs.record import ACTIVE_LIST, NO_DATABASE, UNFINISHED, Run, waiting_list
from stowage.runs.store import find_run
from stowage.settings import settings

PAGE = 100
"""Records read at once where it is not known how many of them are wanted."""
MISSED_KEY = "MISSED#"
"""Sort keys of missed times begin so."""
MISSED = "missed"
"""The status of a time of a schedule at which no backup was made."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs a list shows. An empty set of kinds or statuses stands for all."""

    kinds: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    trigger: str | None = None
    text: str | None = None
    """Looked for in ids, tenants, file names, errors and who asked, whatever the case."""
    since: datetime
    until: datetime | None = None
    with_missed: bool = False
    """Whether missed times of schedules are shown among the runs."""

    @property
    def filters(self) -> bool:
        """Whether some of the records that are read may not be wanted."""
        return bool(self.kinds or self.statuses or self.trigger or self.text)

    def begins(self, before: str | None) -> str | None:
        """The id before which the list begins: the cursor, or the first id of `until`."""
        if self.until is None:
            return before
        end = first_run_id(self.until)
        return min(end, before) if before else end

    def has(self, item: Item) -> bool:
        """Whether an item of the table, a run's record or a mark, is among them as far as it tells."""
        return (
            (not self.kinds or item["kind"] in self.kinds)
            and (not self.statuses or item["status"] in {*self.statuses, MISSED})
            and self.trigger in (None, item.get("trigger", "manual"))
            and (self.until is None or item["created_at"] < rfc3339(self.until))
        )

    def has_text(self, run: Run) -> bool:
        """Whether the text that is looked for stands in a run."""
        if self.text is None:
            return True
        error = (run.error.code, run.error.message) if run.error else ()
        names = (run.spec.get("file_name"), run.spec.get("filename"))
        told = (run.id, run.tenant, run.requested_by, *error, *filter(None, names))
        return any(self.text.casefold() in str(each).casefold() for each in told)


@dataclass(frozen=True)
class MissedSlot:
    """A time of a tenant's schedule at which no backup was made. Its id is no run's; it sorts as one."""

    id: str
    tenant: str
    at: str
    kind: str


type Row = Run | MissedSlot


def look_through(
    tenants: Iterable[str] | None, wanted: Wanted, now: datetime, before: str | None, most: int
) -> Iterator[tuple[str, Row | None]]:
    """What a list looks at, newest first, before an id: the id of each record, and the record if it is wanted.

    A few tenants are read each from its own partition and merged; all of them (None) by the indexes. The caller takes
    `most` wanted records at most.
    """
    begins, at_once = wanted.begins(before), PAGE if wanted.filters else most
    several: Iterable[str | None] = [None] if tenants is None else tenants
    parts = [part for tenant in several for part in _sources(tenant, wanted, now, begins, at_once)]
    last = ""
    for item in heapq.merge(*parts, key=lambda each: str(each["id"]), reverse=True):
        if item["id"] != last:  # a run that has just changed may be found twice
            last = item["id"]
            yield last, _row(item, wanted)


def _row(item: Item, wanted: Wanted) -> Row | None:
    if not wanted.has(item):
        return None
    if item["status"] == MISSED:
        return MissedSlot(item["id"], item["tenant"], item["created_at"], item["kind"])
    is_record = str(item["sk"]).startswith("RUN#")
    run = Run.model_validate(item) if is_record else find_run(item["tenant"], item["id"])
    if run is None or (wanted.statuses and run.status not in wanted.statuses) or not wanted.has_text(run):
        return None
    return run


def _sources(
    tenant: str | None, wanted: Wanted, now: datetime, begins: str | None, at_once: int
) -> list[Iterator[Item]]:
    """Where the wanted runs of a tenant (None: of all) are found, each newest first."""
    since, today = wanted.since.date(), now.date()
    found: list[Iterator[Item]] = []
    if wanted.statuses and wanted.statuses <= {*MARKED, *UNFINISHED}:
        found += [marks_of(tenant, status, since, today, begins) for status in MARKED if status in wanted.statuses]
        if wanted.statuses & set(UNFINISHED):
            found.append(_unfinished_of(tenant, begins, since) if tenant else _all_unfinished(begins))
    elif tenant is None:
        found.append(_by_day(today, since, begins, at_once))
    else:
        found.append(_of_tenant(tenant, wanted, begins, at_once))
    if wanted.with_missed:
        found.append(_missed_of(tenant, since, today, begins))
    first = rfc3339(wanted.since)
    return [takewhile(lambda item: item["created_at"] >= first, part) for part in found]


def _of_tenant(tenant: str, wanted: Wanted, begins: str | None, at_once: int) -> Iterator[Item]:
    """A tenant's records; those of one history alone where only its kinds are wanted."""
    histories = {kind_of(kind).history for kind in wanted.kinds}
    index, prefix = ("by_kind", f"{histories.pop()}#") if len(histories) == 1 else (None, "RUN#")
    end = f"{prefix}{begins}" if begins else None
    return table.query(f"T#{tenant}", index=index, prefix=prefix, newest_first=True, before=end, page_size=at_once)


def _by_day(today: date, since: date, begins: str | None, at_once: int) -> Iterator[Item]:
    day = today
    while day >= since:
        yield from table.query(day.isoformat(), index="by_day", newest_first=True, before=begins, page_size=at_once)
        day -= timedelta(days=1)


def _unfinished_of(tenant: str, begins: str | None, since: date) -> Iterator[Item]:
    """A tenant's unfinished records. The counts tell on which days some were made, and how many."""
    left: dict[str, int] = {}
    for counts in read_counts([tenant], since):
        left[counts.day] = left.get(counts.day, 0) + counts.count("unfinished")
    found: list[Item] = []
    for day in sorted((day for day, count in left.items() if count > 0), reverse=True):
        noon = datetime.fromisoformat(f"{day}T12:00:00Z")
        # An import's id may be a day older than its record.
        first, last = (first_run_id(noon + timedelta(hours=hours)) for hours in (-36, 12))
        for item in table.query(
            f"T#{tenant}", prefix=f"RUN#{first}", before=f"RUN#{last}", newest_first=True, page_size=PAGE
        ):
            if item["status"] in UNFINISHED and item["created_at"].startswith(day):
                found.append(item)
                left[day] -= 1
                if left[day] == 0:
                    break
    return _newest_first(found, begins)


def _all_unfinished(begins: str | None) -> Iterator[Item]:
    """The unfinished records of all tenants, by the lists on which the clock finds them."""
    yield from heapq.merge(
        _newest_first(table.query(ACTIVE_LIST, index="due", page_size=PAGE), begins),
        *(
            _waiting(pool, trigger, begins)
            for pool in ("main", *settings().databases, NO_DATABASE)
            for trigger in (0, 1)
        ),
        key=lambda item: str(item["id"]),
        reverse=True,
    )


def _waiting(pool: str, trigger: int, begins: str | None) -> Iterator[Item]:
    """The waiting records of a pool's queue that came by hand (0) or by a schedule (1); see `queue_place`."""
    end = f"{trigger}#~"
    queue = table.query(
        waiting_list(pool), index="due", prefix=f"{trigger}#", before=end, newest_first=True, page_size=PAGE
    )
    return (item for item in queue if begins is None or item["id"] < begins)


def _newest_first(items: Iterable[Item], begins: str | None) -> Iterator[Item]:
    by_id: Callable[[Item], str] = lambda item: str(item["id"])  # noqa: E731 (a key with a type)
    return iter(sorted((item for item in items if begins is None or item["id"] < begins), key=by_id, reverse=True))


def _missed_of(tenant: str | None, since: date, today: date, begins: str | None) -> Iterator[Item]:
    if tenant is None:
        return by_month(MISSED, since, today, begins)
    end = f"{MISSED_KEY}{begins}" if begins else None
    return table.query(f"T#{tenant}", prefix=MISSED_KEY, newest_first=True, before=end, page_size=PAGE)


def missed_slot(tenant: str, kind: str, nominal: datetime) -> Put:
    """The write that keeps a missed time of a tenant's schedule for lists, as long as they reach back."""
    slot_id = named_run_id(nominal, tenant)
    return Put(
        {
            "pk": f"T#{tenant}",
            "sk": f"{MISSED_KEY}{slot_id}",
            "day": month_of(MISSED, nominal.date()),
            "id": slot_id,
            "tenant": tenant,
            "kind": kind,
            "status": MISSED,
            "trigger": "schedule",
            "created_at": rfc3339(nominal),
            "ttl": int((nominal + (nominal - oldest_record(nominal))).timestamp()),
        }
    )
