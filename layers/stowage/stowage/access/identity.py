"""The caller of a request: who it is, which tenants it may see, and its role."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from inspect import signature
from typing import Literal

from stowage.basics.errors import ForbiddenError

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


def refuse_below(held: Role, wanted: Role) -> None:
    """Raise ForbiddenError if the caller's role is lower than the wanted one."""
    if ROLES.index(held) < ROLES.index(wanted):
        raise ForbiddenError(f"This needs the role {wanted}; yours is {held}.", "role_too_low")


def for_role[**P, R](role: Role) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a use case: callers below this role get ForbiddenError.

    The caller's role is that of the use case's parameter `edit` or `identity`, so the rule holds
    whatever calls it.
    """

    def decorate(use_case: Callable[P, R]) -> Callable[P, R]:
        names = list(signature(use_case).parameters)
        name = next(name for name in names if name in ("edit", "identity"))
        place = names.index(name)

        @wraps(use_case)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            asking = args[place] if place < len(args) else kwargs[name]
            refuse_below(asking.role, role)  # type: ignore[attr-defined]
            return use_case(*args, **kwargs)

        guarded.__dict__["role"] = role
        return guarded

    return decorate
