"""The one clock, every minute: what is due, what is stale, what has expired."""

from datetime import datetime
from typing import Any

from stowage.clock import tick
from stowage.entry.trigger import trigger


@trigger
def app(_event: dict[str, Any], now: datetime) -> dict[str, int]:
    """Answer what was done."""
    return tick(now)
