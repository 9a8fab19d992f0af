"""What follows when a run's record changes. The table's stream brings every change here, at least once.

Nothing is done here but to send messages: the next changes wait until these are through.
"""

from datetime import datetime

from pydantic import ValidationError

from stowage.aws.queues import give_up, stop, wake
from stowage.aws.table import Image
from stowage.runs.dispatch import may_share
from stowage.runs.kinds import kind_of
from stowage.runs.queue import RunKey
from stowage.runs.record import FINAL, UNFINISHED, Run, waiting_list


def react(changes: list[Image], _now: datetime) -> int:
    """Ask for waiting runs to be started, for cancelled ones to be stopped, and for the places of ended ones to be
    given to the next; returns how many messages that took. The dead-letter queue is told at once of a record that
    cannot be read: no repetition would help, and the next changes would wait for it.
    """
    waiting: dict[str, list[RunKey]] = {}
    cancelled: list[str] = []
    for before, after in changes:
        if after is None:
            continue
        try:
            run = Run.model_validate(after)
        except ValidationError as error:
            give_up(after | {"tenant": after.get("tenant"), "error": _unreadable(error)})
            continue
        if may_share(run) and run.tries == 0 and run.status == "pending":
            continue  # the clock starts it together with those that it has made in the same minute
        if run.status == "pending" and run.due_list == waiting_list(run.pool):
            waiting.setdefault(run.pool, []).append((run.tenant, run.id))
        elif run.status in FINAL and before and before.get("status") in UNFINISHED:
            waiting.setdefault(run.pool, [])
        if run.cancel_requested and run.execution and run.status in UNFINISHED and not _stops_by_itself(run):
            cancelled.append(run.execution)
    for pool, written in waiting.items():
        wake(pool, written)
    for execution in cancelled:
        stop(execution)
    return len(waiting) + len(cancelled)


def _stops_by_itself(run: Run) -> bool:
    """Whether its execution goes on: it ends the run itself (the clock stops one that does not) or is others' too."""
    return kind_of(run.kind).ends_itself or run.is_shared


def _unreadable(error: ValidationError) -> str:
    """Which fields of a record cannot be read, without what they hold."""
    fields = {".".join(map(str, wrong["loc"])) or "the record" for wrong in error.errors(include_input=False)}
    return f"This version cannot read {', '.join(sorted(fields))} of the run."
