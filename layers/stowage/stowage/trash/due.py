"""When the purge is due, as the clock knows it; the purge says so itself as it ends."""

from datetime import datetime, timedelta

HOUR = 3
"""Of the day in UTC, when the purge is due."""
PATIENCE = timedelta(minutes=10)
"""After so long a purge that failed is tried again."""
PURGE_ITEM = ("CLOCK", "PURGE")


def next_purge(now: datetime) -> datetime:
    """The next nominal time after now."""
    today = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)
