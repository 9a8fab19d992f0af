"""moto's own stores for our loops, without HTTP: queues, streams, task definitions, secrets."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

from local.aws_server import Moto
from local.configuration import ACCESS_KEY, ACCOUNT, REGION
from local.http_server import Request, Response

type Json = Any


class MotoQueues:
    """moto's queues for our loops, without HTTP."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto

    @staticmethod
    def _backend() -> Any:
        from moto.sqs.models import sqs_backends

        return sqs_backends[ACCOUNT][REGION]

    def receive(self, name: str, count: int) -> list[Json]:
        """Messages as Lambda's events have them."""
        with self._moto.locks["sqs"]:
            backend = self._backend()
            timeout = backend.get_queue(name).visibility_timeout
            messages = backend.receive_message(name, count, 0, timeout, ["All"])
            return [_record(message) for message in messages]

    def delete(self, name: str, receipt_handle: str) -> None:
        """Delete a message that is done."""
        with self._moto.locks["sqs"]:
            self._backend().delete_message(name, receipt_handle)

    def send(self, arn: str, body: str) -> None:
        """Put a message into the queue of that ARN."""
        with self._moto.locks["sqs"]:
            self._backend().send_message(arn.rpartition(":")[2], body)


def _record(message: Any) -> Json:
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(int(message.sent_timestamp)),
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": str(int(message.approximate_first_receive_timestamp or 0)),
        },
        "messageAttributes": {
            name: {"dataType": value["data_type"], "stringValue": value.get("string_value")}
            for name, value in message.message_attributes.items()
        },
        "md5OfBody": message.body_md5,
    }


class MotoTables:
    """moto's tables for the stream, without HTTP."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto

    def drain(self, name: str) -> list[Json]:
        """Take a table's new stream records, in order."""
        from moto.dynamodb.models import dynamodb_backends

        with self._moto.locks["dynamodb"]:
            shard = dynamodb_backends[ACCOUNT][REGION].tables[name].stream_shard
            records, shard.items = shard.items, []
            shard.starting_sequence_number += len(records)
        now = int(time.time())
        return [
            record.record | {"dynamodb": record.record["dynamodb"] | {"ApproximateCreationDateTime": now}}
            for record in records
        ]


def call_dynamodb(moto: Callable[[Request], Response], operation: str, body: bytes) -> Response:
    """An operation of DynamoDB as a request of ours."""
    headers = [
        ("host", "127.0.0.1"),
        ("x-amz-target", f"DynamoDB_20120810.{operation}"),
        ("authorization", f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/{REGION}/dynamodb/aws4_request"),
    ]
    return moto(Request("POST", "/", headers, "127.0.0.1", len(body), io.BufferedReader(io.BytesIO()), body))


def task_definition(moto: Moto, name: str) -> Json:
    """A registered task definition as DescribeTaskDefinition gives it."""
    from moto.ecs.models import ecs_backends

    with moto.locks["ecs"]:
        found = ecs_backends[ACCOUNT][REGION].describe_task_definition(name)
    return {
        "taskDefinitionArn": found.arn,
        "family": found.family,
        "cpu": found.cpu,
        "memory": found.memory,
        "containerDefinitions": found.container_definitions,
    }


def secret_value(reference: str) -> str:
    """What a container's secret refers to: an ARN, or `ARN:json-key::`."""
    from moto.secretsmanager.models import secretsmanager_backends

    parts = reference.split(":")
    value = secretsmanager_backends[ACCOUNT][REGION].get_secret_value(
        secret_id=":".join(parts[:7]), version_id="", version_stage=""
    )["SecretString"]
    return str(json.loads(value)[parts[7]]) if len(parts) > 7 and parts[7] else str(value)


def create_secret(name: str, value: str) -> str:
    """Make a secret; gives its ARN."""
    from moto.secretsmanager.models import secretsmanager_backends

    created = secretsmanager_backends[ACCOUNT][REGION].create_secret(
        name=name,
        secret_string=value,
        secret_binary=None,
        description=None,
        tags=[],
        kms_key_id=None,
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    return str(json.loads(created)["ARN"])
