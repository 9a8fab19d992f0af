"""Retention: which backups stay, whatever there is, and however the clock jumps."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.backups.retention import LONGEST_STEP, Candidate, Retention, plan, retention_time

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)

backups = st.builds(
    lambda hours, verified, pinned: (NOW - timedelta(hours=hours), verified, pinned),
    st.integers(-500, 20_000),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)
histories = st.lists(backups, max_size=60).map(
    lambda each: [Candidate(str(n), *fields) for n, fields in enumerate(each)]
)
rules = st.builds(
    Retention,
    days=st.integers(1, 400),
    min_keep=st.integers(1, 20),
    daily=st.integers(0, 30),
    weekly=st.integers(0, 20),
    monthly=st.integers(0, 20),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/New_York"])


@given(histories, rules, zones)
def test_never_below_min_keep_never_the_last_verified_never_a_pinned_one(
    history: list[Candidate], wanted: Retention, zone: str
) -> None:
    fates = plan(history, wanted, zone, NOW)
    assert sorted(fate.backup.id for fate in fates) == sorted(each.id for each in history)
    assert all(newer.backup.at >= older.backup.at for newer, older in pairwise(fates))
    assert all(fate.reasons for fate in fates)
    proved = [fate for fate in fates if fate.backup.is_verified and fate.backup.at <= NOW]
    assert all(fate.stays for fate in proved[: wanted.min_keep])
    assert all(fate.stays for fate in fates if fate.backup.is_pinned or fate.backup.at > NOW - DAY * wanted.days)
    if len(proved) < wanted.min_keep:
        assert all(fate.stays for fate in fates), "nothing is proved enough to let anything go"


@given(histories, rules, zones)
def test_what_goes_leaves_the_others_their_places(history: list[Candidate], wanted: Retention, zone: str) -> None:
    left = [fate.backup for fate in plan(history, wanted, zone, NOW) if fate.stays]
    assert all(fate.stays for fate in plan(left, wanted, zone, NOW)), "twice is as good as once"


@given(histories, rules, zones)
def test_one_that_is_not_verified_takes_nobodys_place(history: list[Candidate], wanted: Retention, zone: str) -> None:
    stays = {fate.backup.id for fate in plan(history, wanted, zone, NOW) if fate.stays and fate.backup.is_verified}
    proved = [each for each in history if each.is_verified]
    assert stays == {fate.backup.id for fate in plan(proved, wanted, zone, NOW) if fate.stays}


@given(
    st.lists(st.tuples(st.floats(0.1, 30), st.floats(-2000, 2000)), max_size=20),
    st.integers(1, 30),
)
def test_no_jump_of_the_clock_moves_retention_far(looks: list[tuple[float, float]], days: int) -> None:
    """Each look comes so many true hours after the one before, by a clock that is wrong by so many days."""
    true = reached = looked_at = NOW
    for hours, wrong in looks:
        true += timedelta(hours=hours)
        clock = true + DAY * wrong
        before, reached = reached, retention_time(reached, looked_at, NOW, clock)
        assert reached <= clock
        assert reached - before <= LONGEST_STEP
        looked_at = clock
    backups = [Candidate("old", true - DAY * (days - 2 * len(looks) - 1), True), Candidate("new", true, True)]
    if days > 2 * len(looks) + 1:
        assert all(fate.stays for fate in plan(backups, Retention(days=days, min_keep=1), "UTC", reached))


def test_retention_goes_as_the_clock_does_and_catches_up_after_an_outage() -> None:
    daily = retention_time(NOW, NOW, NOW, NOW + DAY)
    assert daily == NOW + DAY
    after = retention_time(NOW, NOW, NOW, NOW + 10 * DAY)
    assert after == NOW + LONGEST_STEP
    assert retention_time(after, NOW + 10 * DAY, NOW, NOW + 11 * DAY) == NOW + 2 * LONGEST_STEP
    assert retention_time(None, None, NOW, NOW + 3000 * DAY) == NOW + LONGEST_STEP
    assert retention_time(NOW, NOW, NOW, NOW - DAY) == NOW - DAY


def daily(count: int) -> list[Candidate]:
    return [Candidate(f"{n:03}", NOW - n * DAY, True) for n in range(count)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Retention(days=3, min_keep=1), [0, 1, 2]),
        (Retention(days=1, min_keep=4), [0, 1, 2, 3]),
        (Retention(days=1, min_keep=1, daily=3), [0, 1, 2]),
        # 20 November 2026 is a Friday: the week began on the 16th.
        (Retention(days=1, min_keep=1, weekly=3), [0, 5, 12]),
        (Retention(days=1, min_keep=1, monthly=3), [0, 20, 51]),
        (Retention(days=2, min_keep=1, daily=4, weekly=2, monthly=2), [0, 1, 2, 3, 5, 20]),
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods(wanted: Retention, expected: list[int]) -> None:
    fates = plan(daily(100), wanted, "UTC", NOW)
    assert [int(fate.backup.id) for fate in fates if fate.stays] == expected


def test_days_are_those_of_the_tenants_time_zone() -> None:
    """In Berlin the clocks show 00:30 of the 20th while UTC has the 19th."""
    late, early = (Candidate(str(n), datetime(2026, 11, 19, 23, 30, tzinfo=UTC) - n * timedelta(hours=2), True)
                   for n in range(2))  # fmt: skip
    wanted = Retention(days=1, min_keep=1, daily=2)
    later = NOW + 5 * DAY
    assert [fate.stays for fate in plan([late, early], wanted, "UTC", later)] == [True, False]
    assert [fate.stays for fate in plan([late, early], wanted, "Europe/Berlin", later)] == [True, True]


def test_each_fate_says_why() -> None:
    wanted = Retention(days=2, min_keep=1, daily=1, monthly=2)
    history = [
        *daily(30),
        Candidate("pin", NOW - 90 * DAY, False, True),
        Candidate("bad", NOW - 91 * DAY, False),
    ]
    told = {fate.backup.id: fate.reasons for fate in plan(history, wanted, "UTC", NOW)}
    assert told["000"] == (
        "not older than 2 days", "the newest verified backup", "the newest of its day", "the newest of its month"
    )  # fmt: skip
    assert told["020"] == ("the newest of its month",)
    assert told["005"] == ("older than 2 days",)
    assert (told["pin"], told["bad"]) == (("pinned",), ("older than 2 days, and not verified",))


def test_ten_thousand_backups_are_planned_within_a_second() -> None:
    history = [Candidate(str(n), NOW - n * timedelta(hours=1), n % 7 > 0) for n in range(10_000)]
    wanted = Retention(days=30, min_keep=10, daily=90, weekly=52, monthly=36)
    began = time.process_time()
    fates = plan(history, wanted, "Europe/Berlin", NOW)
    assert time.process_time() - began < 1
    assert 720 < sum(fate.stays for fate in fates) < 1000
