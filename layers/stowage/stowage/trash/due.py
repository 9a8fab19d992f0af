"""When the purge is due, as the clock knows it: it calls the function that speaks SQL, and speaks none itself."""

from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.functions import invoke_later
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.ids import rfc3339
from stowage.settings import settings

HOUR = 3
"""Of the day in UTC, when the purge is due."""
PATIENCE = timedelta(minutes=10)
"""What was called and has not said how it ended after so long is called again."""
PURGE_ITEM = ("CLOCK", "PURGE")


def start_purge(now: datetime) -> bool:
    """Call the purge if it is due; whether it was."""
    try:
        table.update(*PURGE_ITEM, {"due_at": rfc3339(now + PATIENCE)}, when={"due_at": Below(rfc3339(now))})
    except ConditionFailedError:
        return False
    invoke_later(settings().purge_function)
    return True


def next_purge(now: datetime) -> datetime:
    """The next nominal time after now."""
    today = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)
