"""When a backup is tried out without anybody asking: weekly, on the tenant's own day, and for a changed schema."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stowage import schedules
from stowage.access.identity import Identity
from stowage.aws import table
from stowage.clock import DUTIES, tick
from stowage.runs.kinds import TRIAL_LEVEL, VERIFY
from stowage.runs.store import list_history
from stowage.runs.summary import read_summary
from stowage.schedules.records import BackupSettings, WantedVerification
from stowage.tenants import Tenant
from stowage.verifications.policy import is_due, turn_of_week
from tests.cloud import Cloud, cloud
from tests.unit.test_run_bookkeeping import asked, ended

START = datetime(2026, 10, 1, 2, 0, tzinfo=UTC)
ADMIN = Identity("admin", "admin", frozenset({"acme"}), START + timedelta(days=99))
ON_THE_CLOCK = [duty for duty in DUTIES if duty.name == "TRIALS"]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def test_every_tenant_has_its_own_day_of_the_week() -> None:
    turns = {turn_of_week(f"tenant-{n}", START) for n in range(200)}
    assert turns == {datetime(2026, 10, 1, tzinfo=UTC) - timedelta(days=n) for n in range(7)}
    for n in range(50):
        tenant = f"tenant-{n}"
        for hours in range(0, 200, 5):
            now = START + timedelta(hours=hours)
            turn = turn_of_week(tenant, now)
            assert now - timedelta(days=7) < turn <= now
            assert turn.weekday() == turn_of_week(tenant, START).weekday()


@pytest.mark.parametrize(
    ("wanted", "last", "fingerprint", "expected"),
    [
        ("never", None, "a", False),
        ("never", {"at": "2020", "fingerprint": "b"}, "a", False),
        ("always", {"at": "2999", "fingerprint": "a"}, "a", True),
        ("weekly", {"at": "2999", "fingerprint": "a"}, "a", False),
        ("weekly", {"at": "2999", "fingerprint": "b"}, "a", True),
        ("weekly", {"at": "2020", "fingerprint": "a"}, "a", True),
    ],
)
def test_what_decides(wanted: Any, last: Any, fingerprint: str, expected: bool) -> None:
    assert is_due(wanted, last, fingerprint, "acme", START) is expected


def is_tried(now: datetime, fingerprint: str) -> bool:
    """Whether a backup that completes then is to be tried out; the clock sees it twice. The trial never begins."""
    run = ended(asked(now), now)
    assert run.outcome is not None
    outcome = run.outcome.model_dump() | {"facts": {"fingerprint": fingerprint}}
    table.update(run.pk, run.sk, {"outcome": outcome}, when={})
    for _ in range(2):
        tick(now + timedelta(minutes=1), ON_THE_CLOCK)
    assert table.get(run.pk, "TRIALS") is None
    trials = list(list_history("acme", VERIFY.history, {}, 100))
    for each in trials:
        assert (each.spec["level"], each.trigger, each.status, each.uses) == (
            TRIAL_LEVEL,
            "schedule",
            "pending",
            run.id,
        )
        table.delete(each.pk, each.sk)
    assert len(trials) < 2
    return bool(trials)


def test_two_weeks_of_nights(here: Cloud) -> None:
    """Weekly once in seven nights, and in the night after the schema has changed; a new week begins with that."""
    nights = [START + timedelta(days=n) for n in range(15)]
    turn = next(n for n, night in enumerate(nights) if turn_of_week("acme", night).date() == night.date())
    change = turn + 3
    found = [n for n, night in enumerate(nights) if is_tried(night, "a" if n < change else "b")]
    assert found == sorted({*range(turn, 15, 7), change})
    assert read_summary("acme")["trial"]["fingerprint"] == "b"


@pytest.mark.parametrize(("wanted", "expected"), [("never", False), ("always", True)])
def test_a_tenants_own_wish_counts(here: Cloud, wanted: Any, expected: bool) -> None:
    wish = BackupSettings(verify=WantedVerification(level3=wanted))
    told, _ = schedules.write_settings(Tenant("acme", "acme", "Acme"), ADMIN, wish, START, None)
    assert told.verify.level3 == wanted
    assert [is_tried(START + timedelta(hours=n), f"{n}") for n in range(3)] == [expected] * 3


def test_of_a_backup_that_is_gone_nothing_is_asked(here: Cloud) -> None:
    run = ended(asked(START), START)
    table.delete(run.pk, run.sk)
    tick(START + timedelta(minutes=1), ON_THE_CLOCK)
    assert (list(list_history("acme", VERIFY.history, {}, 9)), table.get(run.pk, "TRIALS")) == ([], None)
