"""Days until the purge: of 24 hours each, rounded up, never below 0, in whatever zones the two times are."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.tenants import Tenant
from stowage.trash.retention import days_until, purge_time

DAY = timedelta(days=1)
ZONES = st.sampled_from(["UTC", "Pacific/Kiritimati", "America/St_Johns", "Australia/Lord_Howe"]).map(ZoneInfo)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))  # noqa: DTZ001


@given(TIMES, TIMES, ZONES, ZONES)
def test_they_are_the_fewest_whole_days_that_are_enough(
    now: datetime, due: datetime, here: ZoneInfo, there: ZoneInfo
) -> None:
    days = days_until(due.astimezone(there), now.astimezone(here))
    assert days >= 0
    assert due - now <= days * DAY
    assert days == 0 or due - now > (days - 1) * DAY


@given(TIMES, ZONES, st.integers(1, 400))
def test_the_trash_is_kept_for_its_days_of_24_hours(now: datetime, zone: ZoneInfo, days: int) -> None:
    due = purge_time(Tenant("t", "t", "T", trash_days=days), now.astimezone(zone))
    assert due.astimezone(UTC) - now == days * DAY
    assert days_until(due, now.astimezone(zone)) == days


@pytest.mark.parametrize(("due", "days"), [("03-09T12:00", 2), ("03-09T12:30", 2), ("03-09T12:31", 3)])
def test_a_day_on_which_the_clocks_go_forward_is_no_shorter(due: str, days: int) -> None:
    st_johns = ZoneInfo("America/St_Johns")
    now = datetime(2026, 3, 7, 11, 30, tzinfo=st_johns)
    assert days_until(datetime.fromisoformat(f"2026-{due}").replace(tzinfo=st_johns), now) == days
