"""Plan: claim the attempt, estimate it, choose its lane."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.kinds import estimator_of
from stowage.runs.plan import plan_attempt


@step
def app(given: StepInput, now: datetime) -> dict[str, str]:
    """Answer `{"lane": inline, worker or wait}`."""
    lane = plan_attempt(given.tenant, given.run_id, given.attempt, given.execution, estimator_of, now)
    return {"lane": lane}
