"""Custom resources: their functions run at every start, as CloudFormation runs them at a deployment."""

import json
import threading
import uuid
from typing import Any

from local.aws_server import AwsServer
from local.configuration import ACCOUNT, REGION
from local.console import StartError
from local.functions import Functions
from local.identities import STACK

type Json = Any


def create(logical_id: str, resource: Json, functions: Functions, server: AwsServer, endpoint_url: str) -> None:
    """Invoke the function and wait for its answer; StartError with the reason that it gives for failing.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html
    """
    properties = resource["Properties"]
    function = functions[properties["ServiceToken"]]
    answered = threading.Event()
    answer: dict[str, Any] = {}

    def receive(body: Json) -> None:
        answer.update(body)
        answered.set()

    event = {
        "RequestType": "Create",
        "RequestId": str(uuid.uuid4()),
        "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/local",
        "ResponseURL": endpoint_url + server.expect_answer(receive),
        "ResourceType": resource["Type"],
        "LogicalResourceId": logical_id,
        "ServiceToken": properties["ServiceToken"],
        "ResourceProperties": _strings(properties),
    }
    outcome = functions.invoke(function, json.dumps(event).encode())
    if outcome.error:
        raise StartError(f"{logical_id}: {function.logical_id} failed: {outcome.describe()}")
    if not answered.wait(5):
        raise StartError(f"{logical_id}: {function.logical_id} ended without an answer to its ResponseURL")
    if answer.get("Status") != "SUCCESS":
        raise StartError(f"{logical_id}: {answer.get('Reason', 'failed without a reason')}")


def _strings(node: Json) -> Json:
    """CloudFormation turns every value into a string."""
    if isinstance(node, dict):
        return {key: _strings(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_strings(value) for value in node]
    return str(node).lower() if isinstance(node, bool) else str(node)
