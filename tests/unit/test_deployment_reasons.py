"""What CloudFormation is told of a deployment step."""

import json
from datetime import datetime

import pytest

from stowage.basics.errors import MisconfiguredError
from stowage.entry.deployment import on_deployment
from tests.conftest import free_ports
from tests.stack.backend import Backend

EVENT = {"RequestType": "Create", "LogicalResourceId": "Migration", "StackId": "s", "RequestId": "r"}


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "SUCCESS", ""),
        (MisconfiguredError("The tenant's database does not exist.", "database_missing"), "FAILED",
         "The tenant's database does not exist."),
        (ValueError("a password"), "FAILED", "ValueError: see the function's log."),
    ],
)  # fmt: skip
def test_a_step_that_fails_says_why_where_it_may(error: Exception | None, status: str, reason: str) -> None:
    def work(_now: datetime) -> None:
        if error:
            raise error

    cloud_formation = Backend(free_ports(1)[0])
    cloud_formation.start()
    try:
        on_deployment(work)(EVENT | {"ResponseURL": cloud_formation.url}, None)
    finally:
        cloud_formation.stop()
    [received] = cloud_formation.received[""]
    told = json.loads(received.body)
    assert (received.method, told["Status"], told["Reason"]) == ("PUT", status, reason)
