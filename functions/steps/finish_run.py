"""Finish: complete the run, if its manifest verifies."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.settle import settle_execution


@step
def app(given: StepInput, now: datetime) -> dict[str, str]:
    """Answer the states of the execution's runs by id."""
    return settle_execution(given.execution, given.member, now)
