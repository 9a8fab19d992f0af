"""What follows when a run's record changes. The table's stream brings every change here, at least once.

Nothing is done here but to send messages: the next changes wait until these are through.
"""

from datetime import datetime

from stowage.aws.queues import stop, wake
from stowage.aws.table import Image
from stowage.runs.kinds import kind_of
from stowage.runs.queue import RunKey
from stowage.runs.record import FINAL, UNFINISHED, Run, waiting_list


def react(changes: list[Image], _now: datetime) -> int:
    """Ask for waiting runs to be started, for cancelled ones to be stopped, and for the places of ended ones to be
    given to the next; returns how many messages that took. A record that cannot be read is raised once the others
    are done.
    """
    waiting: dict[str, list[RunKey]] = {}
    cancelled: list[str] = []
    failures: list[Exception] = []
    for before, after in changes:
        if after is None:
            continue
        try:
            run = Run.model_validate(after)
        except ValueError as error:
            failures.append(error)
            continue
        if run.status == "pending" and run.due_list == waiting_list(run.pool):
            waiting.setdefault(run.pool, []).append((run.tenant, run.id))
        elif run.status in FINAL and before and before.get("status") in UNFINISHED:
            waiting.setdefault(run.pool, [])
        # The clock stops one that should end itself and does not.
        if run.cancel_requested and run.execution and run.status in UNFINISHED and not kind_of(run.kind).ends_itself:
            cancelled.append(run.execution)
    for pool, written in waiting.items():
        wake(pool, written)
    for execution in cancelled:
        stop(execution)
    if failures:
        raise ExceptionGroup("Not every changed run can be read.", failures)
    return len(waiting) + len(cancelled)
