"""What moto 5.2.5 does otherwise than AWS, or too slowly to use, mended.

`tests/unit/test_moto_mends.py` tells when moto has mended one itself.
"""

import copy
import datetime
import functools
import json
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local import mends_tables
from local.shared_loader import share_loader

type Json = Any
MOST_EXECUTIONS = 500
"""So many that have ended are remembered for each state machine; each takes about 50 kB."""


@dataclass
class Hooks:
    """What the rest of the local stack does where moto's engine only pretends."""

    wait_for_task: Callable[[str, float], Json | None]
    """(task ARN, seconds) → the stopped task, or None when the seconds are over."""
    stop_task: Callable[[str, str], None]
    """(task ARN, reason)."""
    execution_changed: Callable[[Json], None]
    """An execution started or ended."""


def apply(hooks: Hooks, endpoint_url: str) -> None:
    """Mend moto in this process, before its server is built."""
    share_loader()
    leave_out_instance_types()
    execute_state_machines()
    wait_for_ecs_tasks(hooks)
    stop_executions_at_once(hooks)
    tell_execution_changes(hooks)
    reuse_engine_clients(endpoint_url)
    roll_back_only_what_a_transaction_touched()
    keep_stream_out_of_lambda()
    list_modules_once()
    forget_what_is_gone()
    forget_old_executions()
    take_attributes_as_they_are()
    parse_a_definition_once()
    parse_a_path_once()
    mends_tables.apply()


def leave_out_instance_types() -> None:
    """The ECS and Step Functions of moto import its EC2, which reads all types of instances that there are:
    half a second of each start, for what no part of the product asks for.
    """
    from moto.utilities import utils

    load = utils.load_resource

    def load_resource(resource: str) -> Any:
        if resource.startswith("ec2/resources/instance_type"):
            return {} if resource.endswith("instance_types.json") else []
        return load(resource)

    utils.load_resource = load_resource


def execute_state_machines() -> None:
    """Run state machines: by default moto only stores them."""
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"]["execute_state_machine"] = True


def _recase(change: Callable[[str], str], node: Json) -> Json:
    if isinstance(node, dict):
        return {change(key[0]) + key[1:]: _recase(change, value) for key, value in node.items()}
    return [_recase(change, value) for value in node] if isinstance(node, list) else node


def _replace(target: Json, new: Json) -> None:
    if isinstance(target, dict):
        target.clear()
        target.update(new)


def wait_for_ecs_tasks(hooks: Hooks) -> None:
    """`ecs:runTask.sync`: parameters in ASL's case, failed tasks fail the state, no polling, stopped with the state."""
    from botocore.exceptions import ClientError
    from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import (
        StateTaskServiceEcs,
    )
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    service: Any = StateTaskServiceEcs

    def failure(self: Any, env: Any, name: str, cause: str) -> FailureEvent:
        states_name = name == "States.TaskFailed"
        return FailureEvent(
            env=env,
            error_name=StatesErrorName(StatesErrorNameType.StatesTaskFailed) if states_name else CustomErrorName(name),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(
                taskFailedEventDetails=TaskFailedEventDetails(
                    error=name, cause=cause, resource=self._get_sfn_resource(), resourceType="ecs"
                )
            ),
        )

    def lower(self: Any, parameters: Json, *_: Any) -> None:
        _replace(parameters, _recase(str.lower, parameters))

    def upper(self: Any, response: Json, *_: Any, **__: Any) -> None:
        _replace(response, _recase(str.upper, response))

    run = service._eval_service_task

    def run_task(self: Any, env: Any, **arguments: Any) -> None:
        try:
            run(self, env=env, **arguments)
        except (IndexError, KeyError) as error:
            # moto looks into an answer without tasks. AWS calls this AmazonECS.Unknown, with the answer as its cause.
            raise FailureEventException(failure(self, env, "AmazonECS.Unknown", self.run_failures)) from error

    normalise = upper

    def keep_failures(self: Any, response: Json, *_: Any, **__: Any) -> None:
        normalise(self, response)
        if isinstance(response, dict) and response.get("Failures"):
            self.run_failures = json.dumps({"failures": _recase(str.lower, response["Failures"]), "tasks": []})

    def wait(
        self: Any, env: Any, sync_resolver: Any, timeout_seconds: Any, callback_endpoint: Any, heartbeat_endpoint: Any
    ) -> Json:
        task_arn = sync_resolver.task_arn
        while env.is_running():
            task = hooks.wait_for_task(task_arn, 0.25)
            if task is None:
                continue
            description = _recase(str.upper, task)
            if any(container.get("ExitCode") != 0 for container in description["Containers"]):
                return FailureEventException(failure(self, env, "States.TaskFailed", json.dumps(description)))
            return description
        hooks.stop_task(task_arn, "The Step Functions execution or state that started this task has ended.")
        return None

    def resolver(self: Any, env: Any, **_: Any) -> Any:
        [task] = env.stack.pop()["Tasks"]
        return types.SimpleNamespace(task_arn=task["TaskArn"])

    from_error = service._from_error

    def name_as_aws(self: Any, env: Any, ex: Exception) -> Any:
        if isinstance(ex, ClientError):
            return failure(self, env, "ECS." + ex.response["Error"]["Code"], str(ex))
        return from_error(self, env=env, ex=ex)

    service.run_failures = ""
    service._normalise_parameters = lower
    service._normalise_response = keep_failures
    service._eval_service_task = run_task
    service._build_sync_resolver = resolver
    service._eval_sync = wait
    service._from_error = name_as_aws


