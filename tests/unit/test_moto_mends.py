"""Each mend of local/mends.py is still needed: these fail when moto does what AWS does."""

import gc
import inspect
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import moto.backends
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.config import default_user_config
from moto.core.serialize import BaseJSONSerializer, XFormedAttributePicker
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodb.parsing.validators import UpdateExpressionValidator

from local.configuration import ROOT
from local.mends import take_attributes_as_they_are

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.fixture
def table(aws: None) -> Any:
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return client


def test_a_transaction_is_not_known_again_by_its_token(table: Any) -> None:
    put = {"Put": {"TableName": "t", "Item": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(pk)"}}
    table.transact_write_items(TransactItems=[put], ClientRequestToken="same")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        table.transact_write_items(TransactItems=[put], ClientRequestToken="same")


def test_state_machines_are_not_executed_by_default() -> None:
    assert default_user_config["stepfunctions"]["execute_state_machine"] is False


def test_a_task_of_ecs_ends_well_whatever_its_exit_code() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_ecs

    source = inspect.getsource(state_task_service_ecs)
    assert "exitCode" not in source
    assert "ExitCode" not in source


def test_parameters_of_ecs_are_not_brought_into_its_case() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import (
        StateTaskServiceEcs,
    )

    assert "_normalise_parameters" not in vars(StateTaskServiceEcs)


def test_tasks_of_ecs_are_asked_for_twice_a_second() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback

    assert state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK == 0.5


def test_a_stopped_execution_is_not_aborted_at_once_with_its_cause() -> None:
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client = boto3.client("stepfunctions", region_name=REGION)
        wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3, "End": True}}}
        machine = client.create_state_machine(name="m", definition=json.dumps(wait), roleArn=ROLE)["stateMachineArn"]
        arn = client.start_execution(stateMachineArn=machine, name="e", input="{}")["executionArn"]
        time.sleep(0.2)
        client.stop_execution(executionArn=arn, error="Stopped", cause="because")
        state = client.describe_execution(executionArn=arn)
        assert (state["status"], state.get("error"), state.get("cause")) != ("ABORTED", "Stopped", "because")


def test_the_end_of_an_execution_is_no_event() -> None:
    from moto.stepfunctions.parser.backend import execution

    assert "Execution Status Change" not in inspect.getsource(execution)


def test_the_engine_makes_a_client_per_state(aws: None) -> None:
    from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

    assert boto_client_for(REGION, "sqs") is not boto_client_for(REGION, "sqs")


def test_a_failed_transaction_puts_the_whole_table_back(table: Any) -> None:
    before = dynamodb_backends[ACCOUNT][REGION].tables["t"]
    refused = {"TableName": "t", "Key": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_exists(pk)"}
    with pytest.raises(ClientError, match="TransactionCanceled"):
        table.transact_write_items(TransactItems=[{"ConditionCheck": refused}])
    assert dynamodb_backends[ACCOUNT][REGION].tables["t"] is not before


def test_a_write_that_changes_nothing_is_in_the_stream(table: Any) -> None:
    for _ in range(2):
        table.put_item(TableName="t", Item={"pk": {"S": "a"}})
    shard = dynamodb_backends[ACCOUNT][REGION].tables["t"].stream_shard
    assert shard is not None
    assert len(shard.items) == 2


def test_everything_that_was_ever_made_is_kept(table: Any) -> None:
    from moto.dynamodb.models.table import StreamRecord

    table.put_item(TableName="t", Item={"pk": {"S": "a"}})
    before = len(StreamRecord.instances_tracked)
    assert before > 0
    table.delete_table(TableName="t")
    gc.collect()
    assert len(StreamRecord.instances_tracked) >= before


def test_every_execution_is_remembered() -> None:
    from moto.stepfunctions.parser import models

    assert "executions.append" in inspect.getsource(models)
    assert "executions.remove" not in inspect.getsource(models)


def test_modules_are_listed_anew_for_each_request() -> None:
    assert moto.backends.list_of_moto_modules() is not moto.backends.list_of_moto_modules()


def test_an_attribute_is_looked_for_under_each_type(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mend is for time alone: with it, an item of every type comes back as without."""
    item = {
        "pk": {"S": "a"},
        "number": {"N": "1.5"},
        "bytes": {"B": b"\0\1"},
        "flag": {"BOOL": False},
        "nothing": {"NULL": True},
        "map": {"M": {"inner": {"L": [{"S": ""}, {"M": {}}, {"N": "0"}]}, "empty": {"L": []}}},
        "texts": {"SS": ["x", "y"]},
        "numbers": {"NS": ["1", "2"]},
        "all_bytes": {"BS": [b"x"]},
    }
    table.put_item(TableName="t", Item=item)
    asked: list[str] = []
    pick = XFormedAttributePicker.__call__

    def counted(self: Any, context: Any) -> Any:
        asked.append(context.key)
        return pick(self, context)

    monkeypatch.setattr(XFormedAttributePicker, "__call__", counted)
    without = table.get_item(TableName="t", Key={"pk": {"S": "a"}})["Item"]
    looks = len(asked)
    monkeypatch.setattr(BaseJSONSerializer, "_serialize_type_structure", BaseJSONSerializer._serialize_type_structure)
    take_attributes_as_they_are()
    assert table.get_item(TableName="t", Key={"pk": {"S": "a"}})["Item"] == without == item
    assert looks > 100 > len(asked) - looks


def test_an_execution_parses_its_definition_anew() -> None:
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

    assert "parse(" in inspect.getsource(ExecutionWorker._get_evaluation_entrypoint)


def test_a_path_into_the_state_is_parsed_anew_each_time() -> None:
    from moto.stepfunctions.parser.asl.utils import json_path

    assert json_path.parse("$.a") is not json_path.parse("$.a")


def test_an_update_is_parsed_and_validated_anew_each_time(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = UpdateExpressionParser.make
    monkeypatch.setattr(UpdateExpressionParser, "make", lambda text: made.append(text) or make(text))
    validate = UpdateExpressionValidator.validate
    monkeypatch.setattr(UpdateExpressionValidator, "validate", lambda self: made.append("valid") or validate(self))
    for _ in range(2):
        table.update_item(
            TableName="t",
            Key={"pk": {"S": "a"}},
            UpdateExpression="SET n = :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )
    assert made == ["SET n = :n", "SET n = :n", "valid", "valid", "SET n = :n", "SET n = :n", "valid"]


def test_the_quick_table_answers_as_moto_does() -> None:
    """The mends of mends_tables.py are for time alone: in a process of their own, because they stay."""
    command = [sys.executable, "-c", "from tests.unit.table_requests import main; main()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    moto_alone, mended = json.loads(done.stdout)
    assert len(moto_alone) > 200
    assert mended == moto_alone


def test_instances_of_every_type_are_read_at_an_import() -> None:
    from moto.ec2.models import instance_types

    assert 'load_resource("ec2/resources/instance_types.json")' in inspect.getsource(instance_types)
