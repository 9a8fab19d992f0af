"""Retention and the hourly check on a real table: what goes, what stays, who is told and how often."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from stowage import schedules, tenants
from stowage.access.identity import Identity
from stowage.attention.reading import read_attention
from stowage.aws import table
from stowage.backups.retention import Retention
from stowage.basics.ids import rfc3339
from stowage.clock import DUTIES, tick
from stowage.postgres.schema.registry import TenantRow, write_copy
from stowage.protection.checking import MISSED, check_protection
from stowage.runs import settle
from stowage.runs.clock import expire
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.record import Failure, Outcome, Run, StoredFile
from stowage.runs.store import change_run, find_run, list_history
from stowage.runs.summary import RETENTION_LIST, read_summary
from stowage.schedules import keeping
from stowage.schedules.records import BackupSettings, WantedSchedule
from stowage.tenants import find_tenant, list_tenants
from tests.cloud import Cloud, cloud

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
STEP = 6 * HOUR
"""Between two ticks, so that none is in time."""
ZONES = ("Europe/Berlin", "Australia/Sydney")
"""Berlin goes forward on 29 March, Sydney back on 5 April."""
RULES = Retention(days=5, min_keep=3, weekly=3)
STOPPED = (START + 10 * DAY, START + 13 * DAY)
"""When the clock stands still."""
FAILING = {
    "database_unavailable": (START + 20 * DAY, START + 22 * DAY),
    "storage_unavailable": (START + 40 * DAY, START + 42 * DAY),
}
ON_THE_CLOCK = [duty for duty in DUTIES if duty.name in ("NEW_TENANTS", "SCHEDULES", "RETENTION")]
ADMIN = Identity("ada", "admin", frozenset({"*"}), START + 999 * DAY)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def registered(names: list[str], now: datetime) -> None:
    write_copy([TenantRow(name, name, name, "main") for name in names], now)
    tenants._known.clear()
    tick(now, ON_THE_CLOCK)
    for place, name in enumerate(names):
        schedule = WantedSchedule(cron="30 2 * * *", timezone=ZONES[place % len(ZONES)], window_minutes=60)
        wanted = BackupSettings(schedule=schedule, retention=RULES)
        schedules.write_settings(find_tenant(name, now), ADMIN, wanted, now, None)


def backups_of(tenant: str) -> list[Run]:
    """Newest first."""
    return list(list_history(tenant, EXPORT_BACKUP.history, {}, 1000))


def end(run: Run, now: datetime) -> Run:
    """End a waiting backup as its attempt would: complete and verified, or failed while an outage lasts."""
    began = run.model_copy(update={"attempt": 1, "tries": 3, "attempt_started_at": rfc3339(now), "status": "running"})
    ended = now + HOUR / 6
    code = next((code for code, (first, last) in FAILING.items() if first <= now < last), None)
    failure = Failure(code=code, message="It did not answer.", attempt=1) if code else None
    file = StoredFile(key=f"{run.prefix(1)}f", file_name="f", content_type="text/plain", size_bytes=10)
    proof = {"level": 2, "at": rfc3339(ended), "ok": True}
    outcome = None if failure else Outcome(files={"file": file}, facts={"verification": proof})
    change_run(run, {"attempt": 1, "tries": 3, "attempt_started_at": rfc3339(now)}, when={})
    given = run.model_copy(update={"attempt": 1, "tries": 3, "attempt_started_at": rfc3339(now)})
    settled = settle._settled(began, outcome, failure, [], ended)
    table.transact(settle._writes(given, settled, failure, ended))
    return settled


def stored(tenant: str) -> list[Run]:
    """Its verified backups that are kept."""
    return [run for run in backups_of(tenant) if run.status == "completed" and not run.expired_at]


def alarms() -> Iterator[str]:
    """The tenants that were told of, as the journal would have it."""
    for note in list(table.query("NOTE#audit")):
        table.delete(note["pk"], note["sk"])
        if note["type"] == MISSED:
            yield note["tenant"]


def night(tenant: str, now: datetime) -> Run:
    """A backup of a tenant, made and verified now."""
    run = schedules.new_backup(find_tenant(tenant, now), schedules.BackupRequest(), "ada", now)
    schedules.create_run(run, now, [])
    found = find_run(tenant, run.id)
    assert found
    end(found, now)
    return backups_of(tenant)[0]


def test_a_clock_that_jumps_lets_nothing_go_before_somebody_can_mend_it(here: Cloud) -> None:
    registered(["acme"], START)
    for day in range(5):
        night("acme", START + day * DAY)
        tick(START + day * DAY + HOUR, ON_THE_CLOCK)
    far = START + 4000 * DAY
    for hour in range(20):
        for item in list(table.query(RETENTION_LIST, index="due", up_to=rfc3339(far + hour * HOUR))):
            keeping.look_after(item, far + hour * HOUR)
    assert len(stored("acme")) == 5
    back = START + 5 * DAY
    night("acme", back)
    for item in list(table.query(RETENTION_LIST, index="due", up_to=rfc3339(back + DAY))):
        keeping.look_after(item, back + HOUR)
    assert len(stored("acme")) >= 5


def test_what_is_pinned_or_used_does_not_expire_though_it_was_planned(here: Cloud) -> None:
    registered(["acme"], START)
    run = night("acme", START)
    for change in ({"pinned_at": rfc3339(START)}, {"users": 1}):
        change_run(run, change, when={})
        assert expire(run, START + DAY) is False
        change_run(run, {}, remove=tuple(change), when={})
    assert expire(run, START + DAY) is True
    assert read_summary("acme").get("last_verified") is None


def test_a_check_tells_once_of_each_breach_and_reads_little(here: Cloud) -> None:
    names = [f"t{n}" for n in range(50)]
    registered(names[:1], START)
    registered(names, START)
    night("t0", START + 15 * HOUR)
    assert list(alarms()) == []
    assert check_protection(START + 23 * HOUR)["late"] == 49
    assert sorted(alarms()) == sorted(names[1:])
    with here.reading():
        assert check_protection(START + 24 * HOUR) == {"tenants": 50, "late": 49, "missed": 0}
        assert (here.writes, here.calls.total() <= 12) == (0, True)
    assert list(alarms()) == []
    night("t1", START + 25 * HOUR)
    assert check_protection(START + 26 * HOUR)["late"] == 48
    assert check_protection(START + 60 * HOUR)["missed"] == 2
    assert sorted(alarms()) == ["t0", "t1"]
    found = read_attention(ADMIN, list_tenants(), START + 60 * HOUR)
    assert (found.total, {each.kind for each in found.data}) == (50, {"at_risk"})
    assert found.data[0].actions == ["back_up"]
    assert found.data[0].since <= found.data[-1].since
    told = next(each for each in found.data if each.tenant == "t0")
    assert told.facts["late_since"] == told.since
    viewer = Identity("eve", "viewer", frozenset({"t0"}), ADMIN.expires_at)
    assert [each.actions for each in read_attention(viewer, [find_tenant("t0", START)], START + 60 * HOUR).data] == [[]]
