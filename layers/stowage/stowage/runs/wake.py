"""What the wake queue's messages ask for; see `stowage.aws.queues`."""

from datetime import datetime
from typing import Any

from stowage.aws.executions import stop_execution
from stowage.runs.dispatch import dispatch


def carry_out(message: dict[str, Any], now: datetime) -> None:
    """Start what may start of a pool, or stop the execution of a cancelled run."""
    if "stop" in message:
        stop_execution(message["stop"], "The run was cancelled.")
    else:
        dispatch(message["database"], now, [(tenant, run_id) for tenant, run_id in message.get("written", ())])
