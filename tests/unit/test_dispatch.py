"""Which waiting runs may start: a pure rule."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.basics.ids import rfc3339
from stowage.runs import kinds
from stowage.runs.dispatch import MOST_TOGETHER, SHARED_TRIES, Lease, choose, lease_of
from stowage.runs.kinds import EXPORT_BACKUP, KINDS
from stowage.runs.record import Run, queue_place

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def waiting(
    number: int,
    tenant: str = "acme",
    kind: str = "export",
    lane: str | None = None,
    trigger: str = "manual",
    not_before: str | None = None,
) -> Run:
    return Run(
        id=f"run-{number:03}",
        tenant=tenant,
        kind=kind,
        lane=lane,
        trigger=trigger,  # type: ignore[arg-type]
        database="main",
        spec={},
        requested_by="ada",
        created_at=rfc3339(NOW + timedelta(seconds=number)),
        not_before=not_before,
    )


def chosen(runs: list[Run], held: list[Lease] | None = None, budget: int = 4, exports: int = 3) -> list[str]:
    found = choose(runs, held or [], budget=budget, exports_per_tenant=exports, now=NOW)
    return [run.id for together in found for run in together]


def test_no_more_runs_start_than_the_database_has_places() -> None:
    runs = [waiting(n, tenant=f"t{n}") for n in range(9)]
    assert chosen(runs, budget=3) == ["run-000", "run-001", "run-002"]


@pytest.fixture
def _restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second exclusive kind."""
    restore = replace(EXPORT_BACKUP, name="restore")
    monkeypatch.setattr(kinds, "KINDS", {**KINDS, restore.name: restore})


@pytest.mark.usefixtures("_restore")
def test_a_tenant_has_one_backup_at_a_time() -> None:
    runs = [waiting(1, kind="export_backup"), waiting(2, kind="restore"), waiting(3, "globex", kind="export_backup")]
    assert chosen(runs) == ["run-001", "run-003"]


@pytest.mark.usefixtures("_restore")
def test_a_tenants_backup_waits_for_its_running_restore() -> None:
    held = [Lease("run-000", "acme", "restore", "worker")]
    assert chosen([waiting(1, kind="export_backup")], held) == []


def test_large_exports_of_one_tenant_do_not_hold_up_its_small_ones() -> None:
    held = [Lease(f"run-90{n}", "acme", "export", "worker") for n in range(3)]
    assert chosen([waiting(1, lane="worker"), waiting(2)], held, budget=8) == ["run-002"]


def test_long_runs_leave_one_place_to_short_ones() -> None:
    backups = [waiting(n, tenant=f"t{n}", kind="export_backup") for n in range(6)]
    assert chosen([*backups, waiting(9)], budget=4) == ["run-000", "run-001", "run-002", "run-009"]


def test_a_budget_of_one_still_lets_backups_run() -> None:
    assert chosen([waiting(1, kind="export_backup")], budget=1) == ["run-001"]


def test_a_run_that_waits_for_its_next_attempt_is_passed_over() -> None:
    later = rfc3339(NOW + timedelta(seconds=20))
    assert chosen([waiting(1, not_before=later), waiting(2)]) == ["run-002"]
    assert chosen([waiting(1, not_before=rfc3339(NOW))]) == ["run-001"]


def test_a_run_that_holds_a_lease_is_not_started_again() -> None:
    assert chosen([waiting(1)], [Lease("run-001", "acme", "export", None)]) == []


def test_manual_runs_queue_before_scheduled_ones_and_older_before_newer() -> None:
    runs = [waiting(1, trigger="schedule"), waiting(3), waiting(2)]
    assert [run.id for run in sorted(runs, key=queue_place)] == ["run-002", "run-003", "run-001"]


def shared(number: int, tenant: str = "", **more: Any) -> Run:
    made = waiting(number, tenant or f"t{number}", kind="export_backup", trigger="schedule")
    return made.model_copy(update={"may_share": True, **more})


def places(runs: list[Run], held: list[Lease] | None = None, budget: int = 4) -> list[list[str]]:
    chosen = choose(runs, held or [], budget=budget, exports_per_tenant=3, now=NOW)
    return [[run.id for run in together] for together in chosen]


def test_small_scheduled_backups_take_one_place_together() -> None:
    runs = [shared(1), waiting(2), shared(3), waiting(4, "t4", kind="export_backup"), shared(5)]
    assert places(runs) == [["run-001", "run-003", "run-005"], ["run-002"], ["run-004"]]
    assert places(runs, budget=1) == [["run-001", "run-003", "run-005"]]


def test_more_than_fit_take_the_next_place_and_leave_one_to_short_runs() -> None:
    sizes = [len(together) for together in places([shared(number) for number in range(1, 400)])]
    assert sizes == [MOST_TOGETHER] * 3


def test_a_tenant_is_in_a_batch_once_and_not_while_it_has_another_exclusive_run() -> None:
    assert places([shared(1, "acme"), shared(2, "acme"), shared(3)]) == [["run-001", "run-003"]]
    held = [Lease("batch-x", "", "export_backup", "worker", {"run-900": "acme", "run-003": "t3"})]
    assert places([shared(1, "acme"), shared(2), shared(3)], held) == [["run-002"]]


def test_a_run_shares_no_third_attempt() -> None:
    assert places([shared(1), shared(2, tries=SHARED_TRIES)]) == [["run-001"], ["run-002"]]


def test_runs_of_a_kind_that_shares_nothing_stay_alone() -> None:
    runs = [waiting(number).model_copy(update={"may_share": True}) for number in (1, 2)]
    assert places(runs) == [["run-001"], ["run-002"]]


runs_strategy = st.lists(
    st.builds(
        waiting,
        number=st.integers(0, 999),
        tenant=st.sampled_from(["acme", "acme2", "globex"]),
        kind=st.sampled_from(["export", "export_backup", "restore"]),
        lane=st.sampled_from([None, "inline", "worker"]),
    ),
    unique_by=lambda run: run.id,
    max_size=30,
)


@given(runs_strategy, st.integers(1, 8), st.integers(1, 4))
def test_whatever_waits_the_limits_hold(runs: list[Run], budget: int, exports: int) -> None:
    found = choose(runs, [], budget=budget, exports_per_tenant=exports, now=NOW)
    started = [lease_of(run) for together in found for run in together]
    assert len(started) <= budget
    assert sum(lease.in_worker for lease in started) <= max(1, budget - 1)
    assert all(n <= 1 for n in Counter(lease.tenant for lease in started if lease.kind != "export").values())
    large = Counter(lease.tenant for lease in started if lease.kind == "export" and lease.in_worker)
    assert all(n <= exports for n in large.values())


@given(runs_strategy, st.integers(1, 8))
def test_as_long_as_there_is_a_place_a_small_export_starts(runs: list[Run], budget: int) -> None:
    started = [run for [run] in choose(runs, [], budget=budget, exports_per_tenant=3, now=NOW)]
    small_left = [run for run in runs if run not in started and not lease_of(run).in_worker]
    assert not small_left or len(started) == budget