def stop_executions_at_once(hooks: Hooks) -> None:
    """StopExecution: ABORTED at once, with error and cause. moto's stays RUNNING, then is FAILED without them."""
    from moto.core.responses import ActionResult
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
    from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
    from moto.stepfunctions.responses import StepFunctionResponse

    set_error = Environment.set_error

    def unless_stopped(self: Any, error: Any) -> None:
        if not isinstance(self._program_state, ProgramStopped):
            set_error(self, error)

    def stop(self: Any) -> ActionResult:
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.exec_status == ExecutionStatus.RUNNING:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not _runs(execution):
                time.sleep(0.005)
            now = datetime.datetime.now(tz=datetime.UTC)
            execution.error, execution.cause = self._get_param("error"), self._get_param("cause")
            execution.exec_worker.stop(stop_date=now, error=execution.error, cause=execution.cause)
            execution.exec_status, execution.stop_date = ExecutionStatus.ABORTED, now
            hooks.execution_changed(execution)
        return ActionResult({"stopDate": execution.stop_date})

    reflect = BaseExecutionWorkerCommunication._reflect_execution_status

    def unless_aborted(self: Any) -> None:
        if self.execution.exec_status != ExecutionStatus.ABORTED:
            reflect(self)

    Environment.set_error = unless_stopped
    StepFunctionResponse.stop_execution = stop
    BaseExecutionWorkerCommunication._reflect_execution_status = unless_aborted


def _runs(execution: Any) -> bool:
    return bool(execution.exec_worker and execution.exec_worker.env and execution.exec_worker.env.is_running())


def tell_execution_changes(hooks: Hooks) -> None:
    """AWS sends an event when an execution starts and ends; moto does not."""
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution

    start, terminated = Execution.start, BaseExecutionWorkerCommunication.terminated

    def started(self: Any) -> None:
        start(self)
        hooks.execution_changed(self)

    def ended(self: Any) -> None:
        aborted = self.execution.exec_status == ExecutionStatus.ABORTED
        terminated(self)
        if not aborted:
            hooks.execution_changed(self.execution)

    Execution.start = started
    BaseExecutionWorkerCommunication.terminated = ended


def reuse_engine_clients(endpoint_url: str) -> None:
    """The state machine engine makes a boto3 client per state (10 ms each), and for `localhost`."""
    import boto3
    from botocore.config import Config
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_ecs,
        state_task_service_lambda,
    )

    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106

    @functools.cache
    def client(region: str, service: str) -> Any:
        config = Config(
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            connect_timeout=10,
            read_timeout=1000,
            max_pool_connections=50,
        )
        return session.client(service, region_name=region, endpoint_url=endpoint_url, config=config)

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return client(region, service)

    for module in (lambda_eval_utils, state_task_service_ecs, state_task_service_lambda):
        if hasattr(module, "boto_client_for"):
            module.boto_client_for = boto_client_for


