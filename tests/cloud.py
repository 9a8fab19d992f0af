"""A cloud in this process: the template's table, bucket and queue in moto, for rules that need no stack."""

import io
import itertools
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto import mock_aws
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models, responses
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.expressions import UpdateExpressionParser

from local import mends_tables
from local.http_server import Request, Response
from local.mends import roll_back_only_what_a_transaction_touched, take_attributes_as_they_are
from local.shared_loader import share_loader
from stowage import tenants
from stowage.aws import clients
from stowage.aws.table import encode
from stowage.settings import settings
from tests.structure.deployed_template import source

type Json = Any
_CLIENTS = (
    clients._session, clients.s3, clients.dynamodb, clients.sqs, clients.stepfunctions, clients.lambda_client,
    clients.sesv2, clients.secretsmanager,
)  # fmt: skip


share_loader()


class Cloud:
    """What the product finds, and how often it asks the table."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.items_read = 0
        events = clients.dynamodb().meta.events
        events.register("after-call.dynamodb", self._count)
        events.unregister("before-send", botocore_stubber)
        events.register("before-send.dynamodb", _answer)
        clients.s3().meta.events.register_first("before-send.s3", _as_bytes)

    def _count(self, model: Any, parsed: Json, **_: Any) -> None:
        self.calls[model.name] += 1
        self.items_read += parsed.get("ScannedCount", 1 if "Item" in parsed else 0)

    @contextmanager
    def reading(self) -> Iterator["Cloud"]:
        """Count anew."""
        self.calls.clear()
        self.items_read = 0
        yield self

    @property
    def writes(self) -> int:
        """How many calls wrote something."""
        return sum(n for name, n in self.calls.items() if name not in ("GetItem", "Query"))

    def fill(self, items: Iterable[Json]) -> None:
        """Put items in the table, many at once."""
        for batch in itertools.batched(items, 25, strict=False):
            puts = [{"PutRequest": {"Item": {name: encode(value) for name, value in item.items()}}} for item in batch]
            clients.dynamodb().batch_write_item(RequestItems={settings().table: puts})

    def add_function(self, name: str) -> None:
        """A function that may be called."""
        role = clients._session().create_client("iam").create_role(RoleName=f"of-{name}", AssumeRolePolicyDocument="{}")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("none.py", "def app(event, context): ...")
        clients.lambda_client().create_function(
            FunctionName=name, Role=role["Role"]["Arn"], Runtime="python3.13", Handler="none.app",
            Code={"ZipFile": code.getvalue()},
        )  # fmt: skip

    def items(self) -> list[Json]:
        """Every item of the table, typed as DynamoDB gives it."""
        pages = clients.dynamodb().get_paginator("scan").paginate(TableName=settings().table)
        return [item for page in pages for item in page["Items"]]

    def messages(self, queue: str = "wake") -> list[str]:
        """The bodies of the messages that wait in a queue."""
        url = {"wake": settings().wake_queue, "ended": settings().ended_queue}[queue]
        found = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [message["Body"] for message in found.get("Messages", [])]


@contextmanager
def cloud(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> Iterator[Cloud]:
    """This process as a function of a deployment of its own, with an empty table."""
    with monkeypatch.context() as patch, mock_aws(config={"lambda": {"use_docker": False}}):
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _quicken(patch)
        _forget()
        table = source()["Resources"]["Table"]["Properties"]
        names = ("AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes", "BillingMode")
        clients.dynamodb().create_table(TableName="stowage", **{name: table[name] for name in names})
        clients.s3().create_bucket(Bucket="exports")
        clients.s3().create_bucket(Bucket="backups", ObjectLockEnabledForBucket=True)
        machine = clients.stepfunctions().create_state_machine(
            name="runs",
            definition='{"StartAt": "Plan", "States": {"Plan": {"Type": "Pass", "End": true}}}',
            roleArn="arn:aws:iam::123456789012:role/runs",
        )["stateMachineArn"]
        queue = clients.sqs().create_queue(QueueName="wake")["QueueUrl"]
        ended = clients.sqs().create_queue(QueueName="ended")["QueueUrl"]
        set_here = {
            "TABLE": "stowage", "EXPORTS_BUCKET": "exports", "BACKUPS_BUCKET": "backups", "WAKE_QUEUE": queue,
            "ENDED_QUEUE": ended,
            "STATE_MACHINE": machine, **parameters,
        }  # fmt: skip
        for name, value in set_here.items():
            patch.setenv(f"STOWAGE_{name}", value)
        settings.cache_clear()
        try:
            yield Cloud()
        finally:
            _forget()
            settings.cache_clear()


def _quicken(patch: pytest.MonkeyPatch) -> None:
    """What the local stack mends in moto's table, until the test ends."""
    for owner, name in (
        (BaseJSONSerializer, "_serialize_type_structure"),
        (models, "copy"),
        (models, "UpdateExpressionExecutor"),
        (models, "UpdateExpressionValidator"),
        (models.DynamoDBBackend, "transact_write_items"),
        (responses, "UpdateExpressionParser"),
        (UpdateExpressionParser, "make"),
        (ConditionExpressionParser, "parse"),
        (ConditionExpressionParser, "_lex_condition_expression"),
        (DynamoType, "__eq__"),
        (DynamoType, "cast_value"),
        (DynamoType, "size"),
        (Item, "__init__"),
        (Item, "__deepcopy__"),
        (Table, "query"),
    ):
        patch.setattr(owner, name, getattr(owner, name))
    take_attributes_as_they_are()
    roll_back_only_what_a_transaction_touched()
    mends_tables.apply()


def _answer(request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
    """A call of the table, as the local stack answers it."""
    body = request.body.encode() if isinstance(request.body, str) else bytes(request.body)
    headers = [(name, text(value)) for name, value in request.headers.items()]
    asked = Request("POST", "/", headers, "", len(body), io.BytesIO(), body)
    operation = asked.header("x-amz-target").rpartition(".")[2]
    missed = Response(0)
    answer = mends_tables.call(operation, asked, lambda: missed)
    if answer is missed:
        return botocore_stubber(event_name, request)
    return AWSResponse(request.url, answer.status, dict(answer.headers), MockRawResponse(answer.body))


def text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def _as_bytes(request: Any, **_: Any) -> None:
    """In one process moto takes no other buffers."""
    if isinstance(request.body, bytearray | memoryview):
        request.body = bytes(request.body)


def _forget() -> None:
    for client in _CLIENTS:
        client.cache_clear()
    tenants._known.clear()
