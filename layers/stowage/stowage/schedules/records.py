"""What clients see of a tenant's backup settings, and what they may set (docs/api.md)."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stowage.backups.included import MOST_INCLUDED, check_included, must_differ
from stowage.backups.records import BackupFormat
from stowage.backups.retention import Retention
from stowage.delivery.records import Notices, WantedNotices
from stowage.schedules.times import check_cron, check_timezone

LONGEST_CRON = 100
LONGEST_WINDOW = 24 * 60
"""In minutes."""


class WantedSchedule(BaseModel):
    """When a tenant is to be backed up."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cron: Annotated[str, Field(max_length=LONGEST_CRON), AfterValidator(check_cron)]
    """Minute, hour, day of month, month, day of week, as Unix has them."""
    timezone: Annotated[str, Field(max_length=LONGEST_CRON), AfterValidator(check_timezone)] = "UTC"
    enabled: bool = True
    window_minutes: Annotated[int, Field(ge=0, le=LONGEST_WINDOW)] = 0
    """Each tenant's turn comes at a minute of its own within this time."""


type Trials = Literal["never", "weekly", "always"]


class WantedVerification(BaseModel):
    """How backups are verified beside being read back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    level3: Trials
    """When a backup is tried out: `weekly` also where the schema has changed, `always` each one."""


class Verifications(BaseModel):
    """How backups are verified beside being read back."""

    level3: Trials


class BackupSettings(BaseModel):
    """How a tenant is backed up: the body of `PUT /api/backup/settings`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    schedule: WantedSchedule | None = None
    """None: only when somebody asks."""
    format: BackupFormat = "sql"
    verify: WantedVerification | None = None
    """None: as the deployment says (`BackupTrials`)."""
    include_schemas: Annotated[
        list[Annotated[str, AfterValidator(check_included)]],
        Field(max_length=MOST_INCLUDED),
        AfterValidator(must_differ),
    ] = []
    """Schemas that hold partitions and child tables of the tenant's tables and nothing else: they are dumped along."""
    notify: WantedNotices | None = None
    """None: nobody."""
    retention: Retention | None = None
    """None: as the deployment says (`BackupDays`)."""


class Schedule(BaseModel):
    """When a tenant is backed up."""

    cron: str
    timezone: str
    enabled: bool
    window_minutes: int


class KeptBy(BaseModel):
    """How long the tenant's backups are kept, whoever has said so."""

    days: int
    min_keep: int
    daily: int
    weekly: int
    monthly: int


class CurrentSettings(BaseModel):
    """A tenant's backup settings as they are."""

    schedule: Schedule | None
    format: BackupFormat
    verify: Verifications
    include_schemas: list[str]
    notify: Notices | None
    retention: KeptBy

    next_run_at: str | None
    """When the next scheduled backup begins to wait for its place; null without a schedule that is enabled."""
    missed: list[str]
    """The last times of the schedule at which no backup was made, newest first."""


class PlannedBackup(BaseModel):
    """A stored backup, and why it stays or goes."""

    id: str
    completed_at: str
    reason: str


class RetentionPlan(BaseModel):
    """What would become of the backups that are stored now, newest first."""

    kept: list[PlannedBackup]
    deleted: list[PlannedBackup]


class SettingsPreview(BaseModel):
    """What settings would come to."""

    next_run_at: list[str]
    retention: RetentionPlan


def settings_tag(settings: dict[str, Any], version: int) -> str:
    """The `ETag` of a tenant's settings: another one after every change of them, the same when a backup is made."""
    told = f"{version} {json.dumps(settings, sort_keys=True)}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
