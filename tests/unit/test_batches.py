"""Runs that share an execution, on a real table: launched, planned, looked after, cancelled and settled together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from stowage import jobs
from stowage.basics.errors import CancelledError, TransientRunError
from stowage.runs import clock, react
from stowage.runs.change import cancel_run, retry_run
from stowage.runs.dispatch import dispatch, free_lost_leases, read_leases
from stowage.runs.executions import members_of
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.plan import SHARED_MAX_BYTES, WAIT, plan_together
from stowage.runs.record import Estimate, Run
from stowage.runs.settle import Ending, settle_execution
from stowage.runs.store import change_run, create_run, read_run
from tests.cloud import Cloud, cloud

NOW = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
TENANTS = ("acme", "globex", "initech")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def due(tenant: str, **more: Any) -> Run:
    """A small scheduled backup that waits."""
    run = Run(
        id=f"01a225da-8d81-7eca-8594-{TENANTS.index(tenant):012}", tenant=tenant, kind=EXPORT_BACKUP.name,
        database="main", trigger="schedule", may_share=True, requested_by="schedule", created_at="2026-11-29T02:00:00Z",
        spec={"format": "sql", "compress": True, "file_name": "f.sql", "schema": f"tenant_{tenant}"}, **more,
    )  # fmt: skip
    create_run(run, NOW, [])
    return run


def launched() -> tuple[str, list[Run]]:
    """The one execution of all of them, and their records."""
    runs = [due(tenant) for tenant in TENANTS]
    dispatch("main", NOW)
    runs = [again(run) for run in runs]
    [execution] = {str(run.execution) for run in runs}
    return execution, runs


def again(run: Run) -> Run:
    return read_run(run.tenant, run.id)


def planned(execution: str, sizes: Mapping[str, int] | None = None) -> str:
    """Have them planned; `sizes` in bytes by tenant."""

    def estimates(runs: Sequence[Run]) -> dict[str, Estimate]:
        return {run.id: Estimate(rows=1, bytes=(sizes or {}).get(run.tenant, 1000)) for run in runs}

    return plan_together(members_of(execution), execution, lambda _: estimates, NOW)


def test_they_take_one_place_and_free_it_when_all_have_ended(here: Cloud) -> None:
    execution, runs = launched()
    [lease] = read_leases("main").held
    assert lease.tenants == {run.id: run.tenant for run in runs}
    assert [run.sharers for run in runs] == [3, 3, 3]
    assert planned(execution) == "worker"
    assert free_lost_leases("main") == 0

    ended = settle_execution(execution, members_of(execution)[0], NOW, Ending("States.TaskFailed", ""))
    assert set(ended.values()) == {"pending"}
    assert read_leases("main").held == ()

    dispatch("main", NOW + timedelta(minutes=5))
    assert {again(run).execution for run in runs} == {f"batch-{runs[0].id}-2"}, "what failed for all is shared again"
    settle_execution(f"batch-{runs[0].id}-2", members_of(execution)[0], NOW + timedelta(minutes=6))
    dispatch("main", NOW + timedelta(minutes=59))
    assert {again(run).execution for run in runs} == {f"{run.id}-3" for run in runs}, (
        "the last attempt is each one's own"
    )


def test_the_place_of_those_that_are_gone_is_found(here: Cloud) -> None:
    _, runs = launched()
    for run in runs[:2]:
        change_run(run, {"status": "failed"}, when={})
    assert free_lost_leases("main") == 0
    change_run(runs[2], {"status": "failed"}, when={})
    assert free_lost_leases("main") == 1


def test_one_that_has_grown_too_large_waits_for_an_execution_of_its_own(here: Cloud) -> None:
    execution, runs = launched()
    assert planned(execution, {"globex": SHARED_MAX_BYTES + 1}) == "worker"
    acme, globex, _ = map(again, runs)

    assert (acme.status, acme.lane) == ("running", "worker")
    assert (globex.status, globex.tries, globex.may_share) == ("pending", 0, False)
    settle_execution(execution, members_of(execution)[0], NOW, Ending("States.TaskFailed", ""))
    assert again(runs[1]).status == "pending"
    dispatch("main", NOW)
    assert again(runs[1]).execution == f"{globex.id}-2"


def test_where_all_are_too_large_the_execution_waits_and_its_place_is_free(here: Cloud) -> None:
    execution, _ = launched()
    assert planned(execution, dict.fromkeys(TENANTS, SHARED_MAX_BYTES + 1)) == WAIT
    assert read_leases("main").held == ()


def test_a_database_that_does_not_answer_is_everybodys_error(here: Cloud) -> None:
    execution, runs = launched()

    def fails(_: object) -> dict[str, Estimate]:
        raise TransientRunError("The connection to the database was lost.", "connection_lost")

    with pytest.raises(TransientRunError):
        plan_together(members_of(execution), execution, lambda _: fails, NOW)
    settle_execution(execution, members_of(execution)[0], NOW)
    assert [again(run).attempts[0].error for run in runs] == ["The connection to the database was lost."] * 3


def test_cancelling_one_stops_none_of_the_others(here: Cloud) -> None:
    execution, runs = launched()
    before = again(runs[1]).model_dump()
    cancelled = cancel_run(again(runs[1]), "ada", NOW)
    assert react.react([(before, cancelled.model_dump())], NOW) == 0
    assert planned(execution) == "worker"
    with (
        mock.patch.object(clock, "execution_status", return_value="RUNNING"),
        mock.patch.object(clock, "stop_execution") as stop,
    ):
        clock.look_after(again(runs[1]).model_dump(), NOW)
    stop.assert_not_called()

    settle_execution(execution, members_of(execution)[0], NOW)
    assert [again(run).status for run in runs] == ["pending", "cancelled", "pending"]


def test_where_all_are_cancelled_nothing_is_planned(here: Cloud) -> None:
    execution, runs = launched()
    for run in runs:
        cancel_run(again(run), "ada", NOW)
    with pytest.raises(CancelledError):
        planned(execution)


def test_the_clock_stops_an_execution_only_once_none_of_its_runs_moves(here: Cloud) -> None:
    execution, runs = launched()
    planned(execution)
    later = NOW + timedelta(hours=1)
    with (
        mock.patch.object(clock, "execution_status", return_value="RUNNING"),
        mock.patch.object(clock, "stop_execution") as stop,
    ):
        here.fill([{"pk": f"RUN#{runs[2].id}", "sk": "PROGRESS", "status": "running", "attempt": 1,
                    "reported_at": int(later.timestamp()), "tenant": "initech"}])  # fmt: skip
        clock.look_after(again(runs[0]).model_dump(), later)
        stop.assert_not_called()
        clock.look_after(again(runs[0]).model_dump(), later + timedelta(hours=1))
    stop.assert_called_once()


def test_an_execution_that_has_ended_unnoticed_is_settled_for_all(here: Cloud) -> None:
    execution, runs = launched()
    planned(execution)
    with mock.patch.object(clock, "execution_status", return_value="FAILED"):
        clock.look_after(again(runs[0]).model_dump(), NOW)
    assert [again(run).status for run in runs] == ["pending"] * 3
    assert read_leases("main").held == ()


def test_what_somebody_starts_anew_shares_nothing(here: Cloud) -> None:
    execution, runs = launched()
    cancel_run(again(runs[0]), "ada", NOW)
    settle_execution(execution, members_of(execution)[0], NOW)
    retried = retry_run(again(runs[0]), "ada", NOW)
    assert not retried.may_share
    assert react.react([(None, retried.model_dump())], NOW) == 1
    assert react.react([(None, due_again())], NOW) == 0, "the clock starts it with those of its minute"


def due_again() -> dict[str, Any]:
    with mock.patch(f"{__name__}.TENANTS", (*TENANTS, "umbrella")):
        run = due("umbrella")
    return again(run).model_dump()


def test_the_price_of_a_worker_is_shared_too(here: Cloud) -> None:
    execution, runs = launched()
    planned(execution)
    with mock.patch.object(jobs, "_cost", return_value=3.0):
        assert jobs.read_timeline(again(runs[0]), NOW).cost_usd == 1.0
