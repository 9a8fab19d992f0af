"""Hourly: compare the declarations with every tenant's tables."""

from datetime import datetime
from typing import Any

from stowage.attention.comparing import check_declarations
from stowage.entry.trigger import trigger


@trigger
def app(_event: dict[str, Any], now: datetime) -> dict[str, int]:
    """Answer how many tenants there are, and how many errors and warnings were found."""
    return check_declarations(now)
