"""Whatever is killed, whenever: no part of a run becomes an artifact, and the next attempt makes a whole one."""

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest

import pytest

from tests.faults.run_surface import Runs, eventually, gone, kill

type Locking = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Step:
    """A call of the worker's that is one step of the commit protocol; `contains` is found in that call alone."""

    name: str
    service: str
    operation: str
    contains: str

    def __str__(self) -> str:
        return self.name


STEPS = [
    Step("claim", "dynamodb", "UpdateItem", '"claimed"'),
    Step("create_upload", "s3", "CreateMultipartUpload", "/globex/"),
    Step("keep_upload", "dynamodb", "UpdateItem", '"upload_id"'),
    Step("first_part", "s3", "UploadPart", "/globex/"),
    Step("source_whole", "dynamodb", "UpdateItem", '"Storing."'),
    Step("complete", "s3", "CompleteMultipartUpload", "/globex/"),
    Step("head", "s3", "HeadObject", "/globex/"),
    Step("verifying", "s3", "GetObject", "/globex/"),
    Step("recording", "dynamodb", "UpdateItem", '"recording"'),
    Step("manifest", "s3", "PutObject", "manifest.json"),
]


KILLED = "The worker was killed, probably for want of memory."


def by_two(*names: str) -> list[tuple[Step, ...]]:
    """Steps for one run each: the first attempt dies at the earlier one, the second at the later."""
    steps = [step for step in STEPS if step.name in names]
    half = (len(steps) + 1) // 2
    return [tuple(filter(None, pair)) for pair in zip_longest(steps[:half], steps[half:])]


def joined(steps: tuple[Step, ...]) -> str:
    return "-".join(map(str, steps))


@pytest.mark.long(but=["create_upload-head", "source_whole-manifest"])
@pytest.mark.parametrize("steps", by_two(*(step.name for step in STEPS)), ids=joined)
def test_a_worker_killed_before_a_step_is_followed_by_another_attempt(runs: Runs, steps: tuple[Step, ...]) -> None:
    held = [runs.hold(step.service, step.operation, step.contains, delay=0.8, drop="before") for step in steps]
    run_id = runs.backup()
    for each in held:
        each.reached()
        kill(runs.worker(run_id))

    run = runs.ends(run_id, "completed")

    assert [attempt.get("error") for attempt in run["attempts"]] == [KILLED for _ in steps] + [None]


CHANGES = ["claim", "create_upload", "keep_upload", "first_part", "complete"]


@pytest.mark.long(but="create_upload-complete")
@pytest.mark.parametrize("steps", by_two(*CHANGES), ids=joined)
def test_a_worker_killed_before_it_learns_of_a_step_is_followed_by_another_attempt(
    runs: Runs, steps: tuple[Step, ...]
) -> None:
    held = [runs.hold(step.service, step.operation, step.contains, late=0.8) for step in steps]
    run_id = runs.backup()
    for each in held:
        each.reached()
        time.sleep(0.3)
        kill(runs.worker(run_id))

    assert runs.ends(run_id, "completed")["attempt"] == 1 + len(steps)


def test_a_worker_killed_after_its_manifest_was_written_has_made_the_artifact(runs: Runs) -> None:
    held = runs.hold("s3", "PutObject", "manifest.json", late=0.8)
    run_id = runs.backup()
    held.reached()
    time.sleep(0.3)
    kill(runs.worker(run_id))

    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 1
    assert "error" not in run["attempts"][0]


def test_a_killed_pg_dump_never_becomes_a_backup(runs: Runs) -> None:
    held = runs.hold("s3", "UploadPart", "/acme/", delay=0.8)
    run_id = runs.backup("acme", compress=False)
    held.reached()
    kill(runs.dump("acme"))

    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert run["attempts"][0]["error"] == "pg_dump was killed (Killed)."


def test_the_dump_of_a_killed_worker_is_gone_with_it(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        dump = runs.dump("zoo")
        kill(runs.worker(run_id))
        eventually(lambda: gone(dump), "pg_dump is gone", 5)

    assert runs.ends(run_id, "completed")["attempt"] == 2


def test_a_worker_stopped_in_mid_call_does_not_take_that_for_a_network_error(runs: Runs) -> None:
    held = runs.hold("dynamodb", "UpdateItem", '"Storing."', late=4)
    run_id = runs.backup()
    held.reached()
    worker = runs.worker(run_id)
    kill(worker, signal.SIGTERM)
    eventually(lambda: gone(worker), "the worker has ended", 3)
    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert run["attempts"][0]["error"] == "The worker was stopped."


def test_a_stopped_worker_cleans_up_and_exits_before_it_is_killed(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        kill(runs.worker(run_id), signal.SIGTERM)
        eventually(lambda: not runs.workers(run_id) and not runs.dumps("zoo"), "the worker has ended", 5)
    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert run["attempts"][0]["error"] == "The worker was stopped."
