"""Executions stopped, doubled, lost; the stream and the clock coming twice, late, and at once."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from stowage.aws.table import encode
from stowage.runs.record import waiting_list
from tests.faults.run_surface import Json, Runs, eventually, gone

type Locking = Callable[[], AbstractContextManager[None]]
LONG_AGO = "2026-01-01T00:00:00.000Z"


def at_once(call: Callable[[], object], times: int) -> None:
    with ThreadPoolExecutor(times) as pool:
        for future in [pool.submit(call) for _ in range(times)]:
            future.result()


def test_a_stopped_execution_is_settled_and_tried_again(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        worker = runs.worker(run_id)
        runs.stop_execution(run_id)
        eventually(lambda: worker not in runs.workers(run_id), "the worker is gone", 5)
    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert runs.executions(run_id, "ABORTED") == [f"{run_id}-1"]


def test_an_execution_stopped_while_the_manifest_is_written_leaves_a_whole_artifact(runs: Runs) -> None:
    held = runs.hold("s3", "PutObject", "manifest.json", late=1)
    run_id = runs.backup()
    held.reached()
    eventually(lambda: len(runs.objects(runs.record(run_id))) == 2, "the manifest is there")
    runs.stop_execution(run_id)

    assert runs.ends(run_id, "completed")["attempt"] == 1
    eventually(lambda: not runs.workers(run_id), "the worker is gone", 5)
    runs.leaves_nothing(run_id)


def test_an_execution_stopped_while_it_changes_its_lease_leaves_no_lease(runs: Runs) -> None:
    held = runs.hold("dynamodb", "TransactWriteItems", '"LEASES"', skip=1, delay=1)
    run_id = runs.export(format="parquet")
    held.reached()
    runs.stop_execution(run_id)

    assert runs.ends(run_id, "completed")["attempt"] == 2


def test_a_worker_whose_execution_timed_out_stops_by_itself(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        worker = runs.worker(run_id)
        given = json.dumps({"tenant": "zoo", "run_id": run_id, "attempt": 1})
        detail = {"status": "TIMED_OUT", "name": f"{run_id}-1", "input": given, "cause": None}
        runs.invoke("OnExecutionEndedFunction", {"detail": detail})
        eventually(lambda: gone(worker), "the worker has ended", 5)
    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert run["attempts"][0]["error"] == "The run took longer than it may."


def test_a_second_execution_of_an_attempt_has_no_say_over_it(runs: Runs, holding_dumps: Locking) -> None:
    name = f"by-hand-{uuid.uuid4()}"
    with holding_dumps():
        run_id = runs.backup("zoo")
        dump = runs.dump("zoo")
        given = f'{{"attempt": 1, "run_id": "{run_id}", "tenant": "zoo"}}'
        runs.stepfunctions.start_execution(stateMachineArn=runs.machine, name=name, input=given)
        arn = runs.execution_arn(name)
        describe = runs.stepfunctions.describe_execution
        eventually(lambda: describe(executionArn=arn)["status"] == "FAILED", "it fails")

        again = runs.stepfunctions.start_execution(stateMachineArn=runs.machine, name=f"{run_id}-1", input=given)
        assert again["executionArn"] == runs.execution_arn(f"{run_id}-1")
        assert runs.record(run_id)["status"] == "running"
        assert runs.dump("zoo") == dump
    assert runs.ends(run_id, "completed")["attempt"] == 1


def test_an_execution_that_ends_settles_every_run_it_speaks_for(runs: Runs) -> None:
    """And the runs' earlier executions have no say any more, nor does one that cannot be found hold up the others."""
    held = [runs.hold("ecs", "RunTask", delay=5) for _ in range(2)]
    run_ids = [runs.backup("globex"), runs.backup("initech")]
    for each in held:
        each.reached()
    name = f"batch-{uuid.uuid4()}"
    members = [{"tenant": runs.record(each)["tenant"], "run_id": each, "attempt": 1} for each in run_ids]
    unknown = {"tenant": "globex", "run_id": str(uuid.uuid4()), "attempt": 1}
    item = {"pk": f"EXECUTION#{name}", "sk": "MEMBERS", "members": [unknown, *members]}
    runs.dynamodb.put_item(TableName=runs.table, Item={key: encode(value) for key, value in item.items()})
    for each in run_ids:
        runs.change(each, execution=name)
    detail = {"status": "TIMED_OUT", "name": name, "input": json.dumps(unknown), "cause": None}

    runs.invoke("OnExecutionEndedFunction", {"detail": detail})

    assert [len(runs.record(each)["attempts"]) for each in run_ids] == [1, 1]
    for each in run_ids:
        run = runs.ends(each, "completed")
        assert (run["attempt"], run["execution"]) == (2, f"{each}-2")
        assert run["attempts"][0]["error"] == "The run took longer than it may."


