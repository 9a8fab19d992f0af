"""Scheduled backups: a tenant's settings, and the clock's work with them.

A tenant's settings are one item of the table, which stands on a due list with the time of its next slot. Whoever makes
the backup of a slot moves the item on in the same transaction, so a slot is run once however often the clock ticks.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from stowage.access.identity import Identity, for_role
from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Item, Update
from stowage.backups import new_backup
from stowage.backups.records import BackupRequest
from stowage.basics.errors import NotFoundError, PreconditionFailedError, UnavailableError
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.runs.record import UNFINISHED
from stowage.runs.store import create_run, find_run
from stowage.schedules.records import BackupSettings, Settings, SettingsPreview, WantedSchedule, settings_tag
from stowage.schedules.times import Slot, slots_after
from stowage.settings import settings
from stowage.tenants import Tenant, find_tenant

DUE_LIST = "SCHEDULES"
REQUESTED_BY = "schedule"
"""In place of a person, in records and the audit log."""
MOST_MISSED = 20
"""So many missed times are told."""
PREVIEWED = 5
_TRIES = 5
"""Of a change that meets others."""


def read_settings(tenant: Tenant) -> tuple[Settings, str]:
    """A tenant's backup settings and their entity tag; the deployment's own as long as nobody has set any."""
    item = _read(tenant.id)
    return _told(item), _tag(item)


@for_role("admin")
def write_settings(
    tenant: Tenant, identity: Identity, wanted: BackupSettings, now: datetime, if_match: str | None
) -> tuple[Settings, str]:
    """Set a tenant's backup settings, all of them; how they are then, and their entity tag.

    PreconditionFailedError where `if_match` does not name the settings as they are.
    """
    from stowage.records.answers import names

    for _ in range(_TRIES):
        item = _read(tenant.id)
        if if_match is not None and not names(if_match, _tag(item)):
            raise PreconditionFailedError("The settings have changed since; read them again.")
        given = wanted.model_dump(mode="json")
        changes: Item = {"tenant": tenant.id, "settings": given, "version": item["version"] + 1, "by": identity.sub}
        slot = next(_coming_slots(tenant.id, wanted.schedule, now), None)
        try:
            table.transact([_moving(tenant.id, slot, changes, {"version": item["version"] or ABSENT})])
        except ConditionFailedError:
            continue
        return read_settings(tenant)
    raise UnavailableError("The settings change too quickly; try again.", retry_after=1)


@for_role("admin")
def preview(tenant: Tenant, identity: Identity, wanted: BackupSettings, now: datetime) -> SettingsPreview:  # noqa: ARG001
    """When the next backups would be due with these settings."""
    found = islice(_coming_slots(tenant.id, wanted.schedule, now), PREVIEWED)
    return SettingsPreview(next_run_at=[rfc3339(slot.due) for slot in found])


def begin(copied: Item, now: datetime) -> None:
    """Give a tenant that was copied from the registry its schedule: the deployment's, or what it had before."""
    tenant = copied["sk"]
    item = _read(tenant)
    if not item.get("due_list"):
        slot = next(_coming_slots(tenant, BackupSettings.model_validate(item["settings"]).schedule, now), None)
        changes: Item = {"tenant": tenant, "settings": item["settings"], "version": item["version"] + 1}
        with suppress(ConditionFailedError):  # somebody has just set them
            table.transact([_moving(tenant, slot, changes, {"version": item["version"] or ABSENT})])
    table.update(copied["pk"], tenant, {}, remove=("due_list", "due_at"), when={"due_at": copied["due_at"]})


def look_after(item: Item, now: datetime) -> None:
    """Make the backup of the newest slot that is due, and note those before it as missed.

    A slot is missed too where the tenant's last scheduled backup has not ended: a slow one is waited for.
    """
    try:
        tenant = find_tenant(item["tenant"], now)
    except NotFoundError:  # it is gone from the registry; its settings stay, should it come back
        table.update(item["pk"], item["sk"], {}, remove=("due_list", "due_at"), when={"due_at": item["due_at"]})
        return
    wanted = BackupSettings.model_validate(item["settings"])
    slot, passed = _due_slots(tenant.id, wanted.schedule, parse_rfc3339(item["slot"]), now)
    expected = {"due_at": item["due_at"], "version": item["version"]}
    run = None
    if not _is_unfinished(tenant.id, item.get("last_run")):
        request = BackupRequest(format=wanted.format)
        run = new_backup(tenant, request, REQUESTED_BY, now, slot=rfc3339(passed.pop()))
    changes: Item = {"last_run": run.id} if run else {}
    missed = [rfc3339(each) for each in reversed(passed)]
    changes["missed"] = [*missed, *item.get("missed", [])][:MOST_MISSED]
    moved = _moving(tenant.id, slot, changes, expected)
    with suppress(ConditionFailedError):  # another tick was first, or somebody has just changed the settings
        if run:
            create_run(run, now, [moved])
        else:
            table.transact([moved])


def _is_unfinished(tenant: str, run_id: str | None) -> bool:
    run = find_run(tenant, run_id) if run_id else None
    return run is not None and run.status in UNFINISHED


def _due_slots(
    tenant: str, schedule: WantedSchedule | None, nominal: datetime, now: datetime
) -> tuple[Slot | None, list[datetime]]:
    """The next slot, and the nominal times of those that are due: this one and all after it."""
    passed = [nominal]
    for slot in _slots(tenant, schedule, nominal):
        if slot.due > now:
            return slot, passed
        passed.append(slot.nominal)
    return None, passed


def _coming_slots(tenant: str, schedule: WantedSchedule | None, now: datetime) -> Iterator[Slot]:
    """The slots that are not due yet; the first one's nominal time may have passed."""
    window = timedelta(minutes=schedule.window_minutes if schedule else 0)
    return (slot for slot in _slots(tenant, schedule, now - window) if slot.due > now)


def _slots(tenant: str, schedule: WantedSchedule | None, nominal: datetime) -> Iterator[Slot]:
    if schedule is None or not schedule.enabled:
        return iter(())
    return slots_after(schedule.cron, schedule.timezone, schedule.window_minutes, tenant, nominal)


def _moving(tenant: str, slot: Slot | None, changes: Item, when: Mapping[str, object]) -> Update:
    """The write that changes a tenant's settings and puts them where they are due at a slot, or nowhere."""
    places = ("due_list", "due_at", "slot")
    if slot is None:
        return Update(*_key(tenant), changes, remove=places, when=when)
    place = {"due_list": DUE_LIST, "due_at": rfc3339(slot.due), "slot": rfc3339(slot.nominal)}
    return Update(*_key(tenant), changes | place, when=when)


def _read(tenant: str) -> Item:
    """A tenant's item; before there is one, what the deployment says, as version 0."""
    return table.get(*_key(tenant)) or {"settings": _defaults().model_dump(mode="json"), "version": 0}


def _defaults() -> BackupSettings:
    own = settings()
    if not own.backup_schedule:
        return BackupSettings()
    return BackupSettings(
        schedule=WantedSchedule(
            cron=own.backup_schedule, timezone=own.backup_timezone, window_minutes=own.backup_window_minutes
        )
    )


def _told(item: Item) -> Settings:
    return Settings(**item["settings"], next_run_at=item.get("due_at"), missed=item.get("missed", []))


def _tag(item: Item) -> str:
    return settings_tag(item["settings"], item["version"])


def _key(tenant: str) -> tuple[str, str]:
    return f"T#{tenant}", "BACKUPS"
