"""Which backups of a tenant stay and which go: a rule without a clock, a table or a bucket.

A backup stays if any rule keeps it. Only verified backups count, so one that nobody could restore never takes the place
of one that somebody can. Retention has a time of its own (`retention_time`), which no jump of the clock moves far.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

MOST_DAYS, MOST_KEPT, MOST_WEEKS, MOST_MONTHS = 1000, 1000, 156, 36
"""About three years: so long the counts of runs live."""
LONGEST_STEP = timedelta(hours=36)
FASTEST = 1.5


class Retention(BaseModel):
    """How long a tenant's backups are kept."""

    model_config = ConfigDict(extra="forbid", strict=True)

    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = 30
    """Every backup stays so many days."""
    min_keep: Annotated[int, Field(ge=1, le=MOST_KEPT)] = 3
    """So many of the newest verified backups stay, however old they are."""
    daily: Annotated[int, Field(ge=0, le=MOST_DAYS)] = 0
    """Of so many days that have verified backups the newest one stays; the days are those of the tenant's time zone."""
    weekly: Annotated[int, Field(ge=0, le=MOST_WEEKS)] = 0
    monthly: Annotated[int, Field(ge=0, le=MOST_MONTHS)] = 0


@dataclass(frozen=True)
class Candidate:
    """A stored backup as retention sees it."""

    id: str
    at: datetime
    """When it was complete."""
    is_verified: bool
    is_pinned: bool = False


@dataclass(frozen=True)
class Fate:
    """What is to become of a backup, and why: one reason for each rule that keeps it, else why it goes."""

    backup: Candidate
    stays: bool
    reasons: tuple[str, ...]


def plan(backups: Iterable[Candidate], rules: Retention, timezone: str, now: datetime) -> list[Fate]:
    """The fate of each of a tenant's stored backups, newest first.

    At least `min_keep` verified ones stay, if there are so many, and the newest of all; a backup that claims to be from
    the future stays and counts for nothing.
    """
    newest_first = sorted(backups, key=lambda each: (each.at, each.id), reverse=True)
    proved = [each for each in newest_first if each.is_verified and each.at <= now]
    kept: dict[str, list[str]] = {each.id: [] for each in newest_first}
    for each in newest_first:
        if each.is_pinned:
            kept[each.id].append("pinned")
        if each.at > now - timedelta(days=rules.days):
            kept[each.id].append(f"not older than {_some(rules.days, 'day')}")
        elif not each.is_verified and len(proved) < rules.min_keep:
            kept[each.id].append(f"there are not {_some(rules.min_keep, 'verified backup')} yet")
    for each in proved[: rules.min_keep]:
        several = f"one of the {rules.min_keep:,} newest verified backups"
        kept[each.id].append(several if rules.min_keep > 1 else "the newest verified backup")
    zone = ZoneInfo(timezone)
    local = {each.id: each.at.astimezone(zone) for each in proved}
    for name, count, period in _PERIODS:
        for each in _newest_of_each(proved, getattr(rules, count), lambda backup, of=period: of(local[backup.id])):  # type: ignore[misc]
            kept[each.id].append(f"the newest of its {name}")
    return [_fate(each, kept[each.id], rules) for each in newest_first]


def retention_time(reached: datetime | None, looked_at: datetime | None, newest: datetime, now: datetime) -> datetime:
    """The moment as of which a tenant's backups are judged now; the clock alone could be wrong by years.

    `reached` was that moment when they were judged last, at the clock's `looked_at`. It moves on as the clock does, at
    most 1.5 times as fast and 36 hours at once, so that it catches up after an outage, and a clock that jumps is found
    out long before anything has gone. The first time it is near the `newest` backup.
    """
    if reached is None or looked_at is None:
        return min(now, newest + LONGEST_STEP)
    step = min(LONGEST_STEP, max(timedelta(0), now - looked_at) * FASTEST)
    return min(now, reached + step)


_PERIODS: tuple[tuple[str, str, Callable[[datetime], Hashable]], ...] = (
    ("day", "daily", lambda local: local.date()),
    ("week", "weekly", lambda local: local.isocalendar()[:2]),
    ("month", "monthly", lambda local: (local.year, local.month)),
)


def _newest_of_each(
    newest_first: list[Candidate], count: int, period: Callable[[Candidate], Hashable]
) -> Iterable[Candidate]:
    """The newest of each of the last `count` periods that have any."""
    seen = set[Hashable]()
    for each in newest_first:
        if (its := period(each)) in seen:
            continue
        if len(seen) >= count:
            return
        seen.add(its)
        yield each


def _fate(backup: Candidate, reasons: list[str], rules: Retention) -> Fate:
    if reasons:
        return Fate(backup, True, tuple(reasons))
    why = f"older than {_some(rules.days, 'day')}"
    return Fate(backup, False, (why if backup.is_verified else f"{why}, and not verified",))


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
