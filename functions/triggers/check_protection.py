"""Hourly, by a schedule of its own: see whether each tenant has its verified backup in time."""

import sys
from datetime import datetime
from typing import Any

from stowage.entry.trigger import trigger
from stowage.protection.checking import check_protection, metrics


@trigger
def app(_event: dict[str, Any], now: datetime) -> dict[str, int]:
    """Answer how many tenants there are, how many are late, and how many of these are so for the first time."""
    found = check_protection(now)
    sys.stdout.write(metrics(found, now) + "\n")
    return found
