"""Items whose time to live is over go, others stay, and stream and journal know of it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.aws_server import Moto
from local.configuration import ACCOUNT, REGION
from local.expiry import OLDEST, Expiry
from local.http_server import Request, Response
from local.moto_services import call_dynamodb

NOW = 1_800_000_000
STAYS: dict[str, Any] = {
    "later": {"N": str(NOW + 1)},
    "this very second": {"N": str(NOW)},
    "none": None,
    "text": {"S": str(NOW - 10)},
    "older than five years": {"N": str(NOW - OLDEST - 10)},
    "zero": {"N": "0"},
    "negative": {"N": "-5"},
    "a list": {"L": [{"N": str(NOW - 10)}]},
}
GOES: dict[str, Any] = {
    "a second ago": {"N": str(NOW - 1)},
    "a year ago": {"N": str(NOW - 365 * 86400)},
    "with a fraction": {"N": f"{NOW - 10}.5"},
}

type Call = Callable[[str, Any], Any]


@pytest.fixture
def moto() -> Iterator[Moto]:
    from moto.dynamodb.models import dynamodb_backends

    dynamodb_backends[ACCOUNT][REGION].reset()
    yield Moto()
    dynamodb_backends[ACCOUNT][REGION].reset()


@pytest.fixture
def call(moto: Moto) -> Call:
    def ask(operation: str, request: Any) -> Any:
        answer = call_dynamodb(moto.locked("dynamodb"), operation, json.dumps(request).encode())
        assert answer.status == 200, answer.body
        return json.loads(answer.body or b"{}")

    return ask


def make_table(call: Call, name: str, keys: tuple[str, ...], time_to_live: str | None) -> None:
    call(
        "CreateTable",
        {
            "TableName": name,
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
            "KeySchema": [
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    if time_to_live:
        specification = {"AttributeName": time_to_live, "Enabled": True}
        call("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": specification})
    for about, value in (STAYS | GOES).items():
        item = {key: {"S": about} for key in keys} | ({"ttl": value} if value else {})
        call("PutItem", {"TableName": name, "Item": item})


@pytest.mark.parametrize("keys", [("pk", "sk"), ("id",)])
def test_items_go_when_their_time_is_over(moto: Moto, call: Call, keys: tuple[str, ...]) -> None:
    kept: list[bytes] = []
    make_table(call, "t", keys, "ttl")
    moto.answered = lambda service, request, response: kept.append(request.body)
    expiry = Expiry(moto, lambda: None)
    assert expiry.delete(NOW + 0.5) == len(GOES)
    moto.answered = lambda service, request, response: None
    left = {item[keys[0]]["S"] for item in call("Scan", {"TableName": "t"})["Items"]}
    assert left == STAYS.keys()
    assert {json.loads(body)["Key"][keys[0]]["S"] for body in kept} == GOES.keys()
    assert expiry.delete(NOW + 0.5) == 0


@pytest.mark.parametrize("time_to_live", [None, "other"])
def test_without_that_attribute_nothing_goes(moto: Moto, call: Call, time_to_live: str | None) -> None:
    make_table(call, "t", ("pk", "sk"), time_to_live)
    assert Expiry(moto, lambda: None).delete(NOW) == 0


def test_an_item_whose_time_is_put_off_meanwhile_stays(moto: Moto, call: Call) -> None:
    make_table(call, "t", ("pk", "sk"), "ttl")
    deleted: list[Any] = []

    def put_others_off(service: str, request: Request, response: Response) -> None:
        if not deleted:
            for about in GOES.keys() - {json.loads(request.body)["Key"]["pk"]["S"]}:
                item = {"pk": {"S": about}, "sk": {"S": about}, "ttl": {"N": str(NOW + 100)}}
                put = {"TableName": "t", "Item": item}
                assert call_dynamodb(moto.call, "PutItem", json.dumps(put).encode()).status == 200
        deleted.append(response.status)

    moto.answered = put_others_off
    Expiry(moto, lambda: None).delete(NOW)
    assert deleted == [200, 400, 400]
    assert len(call("Scan", {"TableName": "t"})["Items"]) == len(STAYS | GOES) - 1
