"""The counts of runs: whatever happens to runs, they are those of the records that there are."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.aws.table import Update
from stowage.jobs import _median
from stowage.runs.counters import Counts, as_counted, counting
from stowage.runs.record import Run
from stowage.runs.summary import SHARDS

ENDED = "2026-11-20T08:15:05.250Z"
BEGAN = "2026-11-20T08:15:03.000Z"
FILE = {"key": "k", "file_name": "f", "content_type": "c", "size_bytes": 700, "sha256": "", "rows": 3}

STATES: dict[str, dict[str, Any]] = {
    "pending": {"status": "pending"},
    "running": {"status": "running", "started_at": BEGAN},
    "failed": {"status": "failed", "started_at": BEGAN, "completed_at": ENDED},
    "cancelled": {"status": "cancelled", "completed_at": ENDED},
    "completed": {
        "status": "completed", "started_at": BEGAN, "completed_at": ENDED, "outcome": {"files": {"file": FILE}}
    },
    "expired": {
        "status": "completed", "started_at": BEGAN, "completed_at": ENDED, "outcome": {"files": {"file": FILE}},
        "expired_at": ENDED,
    },
    "stopped": {
        "status": "failed", "started_at": BEGAN, "completed_at": ENDED,
        "outcome": {"files": {"a": FILE, "b": FILE}},
    },
}  # fmt: skip


def run(number: int, state: str, *, counted: bool = True, kind: str = "export") -> Run:
    return Run.model_validate(
        {
            "id": f"run-{number}", "tenant": "acme", "kind": kind, "database": "main", "spec": {},
            "requested_by": "ada", "created_at": "2026-11-20T08:15:00.000Z", "counted": counted, **STATES[state],
        }
    )  # fmt: skip


def updates(before: Run | None, after: Run | None) -> list[Update]:
    """The writes of `counting` but for the marks of failed and cancelled runs (tests/unit/test_job_lists.py)."""
    return [write for write in counting(before, after) if isinstance(write, Update)]


def taken(counts: dict[str, Counter[str]], before: Run | None, after: Run | None) -> None:
    for write in updates(before, after):
        assert write.sk == "COUNT#2026-11-20#export"
        counts.setdefault(write.pk, Counter()).update(write.add)


def whole(counts: dict[str, Counter[str]]) -> tuple[Counter[str], Counter[str]]:
    """The counts of the tenant and of all shards."""
    own = +counts.get("T#acme", Counter())
    return own, +sum((each for pk, each in counts.items() if pk != "T#acme"), Counter())


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([*STATES, "gone"])), max_size=60), st.booleans())
def test_the_counts_are_those_of_the_records_that_there_are(changes: list[tuple[int, str]], late: bool) -> None:
    """`late`: the first records are of a version that counted none; whoever changes one counts it."""
    counts: dict[str, Counter[str]] = {}
    states: dict[int, Run] = {}
    for number, state in changes:
        before = states.get(number)
        if before is None and late and number < 3 and state != "gone":
            states[number] = run(number, state, counted=False)
            continue
        after = None if state == "gone" else run(number, state)
        if before or after:
            taken(counts, before, after)
        states.pop(number, None)
        if after:
            states[number] = after
    for number, left in states.items():
        if not left.counted:
            taken(counts, None, left)
            states[number] = left.model_copy(update={"counted": True})
    expected: dict[str, Counter[str]] = {}
    for each in states.values():
        taken(expected, None, each)
    assert whole(counts) == whole(expected)


def test_what_a_run_adds() -> None:
    counts: dict[str, Counter[str]] = {}
    for number, state in enumerate(STATES):
        taken(counts, None, run(number, state))
    own, over_all = whole(counts)
    assert own == {
        "pending": 1, "running": 1, "failed": 2, "cancelled": 1, "completed": 1, "expired": 1,
        "bytes": 3 * 700, "expired_bytes": 700, "ms_2250": 2,
    }  # fmt: skip
    assert over_all == {
        "unfinished": 2, "failed": 2, "cancelled": 1, "completed": 1, "expired": 1, "bytes": 3 * 700,
        "expired_bytes": 700, "ms_2200": 2,
    }  # fmt: skip
    assert Counts("2026-11-20", "export", own).count("unfinished") == 2
    assert Counts("2026-11-20", "export", over_all).count("unfinished") == 2
    assert set(counts) - {"T#acme"} <= {f"FLEET#{n}" for n in range(SHARDS)}


def test_what_changes_no_count_is_no_write() -> None:
    assert counting(run(1, "pending"), run(1, "pending")) == []
    [own] = counting(run(1, "pending"), run(1, "running"))
    assert isinstance(own, Update)
    assert (own.pk, own.add) == ("T#acme", {"pending": -1, "running": 1})


def test_nobody_counts_a_record_that_somebody_else_has_just_counted() -> None:
    assert as_counted(run(1, "failed"))["counted"] is True
    assert as_counted(run(1, "failed", counted=False))["counted"] is not True


def test_whatever_changes_the_counts_of_a_record_is_noticed_by_who_counts_another_change() -> None:
    """Or a run that was started anew and cancelled meanwhile would be counted as what it was before."""
    names = [name for name in STATES if name != "stopped"]  # a failure of another kind, at the same moment
    told = {name: (as_counted(run(1, name)), counting(None, run(1, name))) for name in names}
    for one, (expected, adds) in told.items():
        for other, (others, added) in told.items():
            assert expected != others or adds == added, (one, other)
    again = run(1, "cancelled").model_copy(update={"completed_at": BEGAN})
    assert as_counted(again) != as_counted(run(1, "cancelled"))


@given(st.lists(st.integers(0, 9_999), min_size=1, max_size=50))
def test_the_median_of_counted_durations_is_that_of_the_durations(values: list[int]) -> None:
    ordered = sorted(values)
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    assert _median(Counter(values)) == round((low + high) / 2)


@pytest.mark.parametrize(
    ("ms", "own", "shared"),
    [
        (0, 0, 0),
        (7, 7, 7),
        (99, 99, 99),
        (9_999, 9_999, 10_000),
        (12_345, 12_340, 12_000),
        (3_723_456, 3_723_000, 3_700_000),
    ],
)
def test_a_duration_is_counted_to_four_digits_for_its_tenant_and_to_two_over_all(
    ms: int, own: int, shared: int
) -> None:
    ended = f"2026-11-20T{8 + ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z"
    done = run(1, "completed").model_copy(update={"started_at": "2026-11-20T08:00:00.000Z", "completed_at": ended})
    names = []
    for write in counting(None, done):
        assert isinstance(write, Update)
        names += [name for name in write.add if name.startswith("ms_")]
    assert names == [f"ms_{own}", f"ms_{shared}"]


def test_the_item_of_a_busy_day_stays_small() -> None:
    """Every run of a shard writes it, and DynamoDB bills a write by the size of the whole item."""
    counts: dict[str, Counter[str]] = {}
    for number in range(2_000):
        ended = f"2026-11-20T08:{15 + number % 40}:{number * 7 % 60:02d}.{number * 37 % 1000:03d}Z"
        taken(counts, None, run(number, "completed").model_copy(update={"completed_at": ended}))
    for pk, each in counts.items():
        if pk.startswith("FLEET#"):
            assert sum(len(name) + 5 for name in each) < 4_000
