"""EventBridge: settle a run whose execution was stopped, timed out or broke."""

import json
from datetime import datetime
from typing import Any

from stowage.entry.trigger import trigger
from stowage.runs.settle import Ending, settle_execution


@trigger
def app(event: dict[str, Any], now: datetime) -> str | None:
    """Answer the run's state; most often its own last step has settled it before."""
    detail = event["detail"]
    given = json.loads(detail["input"])
    ending = Ending(detail["status"], detail.get("cause") or "")
    run = settle_execution(given["tenant"], given["run_id"], given["attempt"], detail["name"], now, ending)
    return run.status if run else None
