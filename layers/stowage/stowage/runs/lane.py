"""A lane, a function or the worker, claims an attempt, does the work of its kind, and says on the run why it failed."""

from collections.abc import Callable

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.errors import CancelledError, ProcessStopped, StowageError
from stowage.runs.attempt import Attempt, Clock
from stowage.runs.progress import FencedError, Reporter
from stowage.runs.record import Failure, Run
from stowage.runs.store import read_progress
from stowage.settings import settings

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
    reporter = Reporter(run, read_progress(run.id) or {"sequence": 0, "percent": 0})
    try:
        reporter.report("starting", "Connecting.")
        work_of(run.kind)(Attempt(run, reporter, clock))
    except FencedError:
        return False
    except CancelledError:
        raise
    except StowageError as error:
        record_failure(run, error.code, error.message, retryable=error.retryable)
        raise
    except ProcessStopped:
        if reporter.stalled:
            message = f"Nothing had moved for {settings().stale_seconds} seconds."
            record_failure(run, "no_progress", message, retryable=True)
        else:
            record_failure(run, "worker_stopped", "The worker was stopped.", retryable=True)
        raise
    except Exception:
        record_failure(run, "internal_error", "Something broke; it was logged.", retryable=True)
        raise
    return True


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
