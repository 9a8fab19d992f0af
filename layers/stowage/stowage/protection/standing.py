"""Where a tenant stands, by its summary and its schedule alone.

Ages come from the history of backups, never from what the clock has done: a clock that stands still is what this is to
find out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from stowage.aws.table import Item
from stowage.basics.ids import parse_rfc3339
from stowage.runs.summary import read_summaries
from stowage.schedules import deployments_schedule, schedule_in
from stowage.schedules.records import WantedSchedule
from stowage.schedules.times import calendar_of, turn_of
from stowage.settings import settings
from stowage.tenants import Tenant

type State = Literal["at_risk", "soon_due", "safe", "paused"]
STATES: tuple[State, ...] = ("at_risk", "soon_due", "safe", "paused")
"""The worst first."""
SOON = 0.8
"""From this share of the age allowed on, the next backup is soon due."""
READ_SINGLY = 40
LAST_NIGHT = timedelta(hours=24)

type Night = Literal["verified", "unverified", "failed", "missed", "open"]
NIGHT: tuple[Night, ...] = ("verified", "unverified", "failed", "missed", "open")
"""What came of a time of the schedule."""


@dataclass(frozen=True)
class Standing:
    """Where a tenant stands at a moment."""

    tenant: Tenant
    summary: Item
    state: State
    age: timedelta | None
    """Since the last verified backup that is still kept began; None without one."""
    allowed: timedelta | None
    """How old that backup may become; None without one, or without another time to come."""
    late_since: datetime | None
    """When the next verified backup should have been there, if that is past and there is none."""
    next_run: datetime | None
    night: Night | None
    """What came of the schedule's last time within a day; None where none was due."""

    @property
    def share(self) -> float:
        """How much of the age allowed is over."""
        return self.age / self.allowed if self.age and self.allowed else 0.0

    @property
    def missed_at(self) -> str | None:
        """The last time of the schedule that was missed, unless a backup that began later is verified."""
        missed: str | None = self.summary.get("missed_at")
        verified = self.summary.get("last_verified")
        return missed if missed and (verified is None or _begun(verified) < parse_rfc3339(missed)) else None


def standings(tenants: Sequence[Tenant], now: datetime) -> Iterator[Standing]:
    """Where these tenants stand. The summaries of a few are read one by one, those of many together with all others."""
    few = len(tenants) <= READ_SINGLY
    summaries = read_summaries([tenant.id for tenant in tenants] if few else None)
    by_tenant = {summary["tenant"]: summary for summary in summaries}
    deployments = deployments_schedule()
    for tenant in tenants:
        summary = by_tenant.get(tenant.id, {})
        yield standing(tenant, summary, schedule_in(summary, deployments), now)


def standing(tenant: Tenant, summary: Item, schedule: WantedSchedule | None, now: datetime) -> Standing:
    """Where a tenant stands. A verified backup may grow as old as it is when the next one should be there: at the
    tenant's turn after the schedule's next time, and a grace for the work (`BackupGraceMinutes`).
    """
    verified = summary.get("last_verified")
    began = _begun(verified) if verified else None
    age = now - began if began else None
    if schedule is None:
        return Standing(tenant, summary, "paused", age, None, None, None, None)
    calendar = calendar_of(schedule.cron, schedule.timezone)
    turn = turn_of(tenant.id, schedule.window_minutes)
    grace = timedelta(minutes=settings().backup_grace_minutes)
    first = parse_rfc3339(tenant.since) if tenant.since else now
    since = began or first
    if "schedule_at" in summary:  # times before it was set bind nobody
        since = max(since, parse_rfc3339(summary["schedule_at"]))
    following = calendar.after(since - turn)
    deadline = following + turn + grace if following else None
    is_late = deadline is not None and deadline < now
    coming = calendar.after(now - turn)
    allowed = deadline - began if deadline and began else None
    state: State = "safe"
    if is_late or age is None:
        state = "at_risk"
    elif allowed and age > SOON * allowed:
        state = "soon_due"
    last = calendar.latest(now - LAST_NIGHT - turn, now - turn)
    bound = max(first, parse_rfc3339(summary["schedule_at"])) if "schedule_at" in summary else first
    if last and last < bound:
        last = None
    return Standing(
        tenant,
        summary,
        state,
        age,
        allowed,
        deadline if is_late else None,
        coming + turn if coming else None,
        _night(summary, last + turn, now, grace) if last else None,
    )


def _night(summary: Item, due: datetime, now: datetime, grace: timedelta) -> Night:
    outcomes: tuple[tuple[Night, str], ...] = (
        ("verified", "last_verified"), ("unverified", "last_success"), ("failed", "last_failure"),
    )  # fmt: skip
    for night, name in outcomes:
        if name in summary and _begun(summary[name]) >= due:
            return night
    return "missed" if now > due + grace else "open"


def _begun(backup: Item) -> datetime:
    return parse_rfc3339(backup.get("as_of") or backup["at"])
