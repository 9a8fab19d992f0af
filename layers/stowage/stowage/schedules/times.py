"""When a schedule's backups are due: its nominal times, and the tenant's own minute of the window behind each."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice, pairwise, takewhile
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
    turn = turn_of(tenant, window_minutes)
    return (Slot(found, found + turn) for found in _times_after(cron, timezone, nominal))


def turn_of(tenant: str, window_minutes: int) -> timedelta:
    """How long after each time of its schedule a tenant's turn comes."""
    return timedelta(minutes=crc32(tenant.encode()) % window_minutes if window_minutes else 0)


class Calendar:
    """The times of one schedule. Each is worked out once, so that ten thousand tenants can ask for theirs."""

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron, self._timezone = cron, timezone
        self._start = datetime.max.replace(tzinfo=UTC)
        self._known: list[datetime] = []

    def after(self, moment: datetime) -> datetime | None:
        """The first time behind a moment; None where the schedule comes no more."""
        if not self._known:
            self._start = moment
        if moment < self._start - _KNOWN_BACK:
            return next(_times_after(self._cron, self._timezone, moment), None)
        if moment < self._start:
            earlier = _times_after(self._cron, self._timezone, moment)
            self._known[:0] = takewhile(lambda time: time <= self._start, earlier)
            self._start = moment
        while not self._known or self._known[-1] <= moment:
            last = self._known[-1] if self._known else self._start
            found = next(_times_after(self._cron, self._timezone, last), None)
            if found is None:
                return None
            self._known.append(found)
        return self._known[bisect_right(self._known, moment)]

    def latest(self, since: datetime, now: datetime) -> datetime | None:
        """The last time behind `since` that has come; None where there was none."""
        found, following = None, self.after(since)
        while following and following <= now:
            found, following = following, self.after(following)
        return found


_KNOWN_BACK = timedelta(days=8)
"""A schedule's calendar is not written further into the past than this before the first moment that was asked for."""


@lru_cache(maxsize=10_000)
def calendar_of(cron: str, timezone: str) -> Calendar:
    """The calendar of a schedule, kept by a warm function."""
    return Calendar(cron, timezone)


def _times_after(cron: str, timezone: str, moment: datetime) -> Iterator[datetime]:
    local = moment.astimezone(ZoneInfo(timezone))
    return (time.astimezone(UTC) for time in CronSim(_in_numbers(cron), local))


@lru_cache(maxsize=10_000)
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


@lru_cache(maxsize=1000)
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
