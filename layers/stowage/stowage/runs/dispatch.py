"""Which waiting runs start now. Waiting costs nothing: a run waits as an item, never as an execution or a task.

Each pool, a database's or that of the runs that speak no SQL, has a number of places. Who has them is one item of
leases under a version number. Whoever dispatches reads it, chooses, and writes leases and runs in one transaction, so
two dispatchers cannot give the same place twice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
SHARED_GRACE = timedelta(minutes=10)
"""The same of the runs that share an execution, but for the first one: that looks after all of them."""
MOST_TOGETHER = 80
"""Runs that one execution carries out. They are launched by one transaction."""
SHARED_TRIES = 2
"""Attempts that a run may share; should these fail, then perhaps by another's fault."""

_TRIES = 6
_MOST_WRITES = 99
"""Of one transaction, beside the leases; DynamoDB takes 100."""

type Together = list[Run]
"""Runs that one execution carries out in one place: one, or several that share it."""


@dataclass(frozen=True)
class Lease:
    """A run's place in its pool. Where runs share one, `run` is their execution, and `members` are their tenants."""

    run: str
    tenant: str
    kind: str
    lane: str | None
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def tenants(self) -> Mapping[str, str]:
        """The tenants of its runs by their ids."""
        return self.members or {self.run: self.tenant}

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
        item = {
            lease.run: {"tenant": lease.tenant, "kind": lease.kind, "lane": lease.lane, "members": dict(lease.members)}
            for lease in held
        }
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
    held = (
        Lease(run, lease["tenant"], lease["kind"], lease["lane"], lease.get("members") or {})
        for run, lease in item["held"].items()
    )
    return Leases(pool, tuple(held), item["version"])


def choose(
    waiting: Iterable[Run], held: Iterable[Lease], *, budget: int, exports_per_tenant: int, now: datetime
) -> list[Together]:
    """The waiting runs (in the order of the queue) that may start beside those that hold a lease, by the places that
    they take.

    The budget bounds all of them, and long ones leave one place to short ones. A tenant has one exclusive run (a
    backup) at a time, and `exports_per_tenant` others in the worker. A run that may not start does not hold up those
    behind it. Those that may share a place take one together.
    """
    places = _Places(list(held), budget, exports_per_tenant)
    chosen: list[Together] = []
    shared: dict[str, Together] = {}
    """Those that still take others, by their kind."""
    for run in () if places.are_taken else waiting:
        if run.not_before and run.not_before > rfc3339(now):
            continue
        others = shared.get(run.kind) if may_share(run) else None
        if others is not None:
            if places.join(run):
                others.append(run)
                if len(others) == MOST_TOGETHER:
                    del shared[run.kind]
        elif places.take(lease_of(run)):
            chosen.append([run])
            if may_share(run):
                shared[run.kind] = chosen[-1]
        if places.are_taken and not shared:
            break
    return chosen


class _Places:
    """The places of a pool, as they are given away."""

    def __init__(self, held: list[Lease], budget: int, exports_per_tenant: int) -> None:
        self._budget, self._exports_per_tenant = budget, exports_per_tenant
        self._free = budget - len(held)
        self._in_worker = sum(lease.in_worker for lease in held)
        self._exports = Counter(lease.tenant for lease in held if not lease.exclusive and lease.in_worker)
        self._exclusive = {tenant for lease in held if lease.exclusive for tenant in lease.tenants.values()}
        self._runs = {run for lease in held for run in lease.tenants}

    @property
    def are_taken(self) -> bool:
        return self._free <= 0

    def join(self, run: Run) -> bool:
        """Whether a run may share the place of others of its kind, which is exclusive; if so, it does."""
        if run.id in self._runs or run.tenant in self._exclusive:
            return False
        self._runs.add(run.id)
        self._exclusive.add(run.tenant)
        return True

    def take(self, lease: Lease) -> bool:
        """Whether a run may have a place of its own; if so, it has."""
        if self.are_taken or lease.run in self._runs or (lease.in_worker and not self._take_worker(lease)):
            return False
        self._free -= 1
        self._runs.add(lease.run)
        return True

    def _take_worker(self, lease: Lease) -> bool:
        if self._in_worker >= max(1, self._budget - 1):
            return False
        if lease.exclusive:
            if lease.tenant in self._exclusive:
                return False
            self._exclusive.add(lease.tenant)
        else:
            if self._exports[lease.tenant] >= self._exports_per_tenant:
                return False
            self._exports[lease.tenant] += 1
        self._in_worker += 1
        return True


