"""Tenants as functions without SQL know them: from the registry's copy in the table (`postgres/schema/registry.py`)."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.errors import NotFoundError
from stowage.basics.ids import rfc3339
from stowage.basics.schemas import Schema

COPY = "TENANTS"
"""The partition of the registry's copy, an item for each tenant."""
NEW_TENANTS = "NEW_TENANTS"
"""The due list of copied tenants that were not given a schedule yet (`stowage.schedules`)."""
REGISTRY_NOTE = ("NOTE#registry", "COPY")
"""The item that asks for the registry to be copied."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_READ = ("sk", "slug", "name", "database", "trash_days", "schema", "since")
_REMEMBER = timedelta(seconds=60)
_known: dict[str, tuple[datetime, "Tenant"]] = {}


@dataclass(frozen=True)
class Tenant:
    """One customer: a row of `control_plane.projects` and a Postgres schema."""

    id: str
    slug: str
    name: str
    database: str = "main"
    trash_days: int | None = None
    """How long its trash keeps what is deleted, where it has a rule of its own."""
    schema: str = ""
    """The schema that holds its tables, in fact a `Schema`; `schema_of` its slug unless given."""
    since: str | None = None
    """When the registry's copy got it; None where a version before 0.2 has copied it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", Schema(self.schema or schema_of(self.slug), self.id))


def schema_of(slug: str) -> str:
    """The schema of a tenant of which the registry does not say another."""
    return f"tenant_{slug}"


def find_tenant(tenant_id: str, now: datetime) -> Tenant:
    """The tenant of that id; NotFoundError. A warm function remembers one for a minute.

    An unknown one asks for a new copy of the registry, at most once a minute.
    """
    if not _ID.fullmatch(tenant_id):
        raise NotFoundError("There is no such tenant.", "tenant_not_found")
    remembered = _known.get(tenant_id)
    if remembered and now - remembered[0] < _REMEMBER:
        return remembered[1]
    item = table.get(COPY, tenant_id)
    if item is None:
        _ask_for_copy(now)
        raise NotFoundError("There is no such tenant.", "tenant_not_found")
    tenant = _tenant(item)
    _known[tenant_id] = (now, tenant)
    return tenant


def list_tenants() -> list[Tenant]:
    """Every tenant, by id."""
    return [_tenant(item) for item in table.query(COPY, only=_READ)]


def _tenant(item: dict[str, object]) -> Tenant:
    days = item.get("trash_days")
    return Tenant(
        str(item["sk"]),
        str(item["slug"]),
        str(item["name"]),
        str(item["database"]),
        int(str(days)) if days is not None else None,
        str(item.get("schema") or ""),
        str(item["since"]) if "since" in item else None,
    )


def _ask_for_copy(now: datetime) -> None:
    minute_ago = rfc3339(now - timedelta(minutes=1))
    try:
        table.update(*REGISTRY_NOTE, {"asked_at": rfc3339(now)}, when={"asked_at": Below(minute_ago)})
    except ConditionFailedError:
        return
