"""Fail: clean up after an attempt; another one later, or the run's end."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.settle import Ending, settle_execution


@step
def app(given: StepInput, now: datetime) -> dict[str, str | None]:
    """Answer the run's state after its attempt: it may turn out complete, when only the lane's end was lost."""
    failure = given.failure or {}
    ending = Ending(failure.get("Error", ""), failure.get("Cause", ""))
    run = settle_execution(given.tenant, given.run_id, given.attempt, given.execution, now, ending)
    return {"status": run.status if run else None}
