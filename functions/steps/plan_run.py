"""Plan: claim the attempts, estimate them, choose their lane."""

from datetime import datetime

from stowage.entry.step import StepInput, step
from stowage.runs.executions import members_of
from stowage.runs.kinds import estimator_of, estimator_together_of
from stowage.runs.plan import plan_attempt, plan_together


@step
def app(given: StepInput, now: datetime) -> dict[str, str]:
    """Answer `{"lane": inline, worker or wait}`."""
    members = members_of(given.execution)
    if len(members) > 1:
        return {"lane": plan_together(members, given.execution, estimator_together_of, now)}
    return {"lane": plan_attempt(given.tenant, given.run_id, given.attempt, given.execution, estimator_of, now)}
