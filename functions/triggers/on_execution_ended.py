"""EventBridge: settle the runs whose execution was stopped, timed out or broke."""

import json
from datetime import datetime
from typing import Any

from stowage.entry.trigger import trigger
from stowage.runs.executions import Member
from stowage.runs.settle import Ending, settle_execution


@trigger
def app(event: dict[str, Any], now: datetime) -> dict[str, str]:
    """Answer the states of its runs by id; most often its own last step has settled them before."""
    detail = event["detail"]
    ending = Ending(detail["status"], detail.get("cause") or "")
    return settle_execution(detail["name"], Member(**json.loads(detail["input"])), now, ending)