@pytest.mark.long(but="members")
@pytest.mark.parametrize("lost", ["execution", "members"])
def test_a_run_that_the_version_before_had_launched_comes_to_its_end(runs: Runs, lost: str) -> None:
    """Its record does not name its execution, and nothing else tells for whom the execution speaks."""
    held = runs.hold("ecs", "RunTask", delay=1)
    run_id = runs.backup()
    held.reached()
    key = {"pk": encode(f"EXECUTION#{run_id}-1"), "sk": encode("MEMBERS")}
    runs.dynamodb.delete_item(TableName=runs.table, Key=key)
    if lost == "execution":
        runs.change(run_id, execution=None)

    assert runs.ends(run_id, "completed")["attempt"] == 1


def change_of(run: Json) -> Json:
    """A run's creation as the stream tells it."""
    asked = run | {"status": "pending", "attempt": 0, "tries": 0, "due_list": waiting_list(run["database"])}
    image = {name: encode(value) for name, value in asked.items()}
    record = {"SequenceNumber": "1", "NewImage": image}
    return {"Records": [{"eventName": "INSERT", "dynamodb": record}, {"eventName": "INSERT", "dynamodb": record}]}


def test_a_stream_that_delivers_twice_starts_a_run_once(runs: Runs) -> None:
    run_id = runs.backup()
    event = change_of(runs.record(run_id))
    at_once(lambda: runs.invoke("OnTableChangeFunction", event), 4)
    run = runs.ends(run_id, "completed")
    runs.invoke("OnTableChangeFunction", event)

    assert run["attempt"] == 1
    assert runs.executions(run_id) == [f"{run_id}-1"]


def test_ticks_at_once_start_and_settle_each_run_once(runs: Runs) -> None:
    run_ids = [runs.backup("globex"), runs.backup("initech"), runs.export("zoo")]
    at_once(runs.tick, 4)
    for run_id in run_ids:
        assert runs.ends(run_id, "completed")["attempt"] == 1
        assert runs.executions(run_id) == [f"{run_id}-1"]
    at_once(runs.tick, 2)
    for run_id in run_ids:
        runs.leaves_nothing(run_id)


def test_a_launched_run_whose_start_was_lost_is_started_by_the_clock(runs: Runs) -> None:
    limit = {"__type": "ExecutionLimitExceeded", "message": "A fault."}
    held = runs.hold("states", "StartExecution", status=400, body=limit)
    run_id = runs.backup()
    held.reached()
    eventually(lambda: runs.record(run_id)["due_list"] == "ACTIVE", "it is launched")
    assert runs.executions(run_id) == []
    runs.change(run_id, due_at=LONG_AGO)
    runs.tick()

    assert runs.ends(run_id, "completed")["attempt"] == 1


@pytest.mark.long(but="claimed")
@pytest.mark.parametrize("claimed", [1, None], ids=["claimed", "not_claimed"])
def test_a_run_whose_execution_vanished_is_settled_by_the_clock(
    runs: Runs, holding_dumps: Locking, claimed: int | None
) -> None:
    with holding_dumps():
        runs.backup("zoo")
        run_id = runs.backup("zoo")
        runs.cancel(run_id)
        # As after a disaster: the table remembers an attempt that nobody else knows of.
        runs.change(
            run_id, status="running", attempt=1, tries=1, claimed=claimed, cancel_requested=False,
            completed_at=None, due_list="ACTIVE", due_at=LONG_AGO, attempt_started_at=LONG_AGO,
        )  # fmt: skip
        runs.change_progress(run_id, status="running", attempt=1)
    runs.tick()

    assert runs.ends(run_id, "completed")["attempt"] == (2 if claimed else 1)


def test_a_tick_does_its_work_although_one_run_is_beyond_it(runs: Runs) -> None:
    broken, run_id = runs.logs(), runs.export("zoo")
    for each in (broken, run_id):
        runs.ends(each, "completed")
    runs.change(broken, expires_at=LONG_AGO, due_at=LONG_AGO)
    runs.change(run_id, expires_at=LONG_AGO, due_at=LONG_AGO)
    denied = "<Error><Code>AccessDenied</Code><Message>A fault.</Message></Error>"
    runs.hold("s3", "ListMultipartUploads", broken, status=403, body=denied)
    with pytest.raises(AssertionError, match="errorType"):  # its alarm has to know
        runs.tick()
    assert runs.record(run_id)["expired_at"]
    runs.tick()
    assert runs.record(broken)["expired_at"]
    assert runs.objects(runs.record(broken)) == []
