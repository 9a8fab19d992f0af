"""What hangs is ended: by the worker's own watchdog, with the database's lock wait and the clock behind it."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.conftest import Api, LocalStack, RunningStack, make_home
from tests.faults.run_surface import Runs, eventually, gone, kill

STALE_SECONDS = 5
"""The template's least; the watchdog looks every five seconds, so it acts within ten."""
TOLD = f"Nothing had moved for {STALE_SECONDS} seconds."


@pytest.fixture(scope="module")
def impatient() -> Iterator[RunningStack]:
    """A stack that takes a run for hanging after a few seconds."""
    home = make_home()
    stack = LocalStack(home, STOWAGE_PARAMETER_StaleSeconds=str(STALE_SECONDS), STOWAGE_PARAMETER_RetrySeconds="1")
    try:
        yield stack.start()
    finally:
        stack.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def hanging(impatient: RunningStack) -> Iterator[Runs]:
    """The runs of that stack."""
    with Api(impatient.api_url, impatient.tokens["admin"]) as admin:
        clients = [impatient.aws(name) for name in ("dynamodb", "s3", "stepfunctions")]
        runs = Runs(impatient, admin, *clients)
        yield runs
        for client in clients:
            client.close()


@contextmanager
def locked(stack: RunningStack) -> Iterator[Callable[[], None]]:
    """Within the block, or until the function that it gives is called, pg_dump of the zoo waits for a lock."""
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("LOCK TABLE ONLY tenant_zoo.events IN ACCESS EXCLUSIVE MODE")
        yield connection.rollback


def sessions(runs: Runs) -> list[tuple[str]]:
    """What sessions of dumps the server has."""
    with runs.connect("stowage_dump") as connection:
        return connection.execute(
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'pg_dump %'"
        ).fetchall()


def test_a_dump_that_waits_for_a_lock_is_ended_and_made_again(hanging: Runs, impatient: RunningStack) -> None:
    with locked(impatient):
        run_id = hanging.backup("zoo")
        dump, worker = hanging.dump("zoo"), hanging.worker(run_id)
        eventually(lambda: gone(worker) and gone(dump), "the worker has ended itself and pg_dump", 20)
        eventually(lambda: hanging.record(run_id)["attempts"], "the attempt is settled")
    run = hanging.ends(run_id, "completed")

    assert run["attempts"][0]["error"] == TOLD
    assert run["attempt"] == 2
    assert sessions(hanging) == []


@pytest.mark.long
def test_a_dump_that_is_stopped_in_its_midst_is_ended_and_made_again(hanging: Runs, impatient: RunningStack) -> None:
    with locked(impatient) as release:
        run_id = hanging.backup("zoo")
        dump, worker = hanging.dump("zoo"), hanging.worker(run_id)
        kill(dump, signal.SIGSTOP)
        release()
        eventually(lambda: gone(worker) and gone(dump), "the worker has ended itself and pg_dump", 20)
    run = hanging.ends(run_id, "completed")

    assert run["attempts"][0]["error"] == TOLD
    assert run["attempt"] == 2
    eventually(lambda: sessions(hanging) == [], "the server has no session of it left", 5)


def test_a_run_that_always_hangs_has_failed_after_its_attempts(hanging: Runs, impatient: RunningStack) -> None:
    with locked(impatient):
        run_id = hanging.backup("zoo")
        run = hanging.reaches(run_id, "failed", seconds=60)
        assert [attempt["error"] for attempt in run["attempts"]] == [TOLD] * 3
        hanging.leaves_nothing(run_id)
    assert hanging.job(run_id)["last_error"] == TOLD
