"""Protection: where tenants stand by their last verified backup and their schedule, and what ten thousand cost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stowage import schedules
from stowage.aws.table import Item
from stowage.basics.ids import rfc3339
from stowage.postgres.schema.registry import TenantRow, write_copy
from stowage.protection.fleet import list_protection, read_stats
from stowage.protection.standing import STATES, Standing, standing
from stowage.runs.change import forget_run
from stowage.runs.record import Run
from stowage.runs.settle import settle
from stowage.runs.summary import read_summary
from stowage.schedules.records import BackupSettings, WantedSchedule
from stowage.schedules.times import Calendar, slots_after
from stowage.tenants import Tenant, find_tenant, list_tenants
from tests.cloud import Cloud, cloud
from tests.unit.test_run_bookkeeping import ADMIN, asked, ended, started, verified

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHTLY = WantedSchedule(cron="0 2 * * *")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def backup(began: datetime, **more: Any) -> Item:
    """A backup as summaries have it, which took ten minutes."""
    return {"id": "x", "at": rfc3339(began + HOUR / 6), "as_of": rfc3339(began), **more}


def stands(
    now: datetime, schedule: WantedSchedule | None = NIGHTLY, since: datetime = NIGHT, **summary: Any
) -> Standing:
    tenant = Tenant("acme", "acme", "Acme", since=rfc3339(since))
    return standing(tenant, summary, schedule, now)


# Of a nightly schedule and two hours of grace: a backup of 02:00 may be 26 hours old, 80 % of which are 20:48 hours.
@pytest.mark.parametrize(
    ("hours", "cron", "state", "allowed"),
    [
        (0, "0 2 * * *", "safe", 26),
        (20.7, "0 2 * * *", "safe", 26),
        (20.9, "0 2 * * *", "soon_due", 26),
        (25.9, "0 2 * * *", "soon_due", 26),
        (26.1, "0 2 * * *", "at_risk", 26),
        (2000, "0 2 * * *", "at_risk", 26),
        (2.3, "0 * * * *", "safe", 3),
        (2.5, "0 * * * *", "soon_due", 3),
        (3.1, "0 * * * *", "at_risk", 3),
        # Friday 20 November: the next is on Monday.
        (50, "0 2 * * MON-FRI", "safe", 74),
        (73.9, "0 2 * * MON-FRI", "soon_due", 74),
        (74.1, "0 2 * * MON-FRI", "at_risk", 74),
    ],
)
def test_a_verified_backup_may_grow_as_old_as_the_schedule_lets_it(
    hours: float, cron: str, state: str, allowed: int
) -> None:
    now = NIGHT + hours * HOUR
    found = stands(now, WantedSchedule(cron=cron), last_verified=backup(NIGHT, verified_at=""))
    assert (found.state, found.allowed) == (state, allowed * HOUR)
    assert found.late_since == (NIGHT + allowed * HOUR if state == "at_risk" else None)


def test_without_a_schedule_backups_are_paused_however_old_they_are() -> None:
    found = stands(NIGHT + 300 * DAY, None, last_verified=backup(NIGHT, verified_at=""))
    assert (found.state, found.next_run, found.late_since, found.night) == ("paused", None, None, None)


def test_without_a_verified_backup_a_tenant_is_at_risk_and_late_only_after_its_first_time() -> None:
    """What is stored and not verified protects nobody for certain."""
    unverified = backup(NIGHT)
    since = NIGHT - HOUR
    assert [
        (found.state, found.late_since)
        for hours in (-0.5, 1.9, 2.1)
        for found in [stands(NIGHT + hours * HOUR, since=since, last_success=unverified)]
    ] == [("at_risk", None), ("at_risk", None), ("at_risk", NIGHT + 2 * HOUR)]


def test_a_tenants_turn_in_the_window_is_its_own() -> None:
    schedule = WantedSchedule(cron="0 2 * * *", window_minutes=240)
    slot = next(slots_after("0 2 * * *", "UTC", 240, "acme", NIGHT - HOUR))
    found = stands(slot.due + 25 * HOUR, schedule, last_verified=backup(slot.due, verified_at=""))
    assert (found.state, found.allowed, found.next_run) == ("soon_due", 26 * HOUR, slot.due + 2 * DAY)
    # One by hand, between the schedule's time and the tenant's turn, does not stand for the turn.
    by_hand = stands(slot.due, schedule, last_verified=backup(slot.due - HOUR / 60, verified_at=""))
    assert by_hand.allowed == 2 * HOUR + HOUR / 60


def test_times_before_a_schedule_was_set_bind_nobody() -> None:
    old = backup(NIGHT - 5 * DAY, verified_at="")
    assert stands(NIGHT + HOUR, last_verified=old).late_since is not None
    changed = stands(NIGHT + HOUR, last_verified=old, schedule_at=rfc3339(NIGHT + HOUR / 2))
    assert (changed.late_since, changed.allowed) == (None, 6 * DAY + 2 * HOUR)


@pytest.mark.parametrize(
    ("hours", "summary", "night"),
    [
        (1, {}, "open"),
        (3, {}, "missed"),
        (3, {"last_failure": backup(NIGHT)}, "failed"),
        (3, {"last_failure": backup(NIGHT - DAY)}, "missed"),
        (3, {"last_success": backup(NIGHT)}, "unverified"),
        (3, {"last_success": backup(NIGHT), "last_verified": backup(NIGHT)}, "verified"),
        (3, {"last_success": backup(NIGHT), "last_verified": backup(NIGHT - DAY)}, "unverified"),
        (23.9, {"last_failure": backup(NIGHT), "last_verified": backup(NIGHT + HOUR)}, "verified"),
        (25, {"last_failure": backup(NIGHT)}, "open"),
    ],
)
def test_what_came_of_the_last_night(hours: float, summary: Item, night: str) -> None:
    assert stands(NIGHT + hours * HOUR, **summary).night == night
    weekly = stands(NIGHT + hours * HOUR, WantedSchedule(cron="0 2 * * MON"), **summary)
    assert weekly.night is None, "none was due"


@pytest.mark.parametrize("cron", ["0 2 * * *", "0 */2 * * *", "30 2 * * MON", "0 2 1 * *", "0 2 29 2 *"])
def test_a_calendar_tells_what_the_schedule_itself_does_in_whatever_order_it_is_asked(cron: str) -> None:
    calendar = Calendar(cron, "Europe/Berlin")
    for days in (0, 3, -2, 1, 0.04, -9, -30, 60, 59.5):
        moment = NIGHT + days * DAY
        slots = slots_after(cron, "Europe/Berlin", 0, "acme", moment)
        assert calendar.after(moment) == next(slots).nominal, days
    assert calendar.latest(NIGHT, NIGHT) is None


def test_the_summary_keeps_the_last_sizes_and_the_failures_in_a_row(here: Cloud) -> None:
    def fails(at: datetime) -> Run:
        run: Run | None = asked(at)
        while run and run.status == "pending":
            at += HOUR / 2
            run = settle("acme", run.id, started(run, at).attempt, at)
        assert run
        return run

    fails(NIGHT)
    last = fails(NIGHT + DAY)
    summary = read_summary("acme")
    assert (summary["failures"], summary["last_failure"]["id"]) == (2, last.id)
    assert summary["last_failure"]["code"] == "run_interrupted"
    assert summary["failing_since"] == rfc3339(NIGHT + 1.5 * HOUR)
    done = [ended(asked(NIGHT + (2 + n) * DAY), NIGHT + (2 + n) * DAY) for n in range(16)]
    summary = read_summary("acme")
    assert not {"failures", "failing_since", "last_failure"} & summary.keys()
    assert summary["sizes"] == " ".join(["10"] * 14)
    for run in done[-2:]:
        verified(run, NIGHT + 18 * DAY)
    assert read_summary("acme")["last_verified"]["as_of"] == done[-1].attempt_started_at
    forget_run(done[-1], "ada", NIGHT + 19 * DAY)
    assert read_summary("acme")["last_verified"]["as_of"] == done[-2].attempt_started_at


def registered(names: list[str]) -> list[Tenant]:
    write_copy([TenantRow(name, f"s-{name}", f"Tenant {name.upper()}", "main") for name in names], NIGHT - 5 * DAY)
    return list_tenants()


def filled(here: Cloud, summaries: dict[str, Item]) -> None:
    from stowage.runs.summary import _key

    keys = ((*_key(tenant), tenant, summary) for tenant, summary in summaries.items())
    here.fill({"pk": pk, "sk": sk, "tenant": tenant, "version": 1, **summary} for pk, sk, tenant, summary in keys)


FLEET: dict[str, Item] = {
    "safe": {"last_verified": backup(NIGHT, verified_at=""), "last_success": backup(NIGHT, bytes=7), "sizes": "9 7"},
    "due": {"last_verified": backup(NIGHT - 0.9 * DAY, verified_at=""), "schedule": {"cron": "30 2 * * *"}},
    "old": {"last_verified": backup(NIGHT - 3 * DAY, verified_at=""), "missed_at": rfc3339(NIGHT - DAY)},
    "bad": {"last_failure": backup(NIGHT, code="backup_failed"), "failures": 3},
    "off": {"schedule": {}},
    "stopped": {"schedule": {"cron": "0 2 * * *", "timezone": "UTC", "enabled": False, "window_minutes": 0}},
}
FLEET["due"]["schedule"] |= {"timezone": "UTC", "enabled": True, "window_minutes": 0}


@pytest.fixture
def fleet(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> list[Tenant]:
    """Six tenants; those without a schedule of their own are backed up at 02:00."""
    monkeypatch.setenv("STOWAGE_BACKUP_WINDOW_MINUTES", "0")
    schedules.settings.cache_clear()
    filled(here, FLEET)
    return registered([*FLEET, "new"])


def shown(fleet: list[Tenant], **wanted: Any) -> list[str]:
    asking = {"states": STATES, "q": None, "order": "state", "page": 1, "limit": 100} | wanted
    return [each.project_id for each in list_protection(fleet, NIGHT + HOUR, **asking).data]


def test_the_list_of_protection_begins_with_those_at_risk(fleet: list[Tenant]) -> None:
    assert shown(fleet) == ["old", "bad", "new", "due", "safe", "off", "stopped"]
    assert shown(fleet, order="-state")[:2] == ["off", "stopped"]
    assert shown(fleet, order="name") == sorted(shown(fleet))
    assert shown(fleet, order="age")[:3] == ["safe", "due", "old"]
    assert shown(fleet, order="-age")[:2] == ["bad", "new"], "what has no verified backup is oldest"
    assert shown(fleet, order="-size")[0] == "safe"
    assert shown(fleet, states=("safe", "paused")) == ["safe", "off", "stopped"]
    assert shown(fleet, q="tenant o") == ["old", "off"]
    assert shown(fleet, q="S-NEW") == ["new"]
    assert shown(fleet, page=2, limit=3) == ["due", "safe", "off"]
    told = list_protection(fleet, NIGHT + HOUR, states=["at_risk"], q=None, order="state", page=1, limit=1)
    assert (told.pagination.total, told.pagination.total_pages) == (3, 3)
    assert told.states.model_dump() == {"at_risk": 3, "soon_due": 1, "safe": 1, "paused": 2}
    [old] = told.data
    assert old.last_verified is not None
    assert (old.last_verified.age_seconds, old.age_allowed_seconds) == (73 * 3600, 26 * 3600)
    assert old.missed_at == rfc3339(NIGHT - DAY)


def test_the_statistics_of_all_tenants_say_how_the_night_was(fleet: list[Tenant]) -> None:
    stats = read_stats(fleet, None, NIGHT + HOUR)
    assert stats.tenants.model_dump() == {"at_risk": 3, "soon_due": 1, "safe": 1, "paused": 2}
    night = {"due": 5, "verified": 1, "unverified": 0, "failed": 1, "missed": 0, "open": 3}
    assert stats.last_night.model_dump() == night
    assert stats.next_run_at == rfc3339(NIGHT + DAY)
    later = read_stats(fleet, None, NIGHT + 5 * HOUR)
    assert later.last_night.model_dump() == night | {"missed": 3, "open": 0}
    one = read_stats([each for each in fleet if each.id == "off"], ["off"], NIGHT + HOUR)
    assert (one.next_run_at, one.tenants.paused, one.last_night.due) == (None, 1, 0)


def test_the_schedule_a_tenant_is_given_counts_at_once(fleet: list[Tenant]) -> None:
    tenant, now = find_tenant("off", NIGHT), NIGHT + HOUR
    for wanted, state in ((NIGHTLY, "at_risk"), (None, "paused")):
        schedules.write_settings(tenant, ADMIN, BackupSettings(schedule=wanted), now, None)
        assert ("off" in shown(fleet, states=["at_risk"])) == (state == "at_risk")
    # One that versions before have set is told when the registry is copied.
    summary = read_summary("off")
    summary.pop("schedule")
    schedules.table.put(summary)
    assert "off" in shown(fleet, states=["at_risk"])
    schedules.begin({"pk": "TENANTS", "sk": "off", "due_at": rfc3339(NIGHT - 5 * DAY)}, now)
    assert "off" in shown(fleet, states=["paused"])


def test_what_is_asked_of_the_table_does_not_grow_with_the_runs_and_hardly_with_the_tenants(here: Cloud) -> None:
    names = [f"t{n}" for n in range(300)]
    filled(here, dict.fromkeys(names, FLEET["safe"]))
    tenants = registered(names)
    with here.reading():
        stats = read_stats(tenants, None, NIGHT + HOUR)
        assert here.calls == {"Query": 16}, "eight partitions of counts, eight of summaries"
    assert stats.tenants.safe == 300
    with here.reading():
        read_stats(tenants[:3], ["t0", "t1", "t10"], NIGHT + HOUR)
        assert here.calls == {"Query": 3, "GetItem": 3}


def test_a_night_before_a_tenant_or_its_schedule_came_was_nobodys() -> None:
    noon = NIGHT + 10 * HOUR
    assert stands(noon, since=NIGHT - DAY).night == "missed"
    assert stands(noon, since=NIGHT + 6 * HOUR).night is None
    assert stands(noon, since=NIGHT - DAY, schedule_at=rfc3339(NIGHT + 6 * HOUR)).night is None
