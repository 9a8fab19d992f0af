"""What became of the runs, counted by day and kind, for each tenant and over all.

Whoever makes, changes or deletes a run writes the difference in the same transaction, so the counts are those of the
records that there are, and nobody reads histories to count. The counts over all tenants lie in a few shards, each run
in one by its id, so that runs that end at the same moment seldom meet.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import floor, log10
from zlib import crc32

from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Update, Write
from stowage.basics.errors import UnavailableError
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.runs.endings import marking
from stowage.runs.keeping import oldest_record, record_life
from stowage.runs.kinds import KINDS
from stowage.runs.record import FINAL, UNFINISHED, Run
from stowage.runs.summary import SHARDS, summing_up

OWN_DIGITS, SHARED_DIGITS = 4, 2
"""Durations are rounded to this many digits. Each different one is an attribute of the day's item, and every write pays
for the item's size. A tenant has few runs a day (below ten seconds its durations are exact), a shard may have
thousands.
"""
_MS = "ms_"
_STATE = ("RECOUNT", "STATE")
_COUNTS_LIVE = timedelta(days=3 * 366)
_TRIES = 5
_RECOUNT_AFTER = timedelta(minutes=15)
"""Until then functions of the version before may still make runs."""


def counting(before: Run | None, after: Run | None) -> list[Write]:
    """The writes that update the counts, and the marks of failed and cancelled runs, for one change of a run.

    None stands for no run: `before` when it is made, `after` when it is deleted. A record that was never counted is
    treated as no run.
    """
    run = after or before
    assert run is not None, "something changes"
    changed = _difference(before, after, OWN_DIGITS)
    over_all = _difference(before, after, SHARED_DIGITS)
    over_all["unfinished"] = sum(over_all.pop(status, 0) for status in UNFINISHED)
    sk = f"COUNT#{run.created_at[:10]}#{run.kind}"
    ttl = int((parse_rfc3339(run.created_at) + _COUNTS_LIVE).timestamp())
    updates = [
        Update(pk, sk, {"ttl": ttl}, add=add)
        for pk, counts in ((run.pk, changed), (_shard(run.id), over_all))
        if (add := {name: count for name, count in counts.items() if count})
    ]
    return [*updates, *marking(before, after)]


def as_counted(run: Run) -> dict[str, object]:
    """The condition of a write that updates the counts: the fields that they depend on are as they were read."""
    return {
        "status": run.status,
        "attempt": run.attempt,
        "completed_at": run.completed_at or ABSENT,
        "expired_at": run.expired_at or ABSENT,
        "counted": run.counted or ABSENT,
    }


@dataclass(frozen=True)
class Counts:
    """The runs of one kind that were asked for on one day. `durations` are those of the completed, in milliseconds."""

    day: str
    kind: str
    by: Counter[str]

    def count(self, status: str) -> int:
        """How many are in a status; `expired` is one of its own here, `unfinished` pending or running."""
        if status == "unfinished":
            return self.by["unfinished"] + sum(self.by[each] for each in UNFINISHED)
        return self.by[status]

    @property
    def durations(self) -> Counter[int]:
        """How many took so many milliseconds."""
        return Counter({int(name.removeprefix(_MS)): n for name, n in self.by.items() if name.startswith(_MS)})


def read_counts(tenants: Iterable[str] | None, since: date) -> Iterator[Counts]:
    """The counts of these tenants (None: of all) from a day on."""
    shards = [f"FLEET#{n}" for n in range(SHARDS)]
    for pk in shards if tenants is None else [f"T#{tenant}" for tenant in tenants]:
        for item in table.query(pk, prefix=f"COUNT#{since.isoformat()}", before="COUNT#~"):
            _, day, kind = item["sk"].split("#")
            numbers = {name: int(n) for name, n in item.items() if name not in ("pk", "sk", "ttl")}
            yield Counts(day, kind, Counter(numbers))


def count_history(tenant: str, history: str, status: str | None, now: datetime) -> int:
    """How many runs of a status (None: of any) a tenant's history has; `expired` is one of its own."""
    statuses = (status,) if status else (*UNFINISHED, *FINAL, "expired")
    return sum(counts.by[each] for counts in counts_of_history([tenant], history, now) for each in statuses)


