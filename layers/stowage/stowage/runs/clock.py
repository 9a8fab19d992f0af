"""What the clock does with runs: relaunch, notice the dead, sweep, expire, start those that wait.

Everything here is a function of the table and the time it is given, and may happen twice without harm.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.executions import execution_status, stop_execution
from stowage.aws.table import ABSENT, PRESENT, ConditionFailedError, Item, Update
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.runs.audit_notes import audit_note
from stowage.runs.counters import as_counted, counting
from stowage.runs.dispatch import SHARED_GRACE, dispatch, free_lost_leases
from stowage.runs.executions import Member, member_of, members_of, start_attempt
from stowage.runs.keeping import SWEEPING, record_until
from stowage.runs.record import ACTIVE_LIST, NO_DATABASE, SWEEP_LIST, Run
from stowage.runs.settle import Ending, clean_up, settle, settle_execution
from stowage.runs.store import change_run, find_run, progress_key, read_progress
from stowage.runs.summary import RETENTION_LIST, noting, summing_up
from stowage.runs.using import IN_NO_USE
from stowage.settings import settings

LOOK_AGAIN = timedelta(seconds=60)


def free_places(_now: datetime, has_time: Callable[[], bool]) -> int:
    """Free places of runs that are gone, in every pool; how many."""
    return _in_every_pool(free_lost_leases, has_time)


def start_waiting(now: datetime, has_time: Callable[[], bool]) -> int:
    """Start waiting runs of every pool; how many."""
    return _in_every_pool(lambda pool: len(dispatch(pool, now)), has_time)


def _in_every_pool(work: Callable[[str], int], has_time: Callable[[], bool]) -> int:
    """Do the work in every pool; returns the sum. A pool that fails does not stop the others, and
    the error that is raised at the end names it.
    """
    total = 0
    failures: list[Exception] = []
    for pool in ("main", *settings().databases, NO_DATABASE):
        if not has_time():
            break
        try:
            total += work(pool)
        except Exception as error:
            error.add_note(f"pool {pool}")
            failures.append(error)
    if failures:
        raise ExceptionGroup("Not every pool could be looked after.", failures)
    return total


def look_after(item: Item, now: datetime) -> None:
    """Check that the execution of a run's attempt is still alive and that the run still makes progress."""
    run = Run.model_validate(item)
    assert run.execution is not None, "what is launched has one"
    members = members_of(run.execution) if run.is_shared else [member_of(run)]
    leads = member_of(run) == members[0]
    status = execution_status(run.execution)
    if status is None:
        start_attempt(run)
    elif status != "RUNNING":
        if run.is_shared:
            settle_execution(run.execution, member_of(run), now, Ending(error=status))
        else:
            settle(run.tenant, run.id, run.attempt, now, Ending(error=status))
        return
    elif run.is_shared:
        if leads and _all_stale(run.execution, members, now):
            stop_execution(run.execution, "No progress.")
    elif _stale(run, now) or run.cancel_requested:
        stop_execution(run.execution, "The run was cancelled." if run.cancel_requested else "No progress.")
    change_run(
        run,
        {"due_at": rfc3339(now + (LOOK_AGAIN if leads else SHARED_GRACE))},
        when={"attempt": run.attempt, "status": ("pending", "running"), "due_list": ACTIVE_LIST},
    )


def _all_stale(execution: str, members: Iterable[Member], now: datetime) -> bool:
    """Whether none of the runs that share an execution makes progress any more."""
    found = (find_run(member.tenant, member.run_id) for member in members)
    running = [run for run in found if run and run.execution == execution and run.status == "running"]
    return bool(running) and all(_stale(run, now) for run in running)


def _stale(run: Run, now: datetime) -> bool:
    if run.attempt_started_at is None:
        return False  # not planned yet: for that the state machine has a time limit of its own
    progress = read_progress(run.id) or {}
    moved_at = float(progress.get("reported_at", 0)) if progress.get("attempt") == run.attempt else 0.0
    started = datetime.fromisoformat(run.attempt_started_at).timestamp()
    return now.timestamp() - max(moved_at, started) > settings().stale_seconds


def sweep(item: Item, now: datetime) -> None:
    """Delete what attempts without an outcome have written, and the files of runs that have expired."""
    run = Run.model_validate(item)
    if run.is_planned and not run.expired_at:
        _leave_to_retention(run, now)
        return
    keeps = run.expired_at is None and run.expires_at is not None and run.expires_at > rfc3339(now)
    if run.outcome and not keeps and not (run.expired_at or expire(run, now, due_list=SWEEP_LIST)):
        change_run(run, {"due_at": rfc3339(now + LOOK_AGAIN)}, when={"status": run.status, "due_list": SWEEP_LIST})
        return
    for attempt in range(1, run.attempt + (not keeps)):
        clean_up(run, attempt)
    expected: dict[str, object] = {"status": run.status, "due_list": SWEEP_LIST}
    if keeps:
        change_run(run, {"due_at": run.expires_at}, when=expected)
    else:
        change_run(run, {}, remove=("due_list", "due_at"), when=expected)


def _leave_to_retention(run: Run, now: datetime) -> None:
    """Take a stored backup off the sweep's list once nothing is left of its earlier attempts. One of a version before
    0.2 stood there until its time.
    """
    for attempt in range(1, run.attempt):
        clean_up(run, attempt)
    gone = ("due_list", "due_at", "ttl")
    with suppress(ConditionFailedError):  # it has just been deleted
        table.transact(
            [
                Update(run.pk, run.sk, remove=gone, when={"status": run.status, "due_list": SWEEP_LIST}),
                Update(*progress_key(run.id), remove=("ttl",), when={"pk": PRESENT}),
                noting(run.tenant, {"due_list": RETENTION_LIST, "due_at": rfc3339(now)}),
            ]
        )


def expire(run: Run, now: datetime, **unchanged: object) -> bool:
    """Mark a run's files as expired, so that no other run begins to use them; the sweep deletes them then. False if one
    uses them, or if the run is not as it was read, pinned above all.
    """
    mark: Item = {"expired_at": rfc3339(now), "counted": True}
    expired = run.model_copy(update=mark)
    lives: Item = {}
    if run.is_planned:
        assert run.completed_at is not None, "it has ended"
        until = max(record_until(run, parse_rfc3339(run.completed_at)), int((now + SWEEPING).timestamp()))
        lives = {"ttl": until}
    expected = {**as_counted(run), "users": IN_NO_USE, "pinned_at": ABSENT, **unchanged}
    swept = {"due_list": SWEEP_LIST, "due_at": rfc3339(now)}
    try:
        table.transact(
            [
                Update(run.pk, run.sk, mark | swept | lives, when=expected),
                Update(*progress_key(run.id), {"expired_at": rfc3339(now)} | lives, add={"sequence": 1}),
                audit_note(run, "expired", "stowage", now),
                *counting(run, expired),
                *summing_up(run, expired),
            ]
        )
    except ConditionFailedError:
        return False
    return True
