"""Scheduled backups: a tenant's settings, and the clock's work with them.

A tenant has one item of the table, with its settings, which stands on a due list under the time of its next slot.
Whoever makes the backup of a slot moves the item on in the same transaction, so a slot is run once however often the
clock ticks; `passed` is the last nominal time that was looked after.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from pydantic import ValidationError

from stowage.access.identity import Identity, for_role
from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Item, Update, Write
from stowage.backups import new_backup
from stowage.backups.records import BackupRequest
from stowage.backups.retention import Retention
from stowage.basics.errors import NotFoundError, PreconditionFailedError, UnavailableError
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.delivery.wishes import SETTINGS_ITEM, must_reach
from stowage.runs.audit_notes import audit_entry
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.listing import missed_slot
from stowage.runs.plan import SHARED_MAX_BYTES
from stowage.runs.record import UNFINISHED
from stowage.runs.store import create_run, find_run
from stowage.runs.summary import RETENTION_LIST, noting, read_summary
from stowage.schedules.records import (
    BackupSettings,
    CurrentSettings,
    SettingsPreview,
    Trials,
    WantedSchedule,
    settings_tag,
)
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


def read_settings(tenant: Tenant) -> tuple[CurrentSettings, str]:
    """A tenant's backup settings and their entity tag; the deployment's own as long as nobody has set any."""
    return _told(_read(tenant.id))


@for_role("admin")
def write_settings(
    tenant: Tenant, identity: Identity, wanted: BackupSettings, now: datetime, if_match: str | None
) -> tuple[CurrentSettings, str]:
    """Set a tenant's backup settings, all of them; how they are then, and their entity tag.

    BadRequestError for what this deployment cannot do, PreconditionFailedError where `if_match` does not name the
    settings as they are. A backup whose time has come is made all the same, unless there is to be no schedule any more.
    """
    from stowage.records.answers import names

    must_reach(wanted.notify)
    for _ in range(_TRIES):
        item = _read(tenant.id)
        if if_match is not None and not names(if_match, _told(item)[1]):
            raise PreconditionFailedError("The settings have changed since; read them again.")
        given = wanted.model_dump(mode="json")
        changes: Item = {"settings": given, "version": _version(item) + 1}
        if not (_has_come(item, now) and _is_on(wanted.schedule)):
            changes |= _place(_next_slot(item, wanted.schedule, now))
        note = audit_entry(tenant.id, tenant.database, "backup_settings.changed", tenant.id, identity.sub, now, given)
        try:
            telling = _telling(item | changes)
            before = _settings(item)
            if wanted.schedule != before.schedule:
                telling.set["schedule_at"] = rfc3339(now)
            if wanted.retention != before.retention:
                telling.set |= {"due_list": RETENTION_LIST, "due_at": rfc3339(now)}
            table.transact([_changing(item, changes), telling, note])
        except ConditionFailedError:
            continue
        return _told(item | changes)
    raise UnavailableError("The settings change too quickly; try again.", retry_after=1)


@for_role("admin")
def preview(tenant: Tenant, identity: Identity, wanted: BackupSettings, now: datetime) -> SettingsPreview:  # noqa: ARG001
    """When the next backups would be due with these settings, and what would become of those that are stored."""
    from stowage.schedules.keeping import preview_plan

    found = islice(_coming_slots(_read(tenant.id), wanted.schedule, now), PREVIEWED)
    plan = preview_plan(tenant.id, rules_of(wanted), zone_of(wanted), now)
    return SettingsPreview(next_run_at=[rfc3339(slot.due) for slot in found], retention=plan)


def settings_of(tenant: str) -> BackupSettings:
    """A tenant's backup settings, in the registry or not; the deployment's where it has none of its own."""
    return _settings(_read(tenant))


def rules_of(wanted: BackupSettings) -> Retention:
    """How long backups are kept by these settings."""
    return wanted.retention or Retention.model_construct(days=settings().backup_days)


def zone_of(wanted: BackupSettings) -> str:
    """The time zone whose days these settings count in."""
    return wanted.schedule.timezone if wanted.schedule else settings().backup_timezone


def check_deployment() -> None:
    """ValueError where the deployment's own schedule is none."""
    try:
        _defaults()
    except ValidationError as error:
        why = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise ValueError(f"BackupSchedule, BackupTimezone or BackupWindowMinutes: {why}.") from error