def roll_back_only_what_a_transaction_touched() -> None:
    """A transaction copies the whole table, and where it fails puts the copy back over what others wrote since."""
    from moto.dynamodb import models
    from moto.dynamodb.models.table import Table

    def deepcopy(value: Any, memo: Any = None) -> Any:
        return value if isinstance(value, Table) else copy.deepcopy(value, memo)

    models.copy = types.SimpleNamespace(copy=copy.copy, deepcopy=deepcopy)
    transact = models.DynamoDBBackend.transact_write_items

    def transact_write_items(self: Any, transact_items: list[Json]) -> None:
        before, shards = [], {}
        for entry in transact_items:
            operation = next(iter(entry.values()))
            table = self.tables.get(operation.get("TableName"))
            if table is None:
                continue
            shards[table.name] = table.stream_shard and len(table.stream_shard.items)
            key = operation.get("Key") or operation.get("Item", {})
            names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
            if all(name in key for name in names):
                only_key = {name: key[name] for name in names}
                before.append((table, only_key, copy.deepcopy(self.get_item(table.name, only_key))))
        try:
            transact(self, transact_items)
        except Exception:
            for table, key, item in before:
                _put_back(self, table, key, item)
            for name, length in shards.items():
                if length is not None:
                    del self.tables[name].stream_shard.items[length:]
            raise

    models.DynamoDBBackend.transact_write_items = transact_write_items


def _put_back(backend: Any, table: Any, key: Json, item: Any) -> None:
    hash_value, range_value = backend.get_keys_value(table, key)
    if range_value is None:
        if item is None:
            table.items.pop(hash_value, None)
        else:
            table.items[hash_value] = item
    elif item is None:
        table.items[hash_value].pop(range_value, None)
    else:
        table.items[hash_value][range_value] = item


def keep_stream_out_of_lambda() -> None:
    """Each write to a table with a stream imports and asks moto's Lambda; our own loops read the stream."""
    from moto.dynamodb.models.table import StreamRecord, StreamShard

    def add(self: Any, old: Any, new: Any) -> None:
        if old is not None and new is not None and old == new:
            # DynamoDB Streams has no record of a write that changed nothing.
            return
        view = self.table.stream_specification["StreamViewType"]
        name = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
        sequence = self.starting_sequence_number + len(self.items)
        self.items.append(StreamRecord(self.table, view, name, old, new, sequence))

    StreamShard.add = add


def forget_what_is_gone() -> None:
    """Moto keeps every object that it has ever made, for a page that shows them: 1 MB for each run."""
    from moto.core.common_models import BaseModel

    def new(cls: Any, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    BaseModel.__new__ = new


def forget_old_executions() -> None:
    """Moto keeps every execution with its history, and looks for one among all; AWS forgets them after 90 days."""
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.backend.execution import Execution
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    start = Execution.start

    def start_and_forget(self: Any) -> None:
        start(self)
        for machine in stepfunctions_parser_backends[self.account_id][self.region_name].state_machines:
            ended = [each for each in machine.executions if each.exec_status != ExecutionStatus.RUNNING]
            for execution in ended[:-MOST_EXECUTIONS]:
                machine.executions.remove(execution)

    Execution.start = start_and_forget


def list_modules_once() -> None:
    """Each request makes moto list its folders and inspect its classes."""
    import moto.backends
    import moto.core.responses
    import moto.core.utils

    names = frozenset(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: names
    cached = functools.cache(moto.core.utils.method_names_from_class)
    for module in (moto.core.utils, moto.core.responses):
        module.method_names_from_class = cached


def take_attributes_as_they_are() -> None:
    """In each attribute of an item, moto looks for every type that DynamoDB has, under several
    names each. That was half of the stack's processor time; an attribute says its type.
    """
    from moto.core.serialize import BaseJSONSerializer

    of_any_shape = BaseJSONSerializer._serialize_type_structure

    def serialize(self: Any, serialized: Json, value: Any, shape: Any, key: str) -> None:
        if shape.name != "AttributeValue" or not isinstance(value, dict):
            of_any_shape(self, serialized, value, shape, key)
            return
        attribute: Json = {}
        for type_name, content in value.items():
            self._serialize(attribute, content, shape.members[type_name], type_name)
        self._default_serialize(serialized, attribute, shape, key)

    BaseJSONSerializer._serialize_type_structure = serialize


def parse_a_definition_once() -> None:
    """Each execution parses its state machine anew, which takes longer than all of its steps."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

    @functools.cache
    def program(definition: str) -> Any:
        return AmazonStateLanguageParser.parse(definition)[0]

    def entrypoint(self: Any) -> Any:
        return copy.deepcopy(program(self._evaluation_details.state_machine_details.definition))

    ExecutionWorker._get_evaluation_entrypoint = entrypoint


def parse_a_path_once() -> None:
    """Each parameter of a state makes the parser of paths anew, and its tables with it."""
    import moto.stepfunctions.parser.asl.component.common.path.result_path as results
    import moto.stepfunctions.parser.asl.utils.json_path as paths

    for module in (results, paths):
        module.parse = functools.cache(module.parse)
