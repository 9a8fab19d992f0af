"""What clients see of API keys, and what they ask for (docs/api.md, API keys)."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

from stowage.access.identity import Role
from stowage.basics.complaints import NO_NUL
from stowage.basics.moments import read_moment

LONGEST_NAME = 100


def _is_named(name: str) -> str:
    if not name.strip() or any(ord(character) < 32 for character in name):
        raise ValueError("a name has letters, and no control characters")
    return name


def _end(given: object) -> datetime:
    try:
        return datetime.fromisoformat(read_moment(given)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2027-01-31T09:00:00Z") from None


class WantedApiKey(BaseModel):
    """A key to be made: what it is for, and what it may do in its tenant."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME, pattern=NO_NUL), AfterValidator(_is_named)]
    role: Role
    expiresAt: Annotated[datetime, BeforeValidator(_end)] | None = None
    """None: until it is revoked."""


class ApiKeyEntry(BaseModel):
    """A key as lists show it; `prefix` is how the key begins."""

    id: str
    name: str
    role: Role
    prefix: str
    createdAt: str
    createdBy: str
    expiresAt: str | None
    lastUsedAt: str | None
    """To the hour."""


class MadeApiKey(BaseModel):
    """A key that has just been made, with the key itself, which nobody can read again."""

    id: str
    name: str
    role: Role
    prefix: str
    key: str
    expiresAt: str | None
    createdAt: str


class ApiKeyList(BaseModel):
    """The envelope of the v1 routes."""

    success: bool
    data: list[ApiKeyEntry]


def entry(item: dict[str, Any]) -> ApiKeyEntry:
    """A key's item as lists show it."""
    return ApiKeyEntry(
        id=item["id"],
        name=item["name"],
        role=item["role"],
        prefix=item["prefix"],
        createdAt=item["created_at"],
        createdBy=item["created_by"],
        expiresAt=item.get("expires_at"),
        lastUsedAt=item.get("last_used_at"),
    )