def begin(copied: Item, now: datetime) -> None:
    """Put a tenant that was copied from the registry where its next backup is due: by its own settings, or by what the
    deployment says now.
    """
    item = _read(copied["sk"])
    place = _place(_next_slot(item, _settings(item).schedule, now))
    moves = not _has_come(item, now) and any(item.get(name) != value for name, value in place.items())
    if moves or "settings" in item:
        telling = [_telling(item)] if "settings" in item else []
        with suppress(ConditionFailedError):  # somebody has just set them, and told
            table.transact([_changing(item, place if moves else {}), *telling])
    with suppress(ConditionFailedError):  # another tick was first, or the registry has just been copied again
        table.update(copied["pk"], copied["sk"], {}, remove=("due_list", "due_at"), when={"due_at": copied["due_at"]})


def look_after(item: Item, now: datetime) -> None:
    """Make the backup of the newest slot that is due, and note those before it as missed.

    A slot is missed too where the tenant's last scheduled backup has not ended: a slow one is waited for.
    """
    try:
        tenant = find_tenant(item["tenant"], now)
    except NotFoundError:  # it is gone from the registry; its settings stay, should it come back
        table.transact([_changing(item, _place(None))])
        return
    wanted = _settings(item)
    slot, passed = _due_slots(item, wanted.schedule, now)
    changes: Item = {"passed": rfc3339(passed[-1]), **_place(slot)}
    run = None
    if _is_on(wanted.schedule) and not _is_unfinished(tenant.id, item.get("last_run")):
        request = BackupRequest(format=wanted.format)
        run = new_backup(tenant, request, REQUESTED_BY, now, slot=rfc3339(passed.pop()))
        run.may_share = _may_share(tenant.id, wanted)
        changes["last_run"] = run.id
    if _is_on(wanted.schedule):
        missed = [rfc3339(each) for each in reversed(passed)]
        changes["missed"] = [*missed, *item.get("missed", [])][:MOST_MISSED]
    writes: list[Write] = [_changing(item, changes)]
    if passed and _is_on(wanted.schedule):
        writes.append(noting(tenant.id, {"missed_at": rfc3339(passed[-1])}))
        writes += [missed_slot(tenant.id, EXPORT_BACKUP.name, nominal) for nominal in passed[-MOST_MISSED:]]
    with suppress(ConditionFailedError):  # another tick was first, or somebody has just changed the settings
        if run:
            create_run(run, now, writes)
        else:
            table.transact(writes)


def deployments_schedule() -> WantedSchedule | None:
    """The schedule of all tenants that have no settings of their own."""
    return _defaults().schedule


def schedule_in(summary: Item, deployments: WantedSchedule | None) -> WantedSchedule | None:
    """The schedule of a summary's tenant, its own or the deployment's; None where there is none that is enabled."""
    schedule = deployments
    if "schedule" in summary:
        schedule = WantedSchedule.model_construct(**summary["schedule"]) if summary["schedule"] else None
    return schedule if _is_on(schedule) else None


def trials_wanted(tenant: str) -> Trials:
    """When a tenant's backups are to be tried out."""
    return _trials(_settings(_read(tenant)))


def _trials(wanted: BackupSettings) -> Trials:
    return wanted.verify.level3 if wanted.verify else settings().backup_trials


def _telling(item: Item) -> Update:
    """The write that puts a tenant's own schedule into its summary; an empty one where it wants none."""
    return noting(item["tenant"], {"schedule": item["settings"]["schedule"] or {}})


