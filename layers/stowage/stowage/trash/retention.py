"""How long the trash keeps what is deleted: fixed when it is deleted, told in whole days. How long the journal does."""

from datetime import UTC, datetime, timedelta

from stowage.settings import settings
from stowage.tenants import Tenant

_DAY = timedelta(days=1)


def purge_time(tenant: Tenant, now: datetime) -> datetime:
    """When what the tenant deletes now goes for good: after its own setting's days, or the deployment's TrashDays."""
    return now.astimezone(UTC) + timedelta(days=_trash_days(tenant))


def forget_time(tenant: Tenant, now: datetime) -> datetime | None:
    """What is older goes from the tenant's journal: after AuditDays, and not before the trash has let go of what was
    deleted then, so that this can be undone. None: nothing does.
    """
    days = settings().audit_days
    return now - timedelta(days=max(days, _trash_days(tenant))) if days else None


def _trash_days(tenant: Tenant) -> int:
    return tenant.trash_days or settings().trash_days


def days_until(purge_at: datetime, now: datetime) -> int:
    """Days of 24 hours, rounded up, never below 0; whatever the zones of the two times."""
    # Between two times of one zone Python goes by the clock on the wall, an hour off when summer time begins or ends.
    return max(0, -((now.astimezone(UTC) - purge_at.astimezone(UTC)) // _DAY))
