"""The table's stream: start, stop and follow runs as their records change."""

from datetime import datetime

from stowage.entry.trigger import Images, table_trigger
from stowage.runs.react import react


@table_trigger
def app(changes: list[Images], now: datetime) -> dict[str, int]:
    """Answer what was done."""
    return react(changes, now)
