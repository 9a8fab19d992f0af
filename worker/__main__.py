"""`python -m worker`: carry out one attempt of one run, named by STOWAGE_RUN_ID and STOWAGE_ATTEMPT, or those of all
runs that share its execution.

Exit codes: 0 for an end that no other attempt would change (the manifest is written, the run was cancelled or cannot
succeed), 75 (EX_TEMPFAIL of sysexits.h) for one that it may. What happened stands on the run in either case.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn

from stowage.basics.errors import CancelledError, ProcessStopped, StowageError
from stowage.runs.attempt import Attempt
from stowage.runs.executions import members_of
from stowage.runs.kinds import work_of, work_together_of
from stowage.runs.lane import End, Work, WorkTogether, run_attempt, run_together
from stowage.runs.progress import Reporter
from stowage.runs.record import Run
from stowage.runs.store import find_run, tenant_of
from stowage.settings import settings

DONE = 0
TRY_AGAIN = 75
_WATCHDOG_SECONDS = 5.0


class _Watchdog:
    """Ends this process when none of its runs has moved for the stale time: nobody else sees a hang from inside."""

    def __init__(self) -> None:
        self._reporters: list[Reporter] = []

    def work_of(self, kind: str) -> Work:
        """`kinds.work_of`, noting whose progress to look at."""
        work = work_of(kind)

        def watched(attempt: Attempt) -> None:
            self._begin([attempt])
            work(attempt)

        return watched

    def work_together_of(self, kind: str) -> WorkTogether:
        """The same of `kinds.work_together_of`."""
        work = work_together_of(kind)

        def watched(attempts: Sequence[Attempt], end: End) -> None:
            self._begin(attempts)
            work(attempts, end)

        return watched

    def _begin(self, attempts: Sequence[Attempt]) -> None:
        self._reporters = [attempt.reporter for attempt in attempts]
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def _watch(self) -> None:
        while True:
            time.sleep(_WATCHDOG_SECONDS)
            moved_at = max(reporter.moved_at for reporter in self._reporters)
            if time.monotonic() - moved_at > settings().stale_seconds:
                for reporter in self._reporters:
                    reporter.stalled = True
                os.kill(os.getpid(), signal.SIGTERM)
                return


def main() -> int:
    """Carry out the attempt; the process's exit code."""
    signal.signal(signal.SIGTERM, _stop)
    run_id, attempt = os.environ["STOWAGE_RUN_ID"], int(os.environ["STOWAGE_ATTEMPT"])
    about: dict[str, object] = {"run": run_id, "attempt": attempt}
    try:
        tenant = tenant_of(run_id)
        if tenant is None:
            _log("there is no such run", **about)
            return DONE
        about["tenant"] = tenant
        run = find_run(tenant, run_id)
        if run and run.is_shared and run.attempt == attempt:
            about["execution"] = run.execution
            members = members_of(str(run.execution))
            run_together(members, _Watchdog().work_together_of, lambda: datetime.now(UTC), _note)
            return DONE
        made = run_attempt(tenant, run_id, attempt, _Watchdog().work_of, lambda: datetime.now(UTC))
    except ProcessStopped:
        _log("stopped", **about)
        return TRY_AGAIN
    except CancelledError:
        _log("cancelled", **about)
        return DONE
    except StowageError as error:
        _log("failed", code=error.code, retryable=error.retryable, trace=traceback.format_exc(), **about)
        return TRY_AGAIN if error.retryable else DONE
    except Exception:
        _log("broke", trace=traceback.format_exc(), **about)
        return TRY_AGAIN
    _log("made" if made else "not ours to make", **about)
    return DONE


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """ECS stops a task by SIGTERM and waits StopTimeout: enough to abort the upload and say so on the run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise ProcessStopped


def _note(run: Run, what: str) -> None:
    _log(what, run=run.id, attempt=run.attempt, tenant=run.tenant)


def _log(message: str, **about: object) -> None:
    sys.stderr.write(json.dumps({"message": message, "at": datetime.now(UTC).isoformat(), **about}) + "\n")
    sys.stderr.flush()


def _end(code: int) -> NoReturn:
    """End this process at once. Taking the interpreter down costs a third of its start, and it holds nothing that has
    to be put away: the execution waits for this.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(main())
