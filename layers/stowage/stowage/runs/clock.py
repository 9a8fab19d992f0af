"""What the one clock does with runs: relaunch, notice the dead, sweep, expire (DESIGN §4, One clock).

Everything here is a function of the table and the time it is given, and may happen twice without harm.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from stowage.audit import audit_note
from stowage.aws import objects, table
from stowage.aws.executions import execution_status, stop_execution
from stowage.aws.table import ConditionFailedError, Delete, Update
from stowage.runs.dispatch import dispatch, start_attempt
from stowage.runs.record import ACTIVE_LIST, SWEEP_LIST, Run, moment
from stowage.runs.settle import Ending, bucket_of, clean_up, settle
from stowage.runs.store import change_run, progress_key, read_progress
from stowage.settings import settings

LOOK_AGAIN = timedelta(seconds=60)
BUDGET_SECONDS = 40.0
"""A tick ends before its function's time-out; the next one goes on."""


def tick(now: datetime) -> dict[str, int]:
    """One minute's work. Returns what was done, by name."""
    deadline = time.monotonic() + BUDGET_SECONDS
    done = {"watched": 0, "swept": 0, "launched": 0}
    failures: list[Exception] = []
    for due_list, name, work in ((ACTIVE_LIST, "watched", _look_after), (SWEEP_LIST, "swept", _sweep)):
        for run in _due(due_list, now, deadline):
            try:
                work(run, now)
            except Exception as error:
                failures.append(error)
            else:
                done[name] += 1
    for database in ("main", *settings().databases):
        try:
            done["launched"] += len(dispatch(database, now))
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup("The clock could not do everything.", failures)
    return done


def _due(due_list: str, now: datetime, deadline: float) -> Iterator[Run]:
    for item in table.query(due_list, index="due", up_to=moment(now)):
        if time.monotonic() > deadline:
            return
        yield Run.model_validate(item)


def _look_after(run: Run, now: datetime) -> None:
    """See whether the attempt's execution still lives, and the run still moves."""
    status = execution_status(run.execution_name)
    if status is None:
        start_attempt(run)
    elif status != "RUNNING":
        settle(run.tenant, run.id, run.attempt, now, Ending(error=status))
        return
    elif _stale(run, now) or run.cancel_requested:
        stop_execution(run.execution_name, "The run was cancelled." if run.cancel_requested else "No progress.")
    change_run(
        run,
        {"due_at": moment(now, LOOK_AGAIN)},
        when={"attempt": run.attempt, "status": ("pending", "running"), "due_list": ACTIVE_LIST},
    )


def _stale(run: Run, now: datetime) -> bool:
    progress = read_progress(run.id) or {}
    moved_at = float(progress.get("moved_at", 0)) if progress.get("attempt") == run.attempt else 0.0
    started = datetime.fromisoformat(run.attempt_started_at or run.created_at).timestamp()
    return now.timestamp() - max(moved_at, started) > settings().stale_seconds


def _sweep(run: Run, now: datetime) -> None:
    """Take away what attempts without an artifact have left, and the artifact once it has expired."""
    keeps = run.expires_at is not None and run.expires_at > moment(now)
    for attempt in range(1, run.attempt + (not keeps)):
        clean_up(run, attempt)
    expected: dict[str, object] = {"status": run.status, "due_list": SWEEP_LIST}
    if keeps:
        change_run(run, {"due_at": run.expires_at}, when=expected)
        return
    if run.status != "completed":
        change_run(run, {}, remove=("due_list", "due_at"), when=expected)
        return
    pk, sk = progress_key(run.id)
    try:
        table.transact(
            [
                Update(
                    run.pk,
                    run.sk,
                    {"expired_at": moment(now)},
                    remove=("due_list", "due_at"),
                    when=expected,
                ),
                Update(pk, sk, {"expired_at": moment(now)}, add={"sequence": 1}),
                audit_note(run.tenant, f"{run.kind}.expired", run.id, "stowage", now),
            ]
        )
    except ConditionFailedError:
        return


def forget_run(run: Run, actor: str, now: datetime) -> None:
    """Delete an ended run: its files, then its record. ConditionFailedError when it is running after all."""
    for attempt in range(1, run.attempt + 1):
        objects.delete_prefix(bucket_of(run), run.prefix(attempt))
    table.transact(
        [
            Delete(run.pk, run.sk, when={"status": ("completed", "failed", "cancelled")}),
            Delete(*progress_key(run.id)),
            audit_note(run.tenant, f"{run.kind}.deleted", run.id, actor, now),
        ]
    )
