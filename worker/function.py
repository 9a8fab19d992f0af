"""The worker's image as a function: a small run in seconds, where a task takes a minute to start.

Its runtime is awslambdaric, which the image holds; the template names `worker.function.app`.
"""

from datetime import UTC, datetime
from typing import Any

from stowage.runs.kinds import work_of
from stowage.runs.lane import run_attempt


def app(given: dict[str, Any], _context: object) -> None:
    """Carry out the attempt of `tenant`, `run_id` and `attempt`; what went wrong is on the run when this raises."""
    run_attempt(given["tenant"], given["run_id"], given["attempt"], work_of, lambda: datetime.now(UTC))
