"""The schemas that are dumped along with a tenant's own, because partitions or children of its tables lie there."""

import re

from stowage.aws import table
from stowage.delivery.wishes import SETTINGS_ITEM

MOST_INCLUDED = 20
_LONGEST_NAME = 63
_NEVER = re.compile(r"(?:tenant_|stowage_|pg_).*|stowage|control_plane|information_schema|public", re.DOTALL)


def check_included(name: str) -> str:
    """The same name; ValueError where no backup may ever take that schema along: a tenant's, ours, Postgres's own."""
    if not name or len(name.encode()) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a schema's name has 1 to {_LONGEST_NAME} bytes, none of them a control character")
    if _NEVER.fullmatch(name):
        raise ValueError("the schemas of tenants, of Stowage and of Postgres itself are never dumped along")
    return name


def must_differ(names: list[str]) -> list[str]:
    """The same names; ValueError where one comes twice."""
    if len(set(names)) < len(names):
        raise ValueError("each schema is named once")
    return names


def included_schemas(tenant: str) -> tuple[str, ...]:
    """What the tenant's settings say now: a backup that is tried again knows what has been set meanwhile."""
    item = table.get(f"T#{tenant}", SETTINGS_ITEM) or {}
    return tuple(item.get("settings", {}).get("include_schemas", ()))
