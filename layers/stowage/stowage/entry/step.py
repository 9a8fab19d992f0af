"""A step of the state machine: ids in, a small answer out."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from stowage.basics.telemetry import logger
from stowage.runs.executions import Member


class StepInput(BaseModel):
    """The input of every state: a run and its attempt. `failure` is the error that the state machine caught."""

    tenant: str
    run_id: str
    attempt: int
    execution: str
    failure: dict[str, str] | None = None

    @property
    def member(self) -> Member:
        """The attempt."""
        return Member(self.tenant, self.run_id, self.attempt)


type Step = Callable[[StepInput, datetime], dict[str, Any] | None]


def step(work: Step) -> Callable[[dict[str, Any], object], dict[str, Any] | None]:
    """Make a step's function a Lambda handler."""

    def app(event: dict[str, Any], _context: object) -> dict[str, Any] | None:
        given = StepInput.model_validate(event)
        with logger.append_context_keys(tenant=given.tenant, run=given.run_id, attempt=given.attempt):
            answer = work(given, datetime.now(UTC))
            logger.info("step done", step=work.__name__, answer=answer)
            return answer

    return app
