"""Schedules of backups: what they take, when they are due, and forty days of them in simulated time."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from stowage import schedules, tenants
from stowage.access.identity import Identity
from stowage.aws import table
from stowage.basics.errors import ForbiddenError, PreconditionFailedError
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.clock import DUTIES, tick
from stowage.postgres.schema.registry import TenantRow, write_copy
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.plan import SHARED_MAX_BYTES
from stowage.runs.record import Run
from stowage.runs.store import change_run, list_history
from stowage.runs.summary import noting
from stowage.schedules.records import BackupSettings, WantedSchedule
from stowage.schedules.times import slots_after
from stowage.settings import settings
from stowage.tenants import find_tenant
from tests.cloud import Cloud, cloud

NIGHT = datetime(2026, 10, 1, 2, 0, tzinfo=UTC)
EVENING = NIGHT - timedelta(hours=3)
ADMIN, BOB = (Identity(role, role, frozenset({"acme"}), NIGHT + timedelta(days=99)) for role in ("admin", "operator"))
ON_THE_CLOCK = [duty for duty in DUTIES if duty.name in ("NEW_TENANTS", "SCHEDULES")]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def registered(*names: str, now: datetime = NIGHT - timedelta(hours=4)) -> None:
    """Let the registry hold these tenants and no others, and the clock see it."""
    write_copy([TenantRow(name, name, name, "main") for name in names], now)
    tenants._known.clear()
    tick(now, ON_THE_CLOCK)


def set_for(tenant: str, now: datetime, cron: str, timezone: str = "UTC", **more: Any) -> None:
    wanted = BackupSettings(schedule=WantedSchedule(cron=cron, timezone=timezone, **more))
    schedules.write_settings(find_tenant(tenant, now), ADMIN, wanted, now, None)


def runs_of(tenant: str) -> list[Run]:
    """Its backups, oldest first."""
    return list(list_history(tenant, EXPORT_BACKUP.history, {}, 1000))[::-1]


def end_runs(*names: str) -> None:
    """Let their newest backups be complete."""
    for tenant in names:
        run = next(list_history(tenant, EXPORT_BACKUP.history, {}, 1))
        change_run(run, {"status": "completed"}, when={})


def told(tenant: str) -> schedules.CurrentSettings:
    return schedules.read_settings(find_tenant(tenant, NIGHT))[0]


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        # Berlin skips 02:00 to 03:00 on 29 March 2026, and shows it twice on 25 October.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:30"]),
        ("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:00"]),
        ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T01:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["10-25T00:30", "10-26T01:30"]),
        ("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["10-25T02:00", "10-26T02:00"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["11-01T05:30", "11-02T06:30"]),
        # Lord Howe moves by half an hour, Casablanca went its own way, Kathmandu lies 5:45 ahead.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["10-03T15:30", "10-04T15:15"]),
        ("0 0 * * *", "Asia/Kathmandu", "2026-05-01T00:00Z", ["05-01T18:15", "05-02T18:15"]),
        ("0 2 29 2 *", "UTC", "2026-05-01T00:00Z", ["02-29T02:00", "02-29T02:00"]),
        ("0 4 * * MON", "UTC", "2026-11-28T00:00Z", ["11-30T04:00", "12-07T04:00"]),
        # A star is the same as its numbers, unless it is every hour, which comes as time passes.
        ("0 */12 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-28T23:00", "03-29T10:00"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-03-29T00:30Z", ["03-29T01:00", "03-29T02:00"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-24T23:30Z", ["10-25T00:00", "10-25T03:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", ["10-25T00:00", "10-25T01:00", "10-25T02:00"]),
        ("*/60 2 * * *", "UTC", "2026-05-01T00:00Z", ["05-01T02:00", "05-02T02:00"]),
        ("0 4 1 * 7", "UTC", "2026-11-28T00:00Z", ["11-29T04:00", "12-01T04:00"]),
    ],
)
def test_a_schedule_means_the_tenants_own_clock(cron: str, timezone: str, after: str, expected: list[str]) -> None:
    found = islice(slots_after(cron, timezone, 0, "acme", datetime.fromisoformat(after)), len(expected))
    assert [f"{slot.nominal:%m-%dT%H:%M}" for slot in found] == expected


def test_tenants_are_spread_over_the_window_and_keep_their_minute() -> None:
    minutes = Counter(next(slots_after("0 2 * * *", "UTC", 60, f"tenant{n}", NIGHT)).due.minute for n in range(3000))
    assert len(minutes) == 60
    assert max(minutes.values()) < 100
    first, second = islice(slots_after("0 2 * * *", "UTC", 240, "acme", NIGHT), 2)
    assert second.due - first.due == timedelta(days=1)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("cron", "* * * * *", "at most once an hour"),
        ("cron", "0,30 2 * * *", "at most once an hour"),
        ("cron", "0 2 * *", "five fields"),
        ("cron", "0 0 2 * * *", "five fields"),
        ("cron", "@daily", "five fields"),
        ("cron", "61 2 * * *", "bad minute"),
        ("cron", "0 24 * * *", "bad hour"),
        ("cron", "0 2 31 2 *", "bad day-of-month"),
        ("cron", "0 2 * * * ; rm", "five fields"),
        ("cron", "", "five fields"),
        ("cron", "0 2 * * *" + " " * 100, "at most 100"),
        ("timezone", "Europe/Berlon", "time zone"),
        ("timezone", "../../etc/passwd", "time zone"),
        ("timezone", "Europe", "time zone"),
        ("timezone", "", "time zone"),
        ("window_minutes", -1, "greater than or equal to 0"),
        ("window_minutes", 1441, "less than or equal to 1440"),
        ("window_minutes", True, "valid integer"),
        ("enabled", "yes", "valid boolean"),
    ],
)
def test_what_is_no_schedule_is_refused(field: str, value: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        WantedSchedule.model_validate({"cron": "0 2 * * *", field: value})


@pytest.mark.parametrize(
    "cron", ["0 * * * *", "0 */2 * * *", "0 2 * * MON-FRI", "0 2,14 * * *", "0 2 29 2 *", "0 2 1 JAN *"]
)
def test_what_is_a_schedule_is_taken(cron: str) -> None:
    assert WantedSchedule(cron=cron).cron == cron


def test_a_new_tenant_is_scheduled_by_itself_and_a_removed_one_no_more(here: Cloud) -> None:
    registered("acme", "globex")
    next_run = told("acme").next_run_at
    assert next_run is not None
    assert NIGHT <= parse_rfc3339(next_run) < NIGHT + timedelta(hours=4)
    registered("globex")
    tick(NIGHT + timedelta(hours=4), ON_THE_CLOCK)
    assert (len(runs_of("acme")), len(runs_of("globex"))) == (0, 1)
    assert not list(table.query("SCHEDULES", index="due", up_to=rfc3339(NIGHT + timedelta(days=1))))
    registered("acme", "globex", now=NIGHT + timedelta(hours=5))
    tick(NIGHT + timedelta(days=1, hours=4), ON_THE_CLOCK)
    assert len(runs_of("acme")) == 1


def test_settings_of_its_own_outlive_the_copies_of_the_registry(here: Cloud) -> None:
    registered("acme")
    set_for("acme", EVENING, "0 5 * * *")
    tag = schedules.read_settings(find_tenant("acme", NIGHT))[1]
    write_copy([TenantRow("acme", "acme", "Acme renamed", "main")], EVENING)
    tick(EVENING, ON_THE_CLOCK)
    settings, same = schedules.read_settings(find_tenant("acme", NIGHT))
    assert same == tag
    assert settings.schedule is not None
    assert settings.schedule.cron == "0 5 * * *"
    assert settings.next_run_at == rfc3339(NIGHT + timedelta(hours=3))


def test_the_deployments_schedule_is_that_of_all_without_one_of_their_own(
    here: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("acme", "globex", "initech")
    set_for("globex", EVENING, "0 5 * * *")
    for cron, due in (("", None), ("0 3 * * *", 3), ("0 4 * * *", 4)):
        monkeypatch.setenv("STOWAGE_BACKUP_SCHEDULE", cron)
        monkeypatch.setenv("STOWAGE_BACKUP_WINDOW_MINUTES", "0")
        settings.cache_clear()
        registered("acme", "globex", "initech", now=EVENING)
        expected = rfc3339(NIGHT.replace(hour=due)) if due else None
        assert told("acme").next_run_at == told("initech").next_run_at == expected
        assert told("globex").next_run_at == rfc3339(NIGHT.replace(hour=5))
        assert write_copy([TenantRow(each, each, each, "main") for each in ("acme", "globex", "initech")], NIGHT) == {
            "tenants": 3,
            "written": 0,
        }


@pytest.mark.parametrize(("name", "value"), [("BACKUP_SCHEDULE", "*/30 * * * *"), ("BACKUP_TIMEZONE", "Europe/Berlon")])
def test_a_deployment_with_a_schedule_that_is_none_is_refused(
    here: Cloud, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    schedules.check_deployment()
    monkeypatch.setenv(f"STOWAGE_{name}", value)
    settings.cache_clear()
    with pytest.raises(ValueError, match=r"BackupSchedule, BackupTimezone or BackupWindowMinutes: .*(hour|zone)"):
        schedules.check_deployment()


def test_a_change_of_the_settings_loses_no_slot_and_doubles_none(here: Cloud) -> None:
    registered("acme")
    set_for("acme", EVENING, "0 2 * * *", window_minutes=200)
    due = parse_rfc3339(str(told("acme").next_run_at))
    assert NIGHT + timedelta(minutes=10) < due
    set_for("acme", NIGHT + timedelta(minutes=5), "0 2 * * *", window_minutes=1)
    assert told("acme").next_run_at == rfc3339(due)
    set_for("acme", due + timedelta(minutes=1), "0 2 * * *", window_minutes=1)
    tick(due + timedelta(minutes=2), ON_THE_CLOCK)
    set_for("acme", due + timedelta(minutes=3), "0 2 * * *", window_minutes=1440)
    tick(due + timedelta(hours=20), ON_THE_CLOCK)
    assert [run.spec["slot"] for run in runs_of("acme")] == [rfc3339(NIGHT)]
    assert parse_rfc3339(str(told("acme").next_run_at)) >= NIGHT + timedelta(days=1)


def test_a_change_of_the_settings_is_in_the_audit_log(here: Cloud) -> None:
    registered("acme")
    set_for("acme", EVENING, "0 5 * * *")
    [note] = table.query("NOTE#audit")
    assert (note["type"], note["tenant"], note["actor"]) == ("backup_settings.changed", "acme", "admin")
    assert "0 5 * * *" in note["after"]


@pytest.mark.parametrize("change", [None, {"enabled": False}])
def test_a_schedule_that_is_off_makes_no_backup(here: Cloud, change: dict[str, bool] | None) -> None:
    registered("acme")
    wanted = BackupSettings(schedule=WantedSchedule(cron="0 2 * * *", **change) if change else None)
    current, _ = schedules.write_settings(find_tenant("acme", NIGHT), ADMIN, wanted, EVENING, None)
    assert current.next_run_at is None
    tick(NIGHT + timedelta(days=2), ON_THE_CLOCK)
    assert runs_of("acme") == []


def test_settings_that_somebody_else_has_changed_are_not_written_over(here: Cloud) -> None:
    registered("acme")
    tenant = find_tenant("acme", NIGHT)
    _, tag = schedules.read_settings(tenant)
    wanted = BackupSettings(format="custom")
    _, newer = schedules.write_settings(tenant, ADMIN, wanted, NIGHT, tag)
    with pytest.raises(PreconditionFailedError):
        schedules.write_settings(tenant, ADMIN, BackupSettings(), NIGHT, tag)
    _, again = schedules.write_settings(tenant, ADMIN, wanted, NIGHT, f'"other", {newer}')
    assert len({tag, newer, again}) == 3
    with pytest.raises(ForbiddenError):
        schedules.write_settings(tenant, BOB, wanted, NIGHT, None)


def test_a_run_by_the_clock_leaves_the_entity_tag_as_it_is(here: Cloud) -> None:
    registered("acme")
    tag = schedules.read_settings(find_tenant("acme", NIGHT))[1]
    tick(NIGHT + timedelta(hours=4), ON_THE_CLOCK)
    assert len(runs_of("acme")) == 1
    assert schedules.read_settings(find_tenant("acme", NIGHT))[1] == tag


def test_a_slow_backup_is_waited_for_and_the_slot_is_told_as_missed(here: Cloud) -> None:
    registered("acme")
    set_for("acme", EVENING, "0 2-23 * * *")
    tick(NIGHT, ON_THE_CLOCK)
    end_runs("acme")
    for hour in range(1, 4):
        tick(NIGHT + timedelta(hours=hour), ON_THE_CLOCK)
    assert len(runs_of("acme")) == 2
    assert told("acme").missed == [rfc3339(NIGHT + timedelta(hours=hour)) for hour in (3, 2)]
    end_runs("acme")
    tick(NIGHT + timedelta(hours=4), ON_THE_CLOCK)
    assert [run.spec["slot"] for run in runs_of("acme")] == [rfc3339(NIGHT + timedelta(hours=h)) for h in (0, 1, 4)]


def test_small_plain_backups_may_be_made_together_and_no_others(here: Cloud) -> None:
    registered("acme", "globex", "initech", "umbrella")
    for tenant, more in (
        ("acme", {}), ("globex", {"format": "custom"}), ("initech", {"include_schemas": ["parts"]}), ("umbrella", {}),
    ):  # fmt: skip
        wanted = BackupSettings(schedule=WantedSchedule(cron="0 3 * * *", timezone="UTC", window_minutes=0), **more)
        admin = Identity("admin", "admin", frozenset({tenant}), NIGHT + timedelta(days=99))
        schedules.write_settings(find_tenant(tenant, EVENING), admin, wanted, EVENING, None)
    table.transact([noting("umbrella", {"last_success": {"id": "x", "at": "", "bytes": SHARED_MAX_BYTES + 1}})])
    tick(NIGHT + timedelta(hours=1), ON_THE_CLOCK)

    shares = {tenant: runs_of(tenant)[-1].may_share for tenant in ("acme", "globex", "initech", "umbrella")}
    assert shares == {"acme": True, "globex": False, "initech": False, "umbrella": False}


def test_forty_days_with_an_outage_and_the_end_of_summer_time(here: Cloud) -> None:
    """Each tick comes twice; for two days none comes. No slot is lost: it was run once, or is told as missed."""
    zones = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC")
    crons = ("30 2 * * *", "0 3,15 * * SUN", "0 4 * * MON")
    rules = {f"tenant{n}": (crons[n % 3], zones[n % 5], n * 57 % 200) for n in range(3)}
    registered(*rules)
    for name, (cron, zone, window) in rules.items():
        set_for(name, EVENING, cron, zone, window_minutes=window)
    start, end = EVENING, NIGHT + timedelta(days=40)
    outage = (NIGHT + timedelta(days=24), NIGHT + timedelta(days=26))
    now = start
    while now < end:
        due = [item["tenant"] for item in table.query("SCHEDULES", index="due", up_to=rfc3339(now))]
        tick(now, ON_THE_CLOCK)
        assert not any(tick(now, ON_THE_CLOCK).values()), now
        end_runs(*due)
        first = next(table.query("SCHEDULES", index="due", page_size=1))
        now = parse_rfc3339(first["due_at"]) + timedelta(minutes=5)
        now = outage[1] if outage[0] <= now < outage[1] else now
    for name, rule in rules.items():
        slots = [slot for slot in islice(slots_after(*rule, name, start), 200) if start < slot.due <= now]
        ran = [run.spec["slot"] for run in runs_of(name)]
        missed = told(name).missed
        expected = [rfc3339(slot.nominal) for slot in slots if slot.due < end - timedelta(hours=6)]
        assert sorted([*ran, *missed])[: len(expected)] == expected, name
        of_the_outage = {rfc3339(slot.nominal) for slot in slots if outage[0] <= slot.due < outage[1]}
        assert set(missed) < of_the_outage or not missed, name
        assert all(earlier < later for earlier, later in pairwise(ran))
        assert {run.trigger for run in runs_of(name)} == {"schedule"}
