"""How many backup and restore requests are taken in a minute, per address and per tenant (CONTRACT §0, Rate limits)."""

from collections.abc import MutableMapping
from datetime import datetime

from stowage.limits import MINUTE, Limit, count_call
from stowage.settings import settings


def count_request(tenant: str, source_ip: str, now: datetime, answer_headers: MutableMapping[str, str]) -> None:
    """Count a request; RateLimitedError when the minute has no more room."""
    most = settings().backups_per_minute
    limits = [Limit("backup-address", source_ip, most, MINUTE), Limit("backup-tenant", tenant, most, MINUTE)]
    count_call(limits, now, answer_headers, "Too many backup requests; wait a minute.")
