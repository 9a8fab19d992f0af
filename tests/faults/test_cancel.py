"""Cancel in each state of a run: it ends as cancelled within five seconds, leaves nothing, and can be tried again."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.faults.run_surface import Json, Runs, eventually

type Locking = Callable[[], AbstractContextManager[None]]
SECONDS = 5.0


def cancels(runs: Runs, run_id: str) -> Json:
    """The record of a run that was cancelled now."""
    answer = runs.cancel(run_id)
    assert answer.status_code == 202, answer.text
    record = runs.reaches(run_id, "cancelled", seconds=SECONDS)
    runs.leaves_nothing(run_id)
    return record


def test_a_waiting_run_is_cancelled_at_once(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        first = runs.backup("zoo")
        runs.dump("zoo")
        run_id = runs.backup("zoo")
        answer = runs.cancel(run_id)
        assert answer.json()["data"]["status"] == "cancelled"
    runs.ends(first, "completed")
    assert runs.ends(run_id, "cancelled")["attempt"] == 0
    runs.completes_when_retried(run_id)


@pytest.mark.long(but=["launched", "worker_starting", "storing", "completed_unheard"])
@pytest.mark.parametrize(
    ("service", "operation", "contains", "fault"),
    [
        pytest.param("states", "StartExecution", "", {"delay": 1}, id="launched"),
        pytest.param("dynamodb", "UpdateItem", '"lane"', {"delay": 1}, id="planning"),
        pytest.param("ecs", "RunTask", "", {"delay": 1}, id="starting_a_task"),
        pytest.param("dynamodb", "UpdateItem", '"claimed"', {"delay": 2}, id="worker_starting"),
        pytest.param("s3", "UploadPart", "/globex/", {"delay": 2}, id="storing"),
        pytest.param("s3", "CompleteMultipartUpload", "/globex/", {"delay": 2}, id="completing"),
        pytest.param("s3", "CompleteMultipartUpload", "/globex/", {"late": 2}, id="completed_unheard"),
    ],
)
def test_a_backup_is_cancelled(runs: Runs, service: str, operation: str, contains: str, fault: Json) -> None:
    held = runs.hold(service, operation, contains, **fault)
    run_id = runs.backup()
    held.reached()

    assert cancels(runs, run_id)["attempt"] == 1
    runs.completes_when_retried(run_id)


def test_a_dump_is_cancelled_in_its_midst(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        cancels(runs, run_id)
    runs.completes_when_retried(run_id)


@pytest.mark.long(but="UploadPart")
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_an_inline_export_is_cancelled(runs: Runs, operation: str) -> None:
    held = runs.hold("s3", operation, "/globex/", delay=1.5)
    run_id = runs.export()
    held.reached()

    assert cancels(runs, run_id)["lane"] == "inline"
    runs.completes_when_retried(run_id)


def test_a_run_between_two_attempts_is_cancelled_at_once(runs: Runs) -> None:
    runs.hold("ecs", "RunTask", not_started="CannotPullContainerError: no such image")
    run_id = runs.backup()
    eventually(lambda: runs.record(run_id)["attempts"], "the first attempt has ended")

    assert cancels(runs, run_id)["due_list"] == "SWEEP"


def test_a_run_that_has_ended_is_not_cancelled(runs: Runs) -> None:
    run_id = runs.backup()
    runs.ends(run_id, "completed")

    assert runs.cancel(run_id).status_code == 409
    runs.leaves_nothing(run_id)


def test_a_cancel_that_comes_after_the_manifest_takes_the_artifact_away(runs: Runs) -> None:
    held = runs.hold("s3", "PutObject", "manifest.json", late=1.5)
    run_id = runs.backup()
    held.reached()
    eventually(lambda: len(runs.objects(runs.record(run_id))) == 2, "the manifest is there")

    cancels(runs, run_id)
