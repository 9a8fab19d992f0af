"""The one clock, every minute: what is due, what is stale, what has expired."""

from datetime import datetime
from typing import Any

from stowage.entry.trigger import trigger
from stowage.runs.clock import tick
from stowage.trash.due import start_purge


@trigger
def app(_event: dict[str, Any], now: datetime) -> dict[str, int]:
    """Answer what was done."""
    try:
        return tick(now)
    finally:
        start_purge(now)
