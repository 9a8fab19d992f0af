"""What follows when a run's record changes; the table's stream brings every change here, at least once."""

from datetime import datetime

from stowage.aws.executions import stop_execution
from stowage.aws.queues import give_up
from stowage.aws.table import Item
from stowage.runs.audit_notes import DEAD_NOTES
from stowage.runs.dispatch import dispatch
from stowage.runs.kinds import kind_of
from stowage.runs.record import FINAL, UNFINISHED, Run, waiting_list


def react(changes: list[tuple[Item | None, Item | None]], now: datetime) -> dict[str, int]:
    """Start waiting runs, stop cancelled ones, and give the places of ended ones to the next. Bears repeating."""
    waiting: dict[str, list[Run]] = {}
    stopped = 0
    for before, after in changes:
        if after is None:
            continue
        if after["pk"] == DEAD_NOTES:
            give_up(after)
            continue
        run = Run.model_validate(after)
        if run.status == "pending" and run.due_list == waiting_list(run.database):
            waiting.setdefault(run.database, []).append(run)
        elif run.status in FINAL and before and before.get("status") in UNFINISHED:
            waiting.setdefault(run.database, [])
        # The clock stops one that should end itself and does not.
        if run.cancel_requested and run.execution and run.status in UNFINISHED and not kind_of(run.kind).ends_itself:
            stop_execution(run.execution, "The run was cancelled.")
            stopped += 1
    launched = sum(len(dispatch(database, now, runs)) for database, runs in waiting.items())
    return {"launched": launched, "stopped": stopped}