def may_share(run: Run) -> bool:
    """Whether a waiting run may be carried out together with others of its kind."""
    kind = kind_of(run.kind)
    return run.may_share and run.tries < SHARED_TRIES and kind.exclusive and kind.work_together is not None


def lease_of(run: Run) -> Lease:
    """The lease that a run takes."""
    return Lease(run.id, run.tenant, run.kind, run.lane)


def lease_of_all(runs: Together) -> Lease:
    """The lease that runs take together, once they are launched."""
    if len(runs) == 1:
        return lease_of(runs[0])
    return Lease(str(runs[0].execution), "", runs[0].kind, "worker", {run.id: run.tenant for run in runs})


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
        )
        if not chosen:
            break
        started = [_started(runs) for runs in _of_one_transaction(chosen)]
        every = [run for runs in started for run in runs]
        try:
            table.transact(
                [
                    leases.write([*leases.held, *map(lease_of_all, started)]),
                    *(_launch(run, now) for run in every),
                    *(write_members(str(runs[0].execution), map(member_of, runs), now) for runs in started),
                ]
            )
        except ConditionFailedError as error:
            unavailable |= {every[place - 1].id for place in error.failed if 0 < place <= len(every)}
            continue
        for runs in started:
            try:
                start_attempt(runs[0])
            except Exception as error:
                failures.append(error)
        launched += every
        unavailable |= {run.id for run in every}
        if len(started) == len(chosen):
            break
    failures += waiting.failures
    if failures:
        raise ExceptionGroup("Not every waiting run could be started; the clock tries again.", failures)
    return launched


def release(leases: Leases, run_id: str) -> Write | None:
    """The write that frees a run's place, or None if it holds none."""
    rest = [lease for lease in leases.held if lease.run != run_id]
    return leases.write(rest) if len(rest) < len(leases.held) else None


def free_place(pool: str, holder: str) -> None:
    """Free the place that runs shared, once none of them is carried out any more."""
    for _ in range(_TRIES):
        freed = release(read_leases(pool), holder)
        if freed is None:
            return
        try:
            table.transact([freed])
        except ConditionFailedError:
            continue
        return


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
    for run, tenant in lease.tenants.items():
        item = table.get(f"T#{tenant}", f"RUN#{run}")
        if item is not None and item["status"] in UNFINISHED and item.get("due_list") == ACTIVE_LIST:
            return True
    return False


def _of_one_transaction(chosen: list[Together]) -> Iterator[Together]:
    writes = 0
    for runs in chosen:
        writes += len(runs) + 1
        if writes > _MOST_WRITES:
            return
        yield runs


def _started(runs: Together) -> Together:
    """Waiting runs, each with its next attempt."""
    name = name_of(runs[0], runs[0].attempt + 1)
    return [
        run.model_copy(
            update={
                "attempt": run.attempt + 1,
                "tries": run.tries + 1,
                "execution": name if len(runs) == 1 else f"batch-{name}",
                "sharers": len(runs),
            }
        )
        for run in runs
    ]


def _launch(run: Run, now: datetime) -> Update:
    leads = not run.is_shared or run.execution == f"batch-{name_of(run, run.attempt)}"
    return Update(
        run.pk,
        run.sk,
        {
            "attempt": run.attempt,
            "execution": run.execution,
            "tries": run.tries,
            "sharers": run.sharers,
            "due_list": ACTIVE_LIST,
            "due_at": rfc3339(now + (LAUNCH_GRACE if leads else SHARED_GRACE)),
        },
        remove=("attempt_started_at",),
        when={"status": "pending", "attempt": run.attempt - 1, "due_list": waiting_list(run.pool)},
    )
