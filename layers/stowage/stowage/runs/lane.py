"""A lane, a function or the worker, claims an attempt, does the work of its kind, and says on the run why it failed."""

import traceback
from collections.abc import Callable, Iterable, Sequence

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.errors import CancelledError, ProcessStopped, StowageError
from stowage.runs.attempt import Attempt, Clock
from stowage.runs.executions import Member
from stowage.runs.progress import FencedError, Reporter
from stowage.runs.record import Failure, Run
from stowage.runs.store import read_progress
from stowage.settings import settings

type End = Callable[[Attempt, Work], None]
"""Carries out the last work in an attempt: whatever comes of it, the attempt has ended."""
type WorkTogether = Callable[[Sequence[Attempt], End], None]
"""What one kind of run does in the attempts of several runs (`RunKind.work_together`)."""
type Work = Callable[[Attempt], None]
"""What one kind of run does in an attempt: checks first (RunError before anything is written), then its files
(`Attempt.store`), its manifest last (`Attempt.finish`).
"""


def run_attempt(tenant: str, run_id: str, attempt: int, work_of: Callable[[str], Work], clock: Clock) -> bool:
    """Carry out a run's attempt. True if its manifest was written, False if the attempt is not this process's.

    An error is written on the run, then raised; a StowageError says whether to try again.
    """
    run = claim(tenant, run_id, attempt)
    if run is None:
        return False

    def work(claimed: Attempt) -> None:
        claimed.reporter.report("starting", "Connecting.")
        work_of(run.kind)(claimed)

    return _carry_out(Attempt(run, _reporter_of(run), clock), work)


def run_together(
    members: Iterable[Member], work_of: Callable[[str], WorkTogether], clock: Clock, note: Callable[[Run, str], None]
) -> None:
    """Carry out the attempts that share an execution. The error of one is written on its run, and noted, and the others
    go on; an error before there is any attempt to carry out is everybody's. ProcessStopped ends all.
    """
    claimed = [run for each in members if (run := claim(each.tenant, each.run_id, each.attempt))]
    attempts = {run.id: Attempt(run, _reporter_of(run), clock) for run in claimed}
    if not attempts:
        return

    def end(attempt: Attempt, work: Work) -> None:
        del attempts[attempt.run.id]
        try:
            note(attempt.run, "made" if _carry_out(attempt, work) else "not ours to make")
        except ProcessStopped:
            attempts[attempt.run.id] = attempt
            raise
        except CancelledError:
            note(attempt.run, "cancelled")
        except Exception:
            note(attempt.run, traceback.format_exc())

    try:
        work_of(claimed[0].kind)(list(attempts.values()), end)
    except BaseException as error:
        for attempt in attempts.values():
            _record(attempt, error)
        raise


def _carry_out(attempt: Attempt, work: Work) -> bool:
    """False if the attempt is not this process's any more; an error is written on the run, then raised."""
    try:
        work(attempt)
    except FencedError:
        return False
    except BaseException as error:
        _record(attempt, error)
        raise
    return True


def _record(attempt: Attempt, error: BaseException) -> None:
    """Write on an attempt's run what has ended it, unless that was a cancellation."""
    run = attempt.run
    if isinstance(error, CancelledError):
        return
    if isinstance(error, StowageError):
        record_failure(run, error.code, error.message, retryable=error.retryable)
    elif isinstance(error, ProcessStopped):
        if attempt.reporter.stalled:
            message = f"Nothing had moved for {settings().stale_seconds} seconds."
            record_failure(run, "no_progress", message, retryable=True)
        else:
            record_failure(run, "worker_stopped", "The worker was stopped.", retryable=True)
    elif isinstance(error, Exception):
        record_failure(run, "internal_error", "Something broke; it was logged.", retryable=True)


def _reporter_of(run: Run) -> Reporter:
    return Reporter(run, read_progress(run.id) or {"sequence": 0, "percent": 0})


def claim(tenant: str, run_id: str, attempt: int) -> Run | None:
    """Take an attempt for this process; None when it is not current, not running, or taken by another."""
    try:
        item = table.update(
            f"T#{tenant}",
            f"RUN#{run_id}",
            {"claimed": attempt},
            when={"attempt": attempt, "status": "running", "claimed": Below(attempt)},
        )
    except ConditionFailedError:
        return None
    return Run.model_validate(item)


def record_failure(run: Run, code: str, message: str, *, retryable: bool) -> None:
    """Write on the run why its attempt ends, while it is the current one."""
    failure = Failure(code=code, message=message, retryable=retryable, attempt=run.attempt)
    try:
        table.update(
            run.pk,
            run.sk,
            {"error": failure.model_dump()},
            when={"attempt": run.attempt, "status": ("pending", "running")},
        )
    except ConditionFailedError:
        return
