"""When a schedule's backups are due: its nominal times, and the tenant's own minute of the window behind each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from zlib import crc32
from zoneinfo import ZoneInfo

import tzdata
from cronsim import CronSim, CronSimError

FIELDS, HOURS = 5, 24
LEAST_BETWEEN = timedelta(hours=1)
LOOKED_AT = 100
"""So many times of a schedule are looked at to see how often it comes."""


@dataclass(frozen=True)
class Slot:
    """A time that the schedule names, and when this tenant's turn comes. Both in UTC."""

    nominal: datetime
    due: datetime


def slots_after(cron: str, timezone: str, window_minutes: int, tenant: str, nominal: datetime) -> Iterator[Slot]:
    """The slots whose nominal times lie after this one, in their order; none where the schedule comes no more.

    A time that the clocks skip in spring comes at the end of the gap; one that they show twice in autumn comes once.
    The tenants of one schedule are spread over its window, each at the same minute of it every time.
    """
    offset = timedelta(minutes=crc32(tenant.encode()) % window_minutes if window_minutes else 0)
    for time in CronSim(_in_numbers(cron), nominal.astimezone(ZoneInfo(timezone))):
        found = time.astimezone(UTC)
        yield Slot(found, found + offset)


def _in_numbers(cron: str) -> str:
    """The same schedule with its minutes and hours as numbers, unless it comes every hour: only where neither begins
    with a star does cron mean the clock's time, and otherwise the time that passes.
    """
    parsed = CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    if len(parsed.hours) == HOURS:
        return cron
    return " ".join([_listed(parsed.minutes), _listed(parsed.hours), *cron.split()[2:]])


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def check_cron(cron: str) -> str:
    """The same text; ValueError where it is none, names a day that never comes, or comes more than once an hour."""
    if len(cron.split()) != FIELDS:
        raise ValueError("five fields: minute, hour, day of month, month, day of week, such as 30 2 * * *")
    try:
        times = list(islice(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)), LOOKED_AT))
    except CronSimError as error:
        raise ValueError(f"not a schedule: {str(error).lower()}") from error
    if not times:
        raise ValueError("a schedule that never comes")
    if any(later - time < LEAST_BETWEEN for time, later in pairwise(times)):
        raise ValueError("at most once an hour")
    return cron


def check_timezone(name: str) -> str:
    """The same name; ValueError where it is not one of the IANA time zone database."""
    if name not in _timezones():
        raise ValueError("not a time zone's name, such as UTC or Europe/Berlin")
    return name


@cache
def _timezones() -> frozenset[str]:
    return frozenset(Path(tzdata.__file__).with_name("zones").read_text().split())
