"""How long the trash keeps what is deleted: fixed when it is deleted, told in whole days."""

from datetime import datetime, timedelta

from stowage.settings import settings
from stowage.tenants import Tenant

_DAY = timedelta(days=1)


def purge_time(tenant: Tenant, now: datetime) -> datetime:
    """When what the tenant deletes now goes for good: after its own setting's days, or the deployment's TrashDays."""
    return now + timedelta(days=tenant.trash_days or settings().trash_days)


def days_until(purge_at: datetime, now: datetime) -> int:
    """Days of 24 hours, rounded up, never below 0; whatever the zones of the two times."""
    return max(0, -((now - purge_at) // _DAY))
