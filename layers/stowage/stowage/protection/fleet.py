"""Many tenants at once: the list of their protection, and the statistics of their backups. No history is read."""

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from stowage.aws.table import Item
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.basics.paging import paginate
from stowage.protection.records import (
    BackupStats,
    DestinationHealth,
    FailedBackup,
    LastBackup,
    LastNight,
    LastVerified,
    Order,
    ProtectionPage,
    StateCounts,
    TenantProtection,
    VerifiedBackup,
)
from stowage.protection.standing import NIGHT, STATES, Standing, State, standings
from stowage.runs.counters import counts_of_history
from stowage.runs.keeping import policy
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.record import FINAL
from stowage.tenants import Tenant

EXPIRES_SOON = timedelta(days=7)
STORAGE_GB_MONTH, GIGABYTE = 0.023, 1 << 30
"""S3 Standard on demand in us-east-1, in USD: https://aws.amazon.com/s3/pricing/"""
_NEVER = timedelta.max


def list_protection(
    tenants: list[Tenant],
    now: datetime,
    *,
    states: Collection[State],
    q: str | None,
    order: Order,
    page: int,
    limit: int,
) -> ProtectionPage:
    """A page of these tenants that are in one of the states and have `q` in their id, slug or name, in any case."""
    wanted = (q or "").casefold()
    named = [each for each in tenants if any(wanted in text.casefold() for text in (each.id, each.slug, each.name))]
    found = list(standings(named, now))
    shown = [each for each in found if each.state in states]
    # Two passes, both stable: in each order tenants that are alike come by name.
    shown.sort(key=lambda each: (each.tenant.name.casefold(), each.tenant.id))
    shown.sort(key=_KEYS[order.removeprefix("-")], reverse=order.startswith("-"))
    first = (page - 1) * limit
    return ProtectionPage(
        data=[told(each) for each in shown[first : first + limit]],
        pagination=paginate(page, limit, len(shown)),
        states=_count_states(found),
    )


_KEYS: dict[str, Callable[[Standing], Any]] = {
    "state": lambda each: (STATES.index(each.state), -each.share),
    "name": lambda each: each.tenant.name.casefold(),
    "age": lambda each: _NEVER if each.age is None else each.age,
    "next_run": lambda each: rfc3339(each.next_run) if each.next_run else "~",
    "size": lambda each: int(_sizes(each)[-1]) if _sizes(each) else 0,
}


def read_stats(tenants: list[Tenant], ids: list[str] | None, now: datetime) -> BackupStats:
    """What became of the backups of these tenants, by the counts, and how well they are protected.

    `ids` are those whose backups are counted, None all. What has expired counts as completed until the clock has taken
    its file away.
    """
    counts = list(counts_of_history(ids, EXPORT_BACKUP.history, now))
    by = {name: sum(each.count(name) for each in counts) for name in (*FINAL, "expired", "unfinished", "bytes")}
    last_day = rfc3339(now + EXPIRES_SOON - timedelta(days=policy().backup_days))[:10]
    found = list(standings(tenants, now))
    success, verified = (_newest(found, name) for name in ("last_success", "last_verified"))
    nights = Counter(each.night for each in found if each.night)
    return BackupStats(
        total=sum(by.values()) - by["bytes"],
        **by,
        last_success=LastBackup(id=success["id"], completed_at=success["at"], size_bytes=success["bytes"])
        if success
        else None,
        last_verified=LastVerified(
            id=verified["id"],
            completed_at=verified["at"],
            verified_at=verified["verified_at"],
            age_seconds=int((now - parse_rfc3339(verified["at"])).total_seconds()),
        )
        if verified
        else None,
        next_run_at=min((rfc3339(each.next_run) for each in found if each.next_run), default=None),
        expiring_soon=sum(each.count("completed") for each in counts if each.day <= last_day),
        cost_usd_month=round(by["bytes"] / GIGABYTE * STORAGE_GB_MONTH, 6),
        tenants=_count_states(found),
        last_night=LastNight(due=nights.total(), **{night: nights[night] for night in NIGHT}),
    )


def _newest(found: list[Standing], name: str) -> Item | None:
    summaries = (each.summary for each in found if name in each.summary)
    return max((summary[name] for summary in summaries), key=lambda last: str(last["at"]), default=None)


def _count_states(found: list[Standing]) -> StateCounts:
    counts = Counter(each.state for each in found)
    return StateCounts(**{state: counts[state] for state in STATES})


def _sizes(standing: Standing) -> list[str]:
    return str(standing.summary.get("sizes", "")).split()


def told(standing: Standing) -> TenantProtection:
    """What clients see of where a tenant stands."""
    summary, verified, age = standing.summary, standing.summary.get("last_verified"), standing.age
    success, failure = summary.get("last_success"), summary.get("last_failure")
    return TenantProtection(
        project_id=standing.tenant.id,
        slug=standing.tenant.slug,
        name=standing.tenant.name,
        state=standing.state,
        last_verified=VerifiedBackup(
            id=verified["id"],
            completed_at=verified["at"],
            verified_at=verified["verified_at"],
            age_seconds=int(age.total_seconds()),
        )
        if verified and age is not None
        else None,
        age_allowed_seconds=int(standing.allowed.total_seconds()) if standing.allowed else None,
        next_run_at=rfc3339(standing.next_run) if standing.next_run else None,
        sizes=[int(size) for size in _sizes(standing)],
        missed_at=standing.missed_at,
        late_since=rfc3339(standing.late_since) if standing.late_since else None,
        last_failure=FailedBackup(
            id=failure["id"], at=failure["at"], code=failure["code"], in_a_row=summary["failures"]
        )
        if failure
        else None,
        destinations=[
            DestinationHealth(
                type="s3",
                name="primary",
                status="failing" if failure else "stored" if success else "none",
                last_stored_at=success["at"] if success else None,
            )
        ],
    )
