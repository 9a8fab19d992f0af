"""A caller, as whoever checked the token knows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

type Role = Literal["viewer", "operator", "admin"]

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""From least to most; each may what those before it may."""

EVERY_TENANT = "*"


@dataclass(frozen=True)
class Identity:
    """A caller: `tenants` are ids, or `{"*"}`; `by_cookie` when the credentials came with a cookie alone."""

    sub: str
    role: Role
    tenants: frozenset[str]
    expires_at: datetime
    by_cookie: bool = False

    def sees(self, tenant_id: str) -> bool:
        """Whether the token names this tenant."""
        return tenant_id in self.tenants or EVERY_TENANT in self.tenants

    def may(self, role: Role) -> bool:
        """Whether the caller's role is this one or more."""
        return ROLES.index(self.role) >= ROLES.index(role)
