"""The counts of runs: whatever happens to runs, they are those of the records that there are."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.aws.table import Update
from stowage.jobs import _median
from stowage.runs.counters import SHARDS, Counts, as_counted, counting, summing_up
from stowage.runs.record import Run

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


def taken(counts: dict[str, Counter[str]], before: Run | None, after: Run | None) -> None:
    for write in counting(before, after):
        assert isinstance(write, Update)
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
        "bytes": 4 * 700, "ms_2250": 2,
    }  # fmt: skip
    assert over_all == {
        "unfinished": 2, "failed": 2, "cancelled": 1, "completed": 1, "expired": 1, "bytes": 4 * 700, "ms_2250": 2
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
    assert as_counted(run(1, "failed")) == {"counted": True}
    assert as_counted(run(1, "failed", counted=False))["counted"] is not True


def test_a_summary_has_each_kinds_last_ends() -> None:
    ended = summing_up(run(1, "completed"))
    assert ended.sk == "TENANT#acme"
    assert ended.set == {
        "tenant": "acme", "last_export_completed": {"id": "run-1", "at": ENDED, "bytes": 700}
    }  # fmt: skip
    facts = {"backup_id": "b", "verification": {"level": 2, "at": ENDED, "ok": True}}
    verified = run(2, "completed", kind="verify").model_copy(update={"outcome": Run.model_validate(
        run(2, "completed").model_dump() | {"outcome": {"facts": facts}}
    ).outcome})  # fmt: skip
    assert summing_up(verified).set["last_verify_facts"] == facts


@given(st.lists(st.integers(0, 9_999), min_size=1, max_size=50))
def test_the_median_of_counted_durations_is_that_of_the_durations(values: list[int]) -> None:
    ordered = sorted(values)
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    assert _median(Counter(values)) == round((low + high) / 2)


@pytest.mark.parametrize(("ms", "counted"), [(0, 0), (7, 7), (9_999, 9_999), (12_345, 12_340), (3_723_456, 3_723_000)])
def test_a_duration_is_counted_to_four_digits(ms: int, counted: int) -> None:
    ended = f"2026-11-20T{8 + ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z"
    done = run(1, "completed").model_copy(update={"started_at": "2026-11-20T08:00:00.000Z", "completed_at": ended})
    [own, _] = counting(None, done)
    assert isinstance(own, Update)
    assert [name for name in own.add if name.startswith("ms_")] == [f"ms_{counted}"]
