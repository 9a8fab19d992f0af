"""How many backups and restores are taken in a minute, per address and per tenant (docs/api.md, Limits)."""

from stowage.access.limits import MINUTE, Limit
from stowage.settings import settings

TOO_MANY = "Too many backup requests; wait a minute."


def limits_of(source_ip: str, tenant: str | None = None) -> list[Limit]:
    """What bounds the requests from an address, and for a tenant once that is known."""
    most = settings().backups_per_minute
    address = Limit("backup-address", source_ip, most, MINUTE)
    return [address, Limit("backup-tenant", tenant, most, MINUTE)] if tenant else [address]
