"""Which waiting runs start now. Waiting costs nothing: a run waits as an item, never as an execution or a task.

Each pool, a database's or that of the runs that speak no SQL, has a number of places. Who has them is one item of
leases under a version number. Whoever dispatches reads it, chooses, and writes leases and runs in one transaction, so
two dispatchers cannot give the same place twice.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Update, Write
from stowage.basics.ids import rfc3339
from stowage.runs.executions import member_of, name_of, start_attempt, write_members
from stowage.runs.kinds import kind_of
from stowage.runs.queue import RunKey, WaitingRuns
from stowage.runs.record import ACTIVE_LIST, UNFINISHED, Run, waiting_list
from stowage.settings import settings

LAUNCH_GRACE = timedelta(seconds=60)
"""The clock looks at a launched run that nobody has claimed after this time."""

_TRIES = 6
_MOST_AT_ONCE = 40
"""Runs launched by one transaction, two writes each; DynamoDB takes 100."""


@dataclass(frozen=True)
class Lease:
    """A run's place in its pool."""

    run: str
    tenant: str
    kind: str
    lane: str | None

    @property
    def in_worker(self) -> bool:
        """Whether the run may take long. Only runs that may run inline, and are not known to be large, do not."""
        return kind_of(self.kind).fits_inline is None or self.lane == "worker"

    @property
    def exclusive(self) -> bool:
        """Whether the tenant may have only one such run at a time."""
        return kind_of(self.kind).exclusive


@dataclass(frozen=True)
class Leases:
    """Which runs hold the places of a pool at the moment. A writer must name the `version` that it has read."""

    pool: str
    held: tuple[Lease, ...] = ()
    version: int = 0

    def write(self, held: Iterable[Lease]) -> Update:
        """The write that replaces the leases by these, refused if anybody has changed them since."""
        item = {lease.run: {"tenant": lease.tenant, "kind": lease.kind, "lane": lease.lane} for lease in held}
        return Update(
            f"DB#{self.pool}",
            "LEASES",
            {"held": item, "version": self.version + 1},
            when={"version": self.version or ABSENT},
        )


def read_leases(pool: str) -> Leases:
    """The leases of a pool as they are now."""
    item = table.get(f"DB#{pool}", "LEASES")
    if item is None:
        return Leases(pool)
    held = (Lease(run, lease["tenant"], lease["kind"], lease["lane"]) for run, lease in item["held"].items())
    return Leases(pool, tuple(held), item["version"])


def choose(
    waiting: Iterable[Run], held: Iterable[Lease], *, budget: int, exports_per_tenant: int, now: datetime
) -> list[Run]:
    """The waiting runs (in the order of the queue) that may start beside those that hold a lease.

    The budget bounds all of them, and long ones leave one place to short ones. A tenant has one exclusive run (a
    backup) at a time, and `exports_per_tenant` others in the worker. A run that may not start does not hold up those
    behind it.
    """
    held = list(held)
    in_worker = sum(lease.in_worker for lease in held)
    long_budget = max(1, budget - 1)
    exports = Counter(lease.tenant for lease in held if not lease.exclusive and lease.in_worker)
    exclusive = {lease.tenant for lease in held if lease.exclusive}
    places = budget - len(held)
    holders = {lease.run for lease in held}
    chosen: list[Run] = []
    if places <= 0:
        return chosen
    for run in waiting:
        lease = lease_of(run)
        if run.id in holders or (run.not_before and run.not_before > rfc3339(now)):
            continue
        if lease.in_worker:
            if in_worker >= long_budget:
                continue
            if lease.exclusive:
                if run.tenant in exclusive:
                    continue
                exclusive.add(run.tenant)
            else:
                if exports[run.tenant] >= exports_per_tenant:
                    continue
                exports[run.tenant] += 1
            in_worker += 1
        chosen.append(run)
        holders.add(run.id)
        if len(chosen) == places:
            break
    return chosen


def lease_of(run: Run) -> Lease:
    """The lease that a run takes."""
    return Lease(run.id, run.tenant, run.kind, run.lane)


def dispatch(pool: str, now: datetime, written: Iterable[RunKey] = ()) -> list[Run]:
    """Start what may start of a pool; returns the launched runs.

    `written` are runs that have just begun to wait: the index may not show them yet. If a run
    cannot be read or started, its error is raised after the others have started.
    """
    waiting = WaitingRuns(pool, written)
    unavailable: set[str] = set()
    launched: list[Run] = []
    failures: list[Exception] = []
    for _ in range(_TRIES):
        leases = read_leases(pool)
        chosen = choose(
            (run for run in waiting if run.id not in unavailable),
            leases.held,
            budget=settings().database_connections,
            exports_per_tenant=settings().worker_exports_per_tenant,
            now=now,
        )[:_MOST_AT_ONCE]
        if not chosen:
            break
        started = [_started(run) for run in chosen]
        try:
            table.transact(
                [
                    leases.write([*leases.held, *map(lease_of, chosen)]),
                    *(_launch(run, now) for run in started),
                    *(write_members(str(run.execution), [member_of(run)], now) for run in started),
                ]
            )
        except ConditionFailedError as error:
            unavailable |= {chosen[place - 1].id for place in error.failed if place > 0}
            continue
        for run in started:
            try:
                start_attempt(run)
            except Exception as error:
                failures.append(error)
        launched += started
        unavailable |= {run.id for run in chosen}
        if len(chosen) < _MOST_AT_ONCE:
            break
    failures += waiting.failures
    if failures:
        raise ExceptionGroup("Not every waiting run could be started; the clock tries again.", failures)
    return launched


def release(leases: Leases, run_id: str) -> Write | None:
    """The write that frees a run's place, or None if it holds none."""
    rest = [lease for lease in leases.held if lease.run != run_id]
    return leases.write(rest) if len(rest) < len(leases.held) else None


def free_lost_leases(pool: str) -> int:
    """Free the places of runs that are deleted, have ended or wait again; returns how many. Nobody else frees those."""
    leases = read_leases(pool)
    held = [lease for lease in leases.held if _is_launched(lease)]
    if len(held) == len(leases.held):
        return 0
    try:
        table.transact([leases.write(held)])
    except ConditionFailedError:
        return 0
    return len(leases.held) - len(held)


def _is_launched(lease: Lease) -> bool:
    item = table.get(f"T#{lease.tenant}", f"RUN#{lease.run}")
    return item is not None and item["status"] in UNFINISHED and item.get("due_list") == ACTIVE_LIST


def _started(run: Run) -> Run:
    """A waiting run, with its next attempt."""
    attempt = run.attempt + 1
    return run.model_copy(update={"attempt": attempt, "tries": run.tries + 1, "execution": name_of(run, attempt)})


def _launch(run: Run, now: datetime) -> Update:
    return Update(
        run.pk,
        run.sk,
        {
            "attempt": run.attempt,
            "execution": run.execution,
            "tries": run.tries,
            "due_list": ACTIVE_LIST,
            "due_at": rfc3339(now + LAUNCH_GRACE),
        },
        remove=("attempt_started_at",),
        when={"status": "pending", "attempt": run.attempt - 1, "due_list": waiting_list(run.pool)},
    )
