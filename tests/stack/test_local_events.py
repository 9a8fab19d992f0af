"""Streams, queues, rules and tasks of the local cloud deliver as AWS's do."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.clock import seconds_of
from local.console import StartError
from local.event_patterns import matches
from local.function_pool import Outcome, failure
from local.functions import Function
from local.queues import Queues
from local.streams import Streams
from tests.conftest import RunningStack

FUNCTION = Function("Listener", "listener", "handler", 3, 128, ())


def wait_until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


class ScriptedFunctions:
    """Functions that answer as scripted, then with success, and keep their events."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = deque(outcomes)
        self.batches: list[list[Any]] = []

    def __getitem__(self, key: str) -> Function:
        return FUNCTION

    def call(self, function: Function, event: Any) -> Outcome:
        self.batches.append(event["Records"])
        return self.outcomes.popleft() if self.outcomes else Outcome("", b"null")


def numbers(batch: list[Any]) -> list[str]:
    return [record["dynamodb"]["SequenceNumber"] for record in batch]


def stream(functions: Any, records: list[Any], sent: list[Any], **properties: Any) -> Streams:
    def drain(table: str) -> list[Any]:
        taken, records[:] = list(records), []
        return taken

    made = Streams(functions, drain, lambda arn, body: sent.append((arn, json.loads(body))))
    mapping = {"FunctionName": "Listener", "EventSourceArn": "arn:table/stream", "BatchSize": 10} | properties
    made.add(mapping, "table")
    made.start()
    made.written()
    return made