def counts_of_history(tenants: Iterable[str] | None, history: str, now: datetime) -> Iterator[Counts]:
    """The counts of the kinds that a history shows, of the days whose records are still kept.

    Of days before that only backups are left that are kept longer. They are counted for tenants that are named: over
    all of them three years are too many to read.
    """
    first = {kind.name: first_day(kind.name, now) for kind in KINDS.values() if kind.history == history}
    oldest = date.fromisoformat(min(first.values())) if tenants is None else (now - _COUNTS_LIVE).date()
    for counts in read_counts(tenants, oldest):
        if counts.kind in first and counts.day >= first[counts.kind]:
            yield counts
        elif counts.kind in first and KINDS[counts.kind].protects:
            yield Counts(counts.day, counts.kind, Counter({name: counts.by[name] for name in ("completed", "bytes")}))


def first_day(kind: str, now: datetime) -> str:
    """The first day of which a kind's records are still kept."""
    example = Run(id="", tenant="", kind=kind, database="", spec={}, requested_by="", created_at="")
    return rfc3339(now - record_life(example))[:10]


def recount(now: datetime, has_time: Callable[[], bool]) -> int:
    """Count the runs that an older version has left uncounted, each once, newest days first; returns how many.

    The table keeps how far this has come, so the next tick goes on there until nothing is left.
    """
    state = table.get(*_STATE)
    if state is None:
        begins = {"day": now.date().isoformat(), "begins_at": rfc3339(now + _RECOUNT_AFTER)}
        table.update(*_STATE, begins, when={"pk": ABSENT})
        return 0
    if state.get("is_done") or state["begins_at"] > rfc3339(now):
        return 0
    day = date.fromisoformat(state["day"])
    counted = 0
    failures: list[Exception] = []
    while day >= oldest_record(now).date():
        for item in table.query(day.isoformat(), index="by_day", newest_first=True, where={"counted": ABSENT}):
            if not has_time():
                return counted
            try:
                counted += _count_late(Run.model_validate(item))
            except ValueError as error:
                error.add_note(f"{item['pk']} {item['sk']} cannot be read, so it stays uncounted.")
                failures.append(error)
        day -= timedelta(days=1)
        table.update(*_STATE, {"day": day.isoformat()})
        if failures:
            raise ExceptionGroup(f"{len(failures)} records of a day cannot be counted.", failures)
    table.update(*_STATE, {"is_done": True, "at": rfc3339(now)})
    return counted


def _count_late(run: Run) -> int:
    for _ in range(_TRIES):
        try:
            table.transact(
                [
                    Update(run.pk, run.sk, {"counted": True}, when=as_counted(run)),
                    *counting(None, run),
                    *summing_up(None, run),
                ]
            )
        except ConditionFailedError:
            # It has just changed, by this version, which has counted it, or by the one before.
            item = table.get(run.pk, run.sk)
            if item is None or item.get("counted"):
                return 0
            run = Run.model_validate(item)
        else:
            return 1
    raise UnavailableError("The run changes too quickly; the next tick counts it.", retry_after=1)


def _difference(before: Run | None, after: Run | None, digits: int) -> Counter[str]:
    """What a change adds to the counts. A run that is not counted yet adds everything."""
    changed = _told(after, digits)
    changed.subtract(_told(before if before and before.counted else None, digits))
    return changed


def _told(run: Run | None, digits: int) -> Counter[str]:
    """What one run adds to the counts."""
    if run is None:
        return Counter()
    told = Counter({"expired" if run.status == "completed" and run.expired_at else run.status: 1})
    if run.outcome and run.status in FINAL:
        told["expired_bytes" if run.expired_at else "bytes"] = run.outcome.size_bytes
    if run.status == "completed" and run.duration_ms is not None:
        told[f"{_MS}{_rounded(run.duration_ms, digits)}"] = 1
    return told


def _rounded(duration_ms: int, digits: int) -> int:
    taken = max(0, duration_ms)  # a clock that was set back makes a run end before it begins
    return round(taken, min(0, digits - 1 - floor(log10(max(1, taken)))))


def _shard(run_id: str) -> str:
    return f"FLEET#{crc32(run_id.encode()) % SHARDS}"
