"""Finish: complete the run, if its manifest verifies."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.settle import settle_execution


@step
def app(given: StepInput, now: datetime) -> dict[str, str | None]:
    """Answer the run's state after its attempt."""
    run = settle_execution(given.tenant, given.run_id, given.attempt, given.execution, now)
    return {"status": run.status if run else None}
