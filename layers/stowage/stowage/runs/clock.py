"""What the one clock does with runs: relaunch, notice the dead, sweep, expire (docs/architecture.md).

Everything here is a function of the table and the time it is given, and may happen twice without harm.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from stowage.aws import table
from stowage.aws.executions import execution_status, stop_execution
from stowage.aws.table import ConditionFailedError, Update
from stowage.basics.ids import rfc3339
from stowage.notes import touch_old_notes
from stowage.runs.audit_notes import audit_note
from stowage.runs.dispatch import dispatch, free_lost_leases
from stowage.runs.executions import start_attempt
from stowage.runs.record import ACTIVE_LIST, SWEEP_LIST, Run
from stowage.runs.settle import Ending, clean_up, settle
from stowage.runs.store import change_run, progress_key, read_progress
from stowage.settings import settings

LOOK_AGAIN = timedelta(seconds=60)
BUDGET_SECONDS = 40.0
"""A tick ends before its function's time-out; the next one goes on."""


def tick(now: datetime) -> dict[str, int]:
    """One minute's work. Returns what was done, by name; what failed is raised once the rest is done."""
    deadline = time.monotonic() + BUDGET_SECONDS
    done: Counter[str] = Counter()
    failures: list[Exception] = []

    def attempt(name: str, work: Callable[[], int]) -> None:
        try:
            done[name] += work()
        except Exception as error:
            failures.append(error)

    def each_due(due_list: str, work: Callable[[Run, datetime], None]) -> int:
        worked = 0
        for item in table.query(due_list, index="due", up_to=rfc3339(now)):
            if time.monotonic() > deadline:
                break
            try:
                work(Run.model_validate(item), now)
            except Exception as error:
                failures.append(error)
            else:
                worked += 1
        return worked

    attempt("watched", lambda: each_due(ACTIVE_LIST, _look_after))
    attempt("swept", lambda: each_due(SWEEP_LIST, _sweep))
    attempt("notes", lambda: touch_old_notes(now))
    for database in ("main", *settings().databases):
        attempt("freed", partial(free_lost_leases, database))
        attempt("launched", lambda database=database: len(dispatch(database, now)))  # type: ignore[misc]
    if failures:
        raise ExceptionGroup("The clock could not do everything.", failures)
    return dict(done)


def _look_after(run: Run, now: datetime) -> None:
    """See whether the attempt's execution still lives, and the run still moves."""
    assert run.execution is not None, "what is launched has one"
    status = execution_status(run.execution)
    if status is None:
        start_attempt(run)
    elif status != "RUNNING":
        settle(run.tenant, run.id, run.attempt, now, Ending(error=status))
        return
    elif _stale(run, now) or run.cancel_requested:
        stop_execution(run.execution, "The run was cancelled." if run.cancel_requested else "No progress.")
    change_run(
        run,
        {"due_at": rfc3339(now + LOOK_AGAIN)},
        when={"attempt": run.attempt, "status": ("pending", "running"), "due_list": ACTIVE_LIST},
    )


def _stale(run: Run, now: datetime) -> bool:
    if run.attempt_started_at is None:
        return False  # not planned yet: for that the state machine has a time limit of its own
    progress = read_progress(run.id) or {}
    moved_at = float(progress.get("reported_at", 0)) if progress.get("attempt") == run.attempt else 0.0
    started = datetime.fromisoformat(run.attempt_started_at).timestamp()
    return now.timestamp() - max(moved_at, started) > settings().stale_seconds


def _sweep(run: Run, now: datetime) -> None:
    """Take away what attempts without an artifact have left, and the artifact once it has expired."""
    keeps = run.expires_at is not None and run.expires_at > rfc3339(now)
    for attempt in range(1, run.attempt + (not keeps)):
        clean_up(run, attempt)
    expected: dict[str, object] = {"status": run.status, "due_list": SWEEP_LIST}
    if keeps:
        change_run(run, {"due_at": run.expires_at}, when=expected)
        return
    if run.outcome is None:
        change_run(run, {}, remove=("due_list", "due_at"), when=expected)
        return
    pk, sk = progress_key(run.id)
    try:
        table.transact(
            [
                Update(
                    run.pk,
                    run.sk,
                    {"expired_at": rfc3339(now)},
                    remove=("due_list", "due_at"),
                    when=expected,
                ),
                Update(pk, sk, {"expired_at": rfc3339(now)}, add={"sequence": 1}),
                audit_note(run, "expired", "stowage", now),
            ]
        )
    except ConditionFailedError:
        return