def records(count: int, status: str = "pending") -> list[Any]:
    return [
        {"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(n), "NewImage": {"status": {"S": status}}}}
        for n in range(count)
    ]


def test_a_stream_retries_from_the_first_failed_record() -> None:
    functions = ScriptedFunctions(Outcome("", b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'))
    made = stream(functions, records(3), [], FunctionResponseTypes=["ReportBatchItemFailures"])
    wait_until(lambda: len(functions.batches) == 2)
    made.stop()
    assert [numbers(batch) for batch in functions.batches] == [["0", "1", "2"], ["1", "2"]]


def test_a_stream_gives_up_after_its_retries_and_tells_the_failure_queue() -> None:
    functions, sent = ScriptedFunctions(*[failure("Error", "x")] * 3), list[Any]()
    options = {"MaximumRetryAttempts": 2, "DestinationConfig": {"OnFailure": {"Destination": "arn:queue"}}}
    made = stream(functions, records(2), sent, **options)
    wait_until(lambda: sent)
    made.stop()
    assert len(functions.batches) == 3
    assert sent[0][0] == "arn:queue"
    assert sent[0][1]["DDBStreamBatchInfo"]["batchSize"] == 2


def test_a_bisecting_stream_finds_the_record_that_fails() -> None:
    class FailingOnOne(ScriptedFunctions):
        def call(self, function: Function, event: Any) -> Outcome:
            super().call(function, event)
            return failure("Error", "x") if "2" in numbers(event["Records"]) else Outcome("", b"null")

    functions, sent = FailingOnOne(), list[Any]()
    options = {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": {"Destination": "arn:queue"}}}
    made = stream(functions, records(4), sent, BisectBatchOnFunctionError=True, **options)
    wait_until(lambda: sent)
    made.stop()
    assert sent[0][1]["DDBStreamBatchInfo"] | {"streamArn": ""} == {
        "streamArn": "",
        "startSequenceNumber": "2",
        "endSequenceNumber": "2",
        "batchSize": 1,
    }


def test_a_stream_without_partial_responses_ignores_what_the_function_answers() -> None:
    functions = ScriptedFunctions(Outcome("", b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'))
    written = records(3)
    made = stream(functions, written, [], BatchSize=2)
    wait_until(lambda: len(functions.batches) == 2)
    made.stop()
    assert [numbers(batch) for batch in functions.batches] == [["0", "1"], ["2"]]


def test_a_stream_splits_a_failing_batch_before_it_gives_up() -> None:
    """Splitting counts as no retry."""
    functions, sent = ScriptedFunctions(failure("Error", "x"), failure("Error", "x")), list[Any]()
    options = {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": "arn:queue"}}}
    made = stream(functions, records(2), sent, BisectBatchOnFunctionError=True, **options)
    wait_until(lambda: len(functions.batches) == 3)
    made.stop()
    assert [numbers(batch) for batch in functions.batches] == [["0", "1"], ["0"], ["1"]]
    assert [message["DDBStreamBatchInfo"]["startSequenceNumber"] for _, message in sent] == ["0"]


def test_a_stream_passes_only_what_its_filters_match() -> None:
    functions = ScriptedFunctions()
    pattern = json.dumps({"dynamodb": {"NewImage": {"status": {"S": ["done"]}}}})
    written = [*records(2), *records(1, "done")]
    made = stream(functions, written, [], FilterCriteria={"Filters": [{"Pattern": pattern}]})
    wait_until(lambda: functions.batches)
    made.stop()
    assert [len(batch) for batch in functions.batches] == [1]


def test_a_queue_deletes_only_what_succeeded() -> None:
    waiting = [{"messageId": str(n), "receiptHandle": f"h{n}", "body": "{}"} for n in range(3)]
    deleted: list[str] = []
    done = threading.Event()

    def receive(name: str, count: int) -> list[Any]:
        taken, waiting[:] = list(waiting), []
        return taken

    def delete(name: str, handle: str) -> None:
        deleted.append(handle)
        if len(deleted) == 2:
            done.set()

    functions: Any = ScriptedFunctions(Outcome("", b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'))
    queues = Queues(functions, receive, delete)
    mapping = {
        "FunctionName": "Listener",
        "EventSourceArn": "arn:q",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    queues.add(mapping)
    queues.start()
    queues.sent()
    assert done.wait(3)
    queues.stop()
    assert deleted == ["h0", "h2"]


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": ["x"]}, {"a": "x"}, True),
        ({"a": ["x"]}, {"a": "y"}, False),
        ({"a": ["x"]}, {"a": ["y", "x"]}, True),
        ({"a": [True]}, {"a": 1}, False),
        ({"a": [{"prefix": "RUN#"}]}, {"a": "RUN#1"}, True),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": [{"exists": True}]}, {}, False),
        ({"a": {"b": [{"exists": False}]}}, {}, True),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "x"}, False),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "z"}, True),
        ({"a": [{"anything-but": ["x"]}]}, {}, False),
        ({"a": [{"numeric": [">", 1, "<=", 5]}]}, {"a": 5}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {"b": "x"}, True),
    ],
)
def test_patterns_match_as_eventbridge_does(pattern: Any, event: Any, expected: bool) -> None:
    assert matches(pattern, event) is expected


def test_the_clock_knows_rates_and_refuses_the_rest() -> None:
    assert [seconds_of(each) for each in ("rate(1 minute)", "rate(2 hours)")] == [60, 7200]
    with pytest.raises(StartError, match="cron"):
        seconds_of("cron(0 0 * * ? *)")


def test_a_message_that_no_function_takes_ends_in_the_dead_letters(stack: RunningStack) -> None:
    sqs = stack.aws("sqs")
    dead = sqs.create_queue(QueueName="test-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName="test-live", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})[
        "QueueUrl"
    ]
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    for _ in range(2):
        assert wait_until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        time.sleep(0.01)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "poison"
    sqs.close()


def run_task(ecs: Any, stack: RunningStack, **environment: str) -> Any:
    override = {
        "name": "worker",
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
    }
    return ecs.run_task(
        cluster=stack.resources["Cluster"],
        taskDefinition=stack.resources["WorkerTaskDefinition"],
        launchType="FARGATE",
        overrides={"containerOverrides": [override]},
    )


def test_a_task_is_a_process_and_its_end_is_told(stack: RunningStack) -> None:
    ecs = stack.aws("ecs")
    [task] = run_task(ecs, stack, STOWAGE_RUN_ID="none", STOWAGE_ATTEMPT="1")["tasks"]

    def stopped() -> Any:
        [now] = ecs.describe_tasks(cluster=stack.resources["Cluster"], tasks=[task["taskArn"]])["tasks"]
        return now if now["lastStatus"] == "STOPPED" else None

    ended = wait_until(stopped, 10)
    assert ended["stopCode"] == "EssentialContainerExited"
    assert isinstance(ended["containers"][0]["exitCode"], int)
    ecs.close()


def test_a_task_that_cannot_start_says_why(stack: RunningStack, faults: Callable[..., None]) -> None:
    faults({"service": "ecs", "operation": "RunTask", "not_started": "CannotPullContainerError: no such image"})
    ecs = stack.aws("ecs")
    [task] = run_task(ecs, stack)["tasks"]
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "TaskFailedToStart")
    assert "CannotPullContainerError" in task["stoppedReason"]
    ecs.close()


def test_a_fault_comes_as_often_as_asked(stack: RunningStack, dynamodb: Any, faults: Callable[..., None]) -> None:
    faults(
        {
            "service": "dynamodb",
            "operation": "GetItem",
            "times": 5,
            "status": 400,
            "body": {"__type": "Boom", "message": "x"},
        }
    )
    key = {"pk": {"S": "x"}, "sk": {"S": "y"}}
    with pytest.raises(ClientError, match="Boom"):
        dynamodb.get_item(TableName=stack.resources["Table"], Key=key)


MACHINE = {
    "StartAt": "Work",
    "States": {
        "Work": {
            "Type": "Task",
            "Resource": "arn:aws:states:::ecs:runTask.sync",
            "Parameters": {"Cluster": "", "TaskDefinition": "", "LaunchType": "FARGATE"},
            "End": True,
        }
    },
}


@pytest.fixture
def machine(stack: RunningStack, stepfunctions: Any) -> Any:
    """A state machine that runs the worker's task without a run, which makes the worker fail."""
    definition = json.loads(json.dumps(MACHINE))
    parameters = definition["States"]["Work"]["Parameters"]
    parameters |= {"Cluster": stack.resources["Cluster"], "TaskDefinition": stack.resources["WorkerTaskDefinition"]}
    role = "arn:aws:iam::123456789012:role/any"
    made = stepfunctions.create_state_machine(
        name=f"test-{time.time_ns()}", definition=json.dumps(definition), roleArn=role
    )
    yield made["stateMachineArn"]
    stepfunctions.delete_state_machine(stateMachineArn=made["stateMachineArn"])


def outcome_of(stepfunctions: Any, machine: str) -> Any:
    arn = stepfunctions.start_execution(stateMachineArn=machine, name=f"e{time.time_ns()}", input="{}")["executionArn"]

    def ended() -> Any:
        state = stepfunctions.describe_execution(executionArn=arn)
        return state if state["status"] != "RUNNING" else None

    return wait_until(ended, 15)


def test_a_failed_task_fails_its_state_with_the_task_as_cause(stepfunctions: Any, machine: str) -> None:
    state = outcome_of(stepfunctions, machine)
    assert (state["status"], state["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(state["cause"])
    assert cause["StopCode"] == "EssentialContainerExited"
    assert cause["Containers"][0]["ExitCode"] != 0


def test_a_task_that_never_starts_fails_its_state(
    stepfunctions: Any, machine: str, faults: Callable[..., None]
) -> None:
    faults({"service": "ecs", "operation": "RunTask", "not_started": "CannotPullContainerError: no such image"})
    state = outcome_of(stepfunctions, machine)
    assert (state["status"], state["error"]) == ("FAILED", "States.TaskFailed")
    assert "CannotPullContainerError" in state["cause"]


def test_failures_of_run_task_fail_its_state(stepfunctions: Any, machine: str, faults: Callable[..., None]) -> None:
    failures = {"tasks": [], "failures": [{"arn": "arn:aws:ecs:x", "reason": "RESOURCE:MEMORY"}]}
    faults({"service": "ecs", "operation": "RunTask", "status": 200, "body": failures})
    state = outcome_of(stepfunctions, machine)
    assert (state["status"], state["error"]) == ("FAILED", "AmazonECS.Unknown")
    assert "RESOURCE:MEMORY" in state["cause"]


def test_stopping_an_execution_stops_its_task(
    stack: RunningStack, admin: Any, stepfunctions: Any, faults: Callable[..., None]
) -> None:
    faults({"service": "s3", "operation": "CreateMultipartUpload", "delay": 30})
    job = admin.post("/api/backup/export", json={"project_id": "acme2"}).json()["data"]["job_id"]
    machine, cluster = stack.resources["RunStateMachine"], stack.resources["Cluster"]
    ecs = stack.aws("ecs")

    def task_of_job() -> Any:
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        return next((task for task in tasks if job in json.dumps(task["overrides"])), None)

    task = wait_until(task_of_job)
    executions = stepfunctions.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
    [arn] = [each["executionArn"] for each in executions if job in each["name"]]
    stepfunctions.stop_execution(executionArn=arn, error="Test", cause="stopped by a test")
    state = stepfunctions.describe_execution(executionArn=arn)
    assert (state["status"], state["error"], state["cause"]) == ("ABORTED", "Test", "stopped by a test")

    def stopped() -> Any:
        [now] = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
        return now if now["lastStatus"] == "STOPPED" else None

    assert wait_until(stopped, 12)["stopCode"] == "UserInitiated"
    ecs.close()


def test_an_item_reaches_the_functions_of_its_stream_at_once(stack: RunningStack, dynamodb: Any) -> None:
    log = stack.home / "logs" / "functions.log"
    before = log.stat().st_size
    written = time.monotonic()
    key = {"pk": {"S": f"NOTE#test-{time.time_ns()}"}, "sk": {"S": "NOTE"}}
    dynamodb.put_item(TableName=stack.resources["Table"], Item=key)
    assert wait_until(lambda: log.stat().st_size > before)
    assert time.monotonic() - written < 1
    dynamodb.delete_item(TableName=stack.resources["Table"], Key=key)


def test_the_clock_of_the_template_ticks(stack: RunningStack) -> None:
    """Every schedule of the template fires a second after the start, the clock of runs among them."""
    log = stack.home / "logs" / "functions.log"
    deadline = time.monotonic() + 70
    while '"ACTIVE":' not in log.read_text():
        assert time.monotonic() < deadline, "the clock has not ticked"
        time.sleep(0.2)