def _may_share(tenant: str, wanted: BackupSettings) -> bool:
    """Whether a tenant's backup may be made together with others': one of plain SQL that was small last time. How large
    it is now is looked at once more before it is.
    """
    last = read_summary(tenant).get("last_success", {})
    is_small = last.get("bytes", 0) <= SHARED_MAX_BYTES
    return wanted.format == "sql" and not wanted.include_schemas and is_small


def _is_unfinished(tenant: str, run_id: str | None) -> bool:
    run = find_run(tenant, run_id) if run_id else None
    return run is not None and run.status in UNFINISHED


def _is_on(schedule: WantedSchedule | None) -> bool:
    return schedule is not None and schedule.enabled


def _has_come(item: Item, now: datetime) -> bool:
    """Whether the time of the item's slot has come, so that its backup waits for its minute or for the clock."""
    return item.get("due_list") is not None and item["slot"] <= rfc3339(now)


def _due_slots(item: Item, schedule: WantedSchedule | None, now: datetime) -> tuple[Slot | None, list[datetime]]:
    """The next slot, and the nominal times of those that are due: the item's and all after it."""
    passed = [parse_rfc3339(item["slot"])]
    for slot in _slots(item, schedule, passed[0]):
        if slot.due > now:
            return slot, passed
        passed.append(slot.nominal)
    return None, passed


def _next_slot(item: Item, schedule: WantedSchedule | None, now: datetime) -> Slot | None:
    return next(_coming_slots(item, schedule, now), None)


def _coming_slots(item: Item, schedule: WantedSchedule | None, now: datetime) -> Iterator[Slot]:
    """The slots that are not due yet. The first one's nominal time may have passed, but no backup was made for it."""
    window = timedelta(minutes=schedule.window_minutes if schedule else 0)
    passed = item.get("passed", "")
    return (slot for slot in _slots(item, schedule, now - window) if slot.due > now and rfc3339(slot.nominal) > passed)


def _slots(item: Item, schedule: WantedSchedule | None, nominal: datetime) -> Iterator[Slot]:
    if schedule is None or not schedule.enabled:
        return iter(())
    return slots_after(schedule.cron, schedule.timezone, schedule.window_minutes, item["tenant"], nominal)


def _place(slot: Slot | None) -> Item:
    """Where an item stands that is due at a slot; None for each of these attributes: nowhere."""
    if slot is None:
        return dict.fromkeys(("due_list", "due_at", "slot"))
    return {"due_list": DUE_LIST, "due_at": rfc3339(slot.due), "slot": rfc3339(slot.nominal)}


def _changing(item: Item, changes: Item) -> Update:
    """The write that changes a tenant's item, unless somebody has changed it since it was read; None takes away."""
    set_here = {name: value for name, value in changes.items() if value is not None}
    expected = {name: item.get(name, ABSENT) for name in ("version", "due_at")}
    key = f"T#{item['tenant']}", SETTINGS_ITEM
    return Update(*key, {"tenant": item["tenant"], **set_here}, tuple(changes.keys() - set_here), when=expected)


def _read(tenant: str) -> Item:
    """A tenant's item, which has no settings before somebody has set any."""
    return table.get(f"T#{tenant}", SETTINGS_ITEM) or {"tenant": tenant}


def _settings(item: Item) -> BackupSettings:
    return BackupSettings.model_validate(item["settings"]) if "settings" in item else _defaults()


def _defaults() -> BackupSettings:
    own = settings()
    if not own.backup_schedule:
        return BackupSettings()
    return BackupSettings(
        schedule=WantedSchedule(
            cron=own.backup_schedule, timezone=own.backup_timezone, window_minutes=own.backup_window_minutes
        )
    )


def _version(item: Item) -> int:
    version: int = item.get("version", 0)
    return version


def _told(item: Item) -> tuple[CurrentSettings, str]:
    given = _settings(item).model_dump(mode="json")
    wanted = _settings(item)
    effective = {"verify": {"level3": _trials(wanted)}, "retention": rules_of(wanted).model_dump()}
    told = CurrentSettings(**given | effective, next_run_at=item.get("due_at"), missed=item.get("missed", []))
    return told, settings_tag(given, _version(item))
