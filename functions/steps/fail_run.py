"""Fail: clean up after an attempt; another one later, or the run's end."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.settle import Ending, settle_execution


@step
def app(given: StepInput, now: datetime) -> dict[str, str]:
    """Answer the states of the execution's runs by id: one may turn out complete, when only the lane's end was lost."""
    failure = given.failure or {}
    ending = Ending(failure.get("Error", ""), failure.get("Cause", ""))
    return settle_execution(given.execution, given.member, now, ending)
