"""Daily, called by the clock: delete for good what is past its time in the trash and in the journal."""

from datetime import datetime
from typing import Any

from stowage.entry.trigger import trigger
from stowage.trash.purging import purge_trash


@trigger
def app(_event: dict[str, Any], now: datetime) -> dict[str, int]:
    """Answer how many records and entries of the journal went, and whether that was all."""
    return purge_trash(now)
