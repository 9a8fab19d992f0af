"""What clients see of the protection of tenants (docs/api.md)."""

import hashlib
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from stowage.basics.paging import Pagination
from stowage.protection.standing import STATES, State

type Order = Literal["state", "-state", "name", "-name", "age", "-age", "next_run", "-next_run", "size", "-size"]


def _states(given: str) -> str:
    if not set(given.split(",")) <= set(STATES):
        raise ValueError(f"{', '.join(STATES[:-1])} or {STATES[-1]}, several of them by commas")
    return given


StateList = Annotated[str, AfterValidator(_states)]
"""One state or several."""


class VerifiedBackup(BaseModel):
    """The newest verified backup that is still kept; `age_seconds` are since it began."""

    id: str
    completed_at: str
    verified_at: str
    age_seconds: int


class FailedBackup(BaseModel):
    """The last backup, where it failed; `in_a_row` counts those that failed since the last that succeeded."""

    id: str
    at: str
    code: str
    in_a_row: int


class DestinationHealth(BaseModel):
    """Whether backups arrive at a place: `stored` the last one, `failing`, or `none` yet."""

    type: Literal["s3"]
    name: str
    status: Literal["stored", "failing", "none"]
    last_stored_at: str | None


class TenantProtection(BaseModel):
    """How well one tenant is protected. `sizes` are the bytes of its last 14 backups, oldest first; `missed_at` is the
    last time of its schedule that was missed, until a later backup is verified.
    """

    project_id: str
    slug: str
    name: str
    state: State
    last_verified: VerifiedBackup | None
    age_allowed_seconds: int | None
    """How old the last verified backup may become; null without one, or while backups are paused."""
    next_run_at: str | None
    sizes: list[int]
    missed_at: str | None
    late_since: str | None
    """When a verified backup should have been there; null where one is in time."""
    last_failure: FailedBackup | None
    destinations: list[DestinationHealth]


class StateCounts(BaseModel):
    """How many tenants are in each state."""

    safe: int
    soon_due: int
    at_risk: int
    paused: int


class ProtectionPage(BaseModel):
    """A page of tenants; `states` counts all that `q` finds, whatever their state."""

    data: list[TenantProtection]
    pagination: Pagination
    states: StateCounts


class LastNight(BaseModel):
    """What came of the last times of the schedules within 24 hours, one for each tenant that had one.

    `verified` backups were proved, `unverified` ones are stored, `open` are under way or waited for, `missed` are those
    of which nothing came within the grace.
    """

    due: int
    verified: int
    unverified: int
    failed: int
    missed: int
    open: int


class LastBackup(BaseModel):
    """The last backup that succeeded, kept or not."""

    id: str
    completed_at: str
    size_bytes: int


class LastVerified(BaseModel):
    """The newest verified backup that is still kept; `age_seconds` are since it was complete."""

    id: str
    completed_at: str
    verified_at: str
    age_seconds: int


class BackupStats(BaseModel):
    """The backups of a list, counted by outcome, and what is stored of them.

    `completed` and `bytes` count the backups that are still kept. `expiring_soon` counts those of them that may expire
    within seven days, by the day on which they were requested. `cost_usd_month` is the price of the bytes in S3. For
    several tenants, `last_success` and `last_verified` are the newest of all, and `next_run_at` is the first.
    """

    total: int
    completed: int
    expired: int
    failed: int
    cancelled: int
    unfinished: int
    bytes: int
    last_success: LastBackup | None
    last_verified: LastVerified | None
    next_run_at: str | None
    expiring_soon: int
    cost_usd_month: float
    tenants: StateCounts
    last_night: LastNight


def tag_of(answer: BaseModel) -> str:
    """The entity tag of an answer, weak because ages change all the time (RFC 9110 §8.8.3)."""
    ages = {"last_verified": {"age_seconds"}}
    excluded = {"data": {"__all__": ages}} if isinstance(answer, ProtectionPage) else ages
    told = answer.model_dump_json(exclude=excluded)
    return f'W/"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
