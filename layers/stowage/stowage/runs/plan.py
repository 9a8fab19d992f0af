"""The first step of an attempt: take the run from waiting to running, estimate it, choose its lane."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from stowage.aws import table
from stowage.aws.table import ConditionFailedError, Update, Write
from stowage.basics.errors import CancelledError, StowageError
from stowage.basics.ids import rfc3339
from stowage.runs.counters import as_counted, counting
from stowage.runs.dispatch import Lease, free_place, lease_of, read_leases, release
from stowage.runs.executions import Member
from stowage.runs.kinds import kind_of
from stowage.runs.lane import record_failure
from stowage.runs.record import (
    ACTIVE_LIST,
    UNFINISHED,
    Estimate,
    Lane,
    Run,
    queue_place,
    waiting_list,
)
from stowage.runs.store import change_run, find_run, progress_key, read_run
from stowage.settings import settings

WAIT = "wait"
"""The plan of a run that must wait after all, because its tenant has no more room for exports in the worker."""

SHARED_MAX_BYTES = 8 * 1024 * 1024
"""What a run that shares its execution may come to, before compression."""

type Estimator = Callable[[Run], Estimate]
type EstimatorOfAll = Callable[[Sequence[Run]], Mapping[str, Estimate]]
"""The estimates of runs by their ids, as far as there are any."""


def plan_attempt(
    tenant: str, run_id: str, attempt: int, execution: str, estimator: Callable[[str], Estimator], now: datetime
) -> Lane | str:
    """The lane of an attempt (`inline`, `image`, `worker`), or `wait`. An error that makes the run
    impossible is written on it, then raised.
    """
    run = _start(read_run(tenant, run_id), attempt, execution, now)
    try:
        run.estimate = estimator(run.kind)(run)
    except StowageError as error:
        record_failure(run, error.code, error.message, retryable=error.retryable)
        raise
    lane = lane_of(run, run.estimate)
    if lane == "worker" and not lease_of(run).in_worker and not _move_to_worker(run):
        _wait_again(run)
        return WAIT
    changed = change_run(
        run,
        {"lane": lane, "estimate": run.estimate.model_dump()},
        when={"attempt": attempt, "status": "running", "due_list": ACTIVE_LIST, "cancel_requested": False},
    )
    if changed is None:
        raise CancelledError("The run was cancelled.")
    return lane


def plan_together(
    members: Sequence[Member], execution: str, estimator: Callable[[str], EstimatorOfAll], now: datetime
) -> Lane | str:
    """The same of runs that share an execution, `worker`. One that is too large to be carried out with others waits
    again, for an execution of its own; `wait` where all do.
    """
    runs = [run for member in members if (run := find_run(member.tenant, member.run_id))]
    runs = [run for run in runs if run.execution == execution and run.status in UNFINISHED]
    if not runs:
        raise CancelledError("The runs have ended.")
    try:
        estimates = estimator(runs[0].kind)(runs)
    except StowageError as error:
        for run in runs:
            record_failure(run, error.code, error.message, retryable=error.retryable)
        raise
    answers: list[Lane | str] = []
    for run in runs:
        run.lane, run.estimate = "worker", estimates.get(run.id)
        with suppress(CancelledError):  # the others go on
            started = _start(run, run.attempt, execution, now)
            if run.estimate and run.estimate.bytes > SHARED_MAX_BYTES:
                _wait_again(started)
                answers.append(WAIT)
            else:
                answers.append("worker")
    if not answers:
        raise CancelledError("The runs were cancelled.")
    if "worker" in answers:
        return "worker"
    free_place(runs[0].pool, execution)
    return WAIT


def lane_of(run: Run, estimate: Estimate) -> Lane:
    """`inline` for a small run of a kind that can run in a function. `image` for a small one that somebody waits for
    and that needs what the worker's image has, pg_dump above all; should that fail, it tries again in the worker.
    Else `worker`.
    """
    kind, image_max_bytes = kind_of(run.kind), settings().image_max_bytes
    if kind.fits_inline and kind.fits_inline(run.spec) and estimate.bytes <= settings().inline_max_bytes:
        return "inline"
    is_small = estimate.bytes <= image_max_bytes and image_max_bytes > 0
    is_first = run.tries <= 1 and run.trigger == "manual"
    if kind.fits_image and kind.fits_image(run.spec) and is_first and is_small:
        return "image"
    return "worker"


def _start(run: Run, attempt: int, execution: str, now: datetime) -> Run:
    """Mark the attempt as running. A second call does no harm: a step may be delivered twice."""
    if run.attempt != attempt or execution != run.execution:
        raise CancelledError("This execution is not the run's current attempt.")
    started = {
        "status": "running",
        "counted": True,
        "started_at": run.started_at or rfc3339(now),
        "attempt_started_at": rfc3339(now),
        "lane": run.lane,
        **({"estimate": run.estimate.model_dump()} if run.estimate else {}),
    }
    pk, sk = progress_key(run.id)
    progress = {
        "status": "running",
        "attempt": attempt,
        "stage": "planning",
        "stages": [{"stage": "planning", "at": rfc3339(now)}],
        "message": "Estimating.",
    }
    # In the active list as long as it is launched: a step that comes late must not revive a run that waits again.
    expected = {**as_counted(run), "due_list": ACTIVE_LIST, "cancel_requested": False}
    try:
        table.transact(
            [
                Update(run.pk, run.sk, started, remove=("error", "upload", "not_before"), when=expected),
                Update(pk, sk, progress, add={"sequence": 1}),
                *counting(run, run.model_copy(update=started)),
            ]
        )
    except ConditionFailedError:
        again = read_run(run.tenant, run.id)
        if again.status in UNFINISHED and (again.status, again.counted) != (run.status, run.counted):
            again.lane, again.estimate = run.lane, run.estimate
            return _start(again, attempt, execution, now)  # delivered twice at once, or just counted
        raise CancelledError("The run was cancelled.") from None
    return run.model_copy(update=started | {"error": None, "estimate": run.estimate})


def _move_to_worker(run: Run) -> bool:
    """Turn the run's lease into one for the worker, unless its tenant has too many there."""
    while True:
        leases = read_leases(run.pool)
        others = [lease for lease in leases.held if lease.run != run.id]
        if len(others) == len(leases.held):
            raise CancelledError("This attempt is no longer the run's current one.")
        same = sum(lease.tenant == run.tenant and not lease.exclusive and lease.in_worker for lease in others)
        long = sum(lease.in_worker for lease in others)
        if same >= settings().worker_exports_per_tenant or long >= max(1, settings().database_connections - 1):
            return False
        moved = Lease(run.id, run.tenant, run.kind, "worker")
        try:
            table.transact([leases.write([*others, moved])])
        except ConditionFailedError:
            continue
        return True


def _wait_again(run: Run) -> None:
    """Put the run back into the queue, now marked as large. The attempt does not count."""
    pk, sk = progress_key(run.id)
    waiting = {
        "status": "pending",
        "lane": "worker",
        "may_share": False,
        "tries": run.tries - 1,
        "due_list": waiting_list(run.pool),
        "due_at": queue_place(run),
    }
    assert run.estimate is not None
    writes: list[Write] = [
        Update(
            run.pk, run.sk, waiting | {"estimate": run.estimate.model_dump()},
            remove=("started_at",) if run.tries == 1 else (),
            when={**as_counted(run), "cancel_requested": False},
        ),
        Update(
            pk, sk,
            {"status": "pending", "stage": "waiting", "message": "Waiting for a free slot."},
            add={"sequence": 1},
        ),
        *counting(run, run.model_copy(update=waiting)),
    ]  # fmt: skip
    while True:
        freed = release(read_leases(run.pool), run.id)
        try:
            table.transact([*writes, freed] if freed else writes)
        except ConditionFailedError as error:
            if 0 in error.failed:
                raise CancelledError("The run was cancelled.") from None
            continue
        return
