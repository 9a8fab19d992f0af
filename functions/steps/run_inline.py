"""Inline lane: make a small export, or import a small file, inside this function."""

from datetime import UTC, datetime

from stowage.entry.step import StepInput, step
from stowage.runs.kinds import work_of
from stowage.runs.lane import run_attempt


@step
def app(given: StepInput, _now: datetime) -> None:
    """Write the artifact and its manifest; what went wrong is on the run when this raises."""
    run_attempt(given.tenant, given.run_id, given.attempt, work_of, lambda: datetime.now(UTC))
