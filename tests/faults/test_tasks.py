"""Tasks that never start, start twice, or come back from the dead."""

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import pytest

from tests.faults.run_surface import Runs, eventually, kill

type Locking = Callable[[], AbstractContextManager[None]]


def test_an_image_that_cannot_be_pulled_is_told_and_tried_again(runs: Runs) -> None:
    runs.hold("ecs", "RunTask", not_started="CannotPullContainerError: pull image manifest has been retried 5 times")
    run = runs.ends(runs.backup(), "completed")

    assert run["attempts"][0]["error"] == "The worker's image could not be pulled."
    assert run["attempt"] == 2


def test_no_capacity_for_a_task_is_told_and_tried_again(runs: Runs) -> None:
    failures = {"tasks": [], "failures": [{"arn": "arn:aws:ecs:instance", "reason": "RESOURCE:MEMORY"}]}
    runs.hold("ecs", "RunTask", status=200, body=failures)
    run = runs.ends(runs.backup(), "completed")

    assert run["attempts"][0]["error"] == "There was no capacity to start the worker."
    assert run["attempt"] == 2


def test_transient_failures_end_a_run_after_three_attempts_further_and_further_apart(runs: Runs) -> None:
    runs.hold("ecs", "RunTask", not_started="ResourceInitializationError: unable to pull secrets", times=3)
    run = runs.ends(run_id := runs.backup(), "failed")

    assert runs.job(run_id)["attempts"] == runs.job(run_id)["max_attempts"] == 3
    assert runs.job(run_id)["last_error"] == "The worker could not reach what it needs to start."
    starts = [attempt["started_at"] for attempt in run["attempts"]]
    ends = [attempt["ended_at"] for attempt in run["attempts"]]
    waits = [datetime.fromisoformat(starts[n]) - datetime.fromisoformat(ends[n - 1]) for n in (1, 2)]
    assert timedelta() < waits[0] < waits[1]

    assert runs.completes_when_retried(run_id)["attempt"] == 4


def test_a_second_worker_leaves_without_touching_anything(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        dump = runs.dump("zoo")
        second = runs.second_worker(run_id)

        assert second.wait(90) == 0
        assert runs.dumps("zoo") == [dump]
        assert len(runs.uploads(runs.record(run_id))) == 1
    assert runs.ends(run_id, "completed")["attempt"] == 1


def test_a_worker_of_a_run_that_is_not_there_leaves(runs: Runs) -> None:
    assert runs.second_worker("01a1f835-9db1-7703-8864-1906cb06ac7b").wait(90) == 0


@pytest.mark.long(but=["UploadPart-/globex/", "PutObject-manifest.json"])
@pytest.mark.parametrize(
    ("operation", "contains"),
    [("UploadPart", "/globex/"), ("CompleteMultipartUpload", "/globex/"), ("PutObject", "manifest.json")],
)
def test_a_zombie_loses_and_nothing_of_it_remains(runs: Runs, operation: str, contains: str) -> None:
    started = runs.hold("ecs", "RunTask", delay=30)
    run_id = runs.backup()
    started.reached()
    held = runs.hold("s3", operation, contains, delay=1, drop="before")
    zombie = runs.second_worker(run_id)
    held.reached()
    zombie.send_signal(signal.SIGSTOP)
    runs.release()
    run = runs.reaches(run_id, "completed")
    outcome = run["outcome"]

    zombie.send_signal(signal.SIGCONT)
    zombie.wait(90)

    # What it wrote at its very last moment stays until the sweep.
    runs.change(run_id, due_at="2026-01-01T00:00:00.000Z")
    runs.tick()
    run = runs.ends(run_id, "completed")
    assert run["attempt"] == 2
    assert run["outcome"] == outcome
    assert "due_list" not in run, "retention says when it goes"


def test_a_zombie_in_mid_dump_loses_and_nothing_of_it_remains(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        worker = runs.worker(run_id)
        kill(worker, signal.SIGSTOP)
        runs.stop_execution(run_id)
        eventually(lambda: runs.record(run_id)["attempt"] == 2, "the second attempt")
    run = runs.reaches(run_id, "completed")

    kill(worker, signal.SIGCONT)

    assert runs.ends(run_id, "completed")["outcome"] == run["outcome"]


def test_a_worker_that_hangs_is_noticed_by_the_clock(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        worker = runs.worker(run_id)
        kill(worker, signal.SIGSTOP)
        long_ago = "2026-01-01T00:00:00.000Z"
        time.sleep(0.2)
        runs.dynamodb.update_item(
            TableName=runs.table,
            Key={"pk": {"S": f"RUN#{run_id}"}, "sk": {"S": "PROGRESS"}},
            UpdateExpression="SET reported_at = :then",
            ExpressionAttributeValues={":then": {"N": "0"}},
        )
        runs.change(run_id, due_at=long_ago, attempt_started_at=long_ago)
        runs.tick()
        eventually(lambda: runs.record(run_id)["attempt"] == 2, "the second attempt")
    kill(worker, signal.SIGCONT)

    assert runs.ends(run_id, "completed")["attempt"] == 2
