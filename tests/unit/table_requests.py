"""What moto's DynamoDB answers as it is, then with local/mends_tables.py: status and body of each answer, twice each,
and then what the table's stream has.
"""

import io
import json
from typing import Any

from local import mends_tables
from local.aws_server import Moto, _call_dynamodb
from local.configuration import ACCESS_KEY, ACCOUNT, REGION
from local.http_server import Request, Response
from local.mends import roll_back_only_what_a_transaction_touched

type Json = Any

KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
DUE = [{"AttributeName": "due", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
TABLE = {
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "due", "at")],
    "KeySchema": KEYS,
    "BillingMode": "PAY_PER_REQUEST",
    "GlobalSecondaryIndexes": [{"IndexName": "due", "KeySchema": DUE, "Projection": {"ProjectionType": "ALL"}}],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}


NOW = {"S": "now"}


def key(sk: str = "a") -> Json:
    return {"pk": {"S": "p"}, "sk": {"S": sk}}


def values(*given: Json) -> Json:
    """`:v0`, `:v1` and so on."""
    return {f":v{place}": value for place, value in enumerate(given)}


def update(expression: str, *given: Json, when: str = "", names: Json = None, sk: str = "a", **more: Json) -> Json:
    request = {"Key": key(sk), "UpdateExpression": expression, "ReturnValues": "ALL_NEW"} | more
    if given:
        request["ExpressionAttributeValues"] = values(*given)
    if names:
        request["ExpressionAttributeNames"] = names
    return "UpdateItem", request | ({"ConditionExpression": when} if when else {})


def get(sk: str = "a", **more: Json) -> Json:
    return "GetItem", {"Key": key(sk)} | more


def put(item: Json, **more: Json) -> Json:
    return "PutItem", {"Item": item} | more


def query(condition: str, *given: Json, **more: Json) -> Json:
    return "Query", {"KeyConditionExpression": condition, "ExpressionAttributeValues": values(*given)} | more


def due(place: int) -> Json:
    """The index's attributes: of some, more than one at a time, and of some none."""
    return {"due": {"S": "now" if place % 4 else "later"}, "at": {"S": f"{place % 2}"}} if place % 5 else {}


def transact(*items: Json) -> Json:
    return "TransactWriteItems", {"TransactItems": [{kind: {"TableName": "t"} | item} for kind, item in items]}


ONE, TWO, TEXT = {"N": "1"}, {"N": "2.5"}, {"S": "text"}
EVERYTHING = {
    "amount": TWO, "words": TEXT, "opened": {"BOOL": False}, "never": {"NULL": True}, "blank": {"S": ""},
    "parts": {"M": {"nested": {"L": [TEXT, {"M": {}}, ONE]}, "no_one": {"L": []}}}, "steps": {"L": [ONE, TEXT, ONE]},
    "tags": {"SS": ["x", "y"]}, "sums": {"NS": ["1", "2"]}, "due": {"S": "now"}, "at": {"S": "3"},
}  # fmt: skip
HUGE = {"S": "x" * 300_000}
PLAIN = "SET #n = :v0, opened = :v1 REMOVE never, steps ADD turns :v2, amount :v2"

REQUESTS: list[tuple[str, Json]] = [
    put(key() | EVERYTHING),
    get(),
    get("no_one"),
    get(ProjectionExpression="parts.nested, opened"),
    get(""),
    ("GetItem", {"Key": {"pk": {"S": "p"}, "sibling": TEXT}}),
    update(PLAIN, TEXT, {"BOOL": True}, ONE, names={"#n": "name"}),
    update(PLAIN, TEXT, {"BOOL": True}, ONE, names={"#n": "name"}),
    update("ADD amount :v0", TEXT),
    update("ADD turns :v0, unheard_of :v0", TEXT),
    update("ADD opened :v0", ONE),
    update("ADD tags :v0, sums :v1", {"SS": ["y", "z"]}, {"NS": ["3"]}),
    update("DELETE tags :v0", {"SS": ["x"]}),
    update("SET parts.sibling = :v0, maker = if_not_exists(maker, :v1)", ONE, TEXT),
    update("SET parts.nested[1] = :v0, added = amount + :v1 REMOVE parts.no_one", ONE, ONE),
    update("SET steps = list_append(parts.nested, :v0)", {"L": [TEXT]}),
    update("SET steps[9] = :v0 REMOVE steps[0]", ONE),
    update("SET twin = words"),
    update("SET twin = lost"),
    update("SET a.b = :v0", ONE),
    update("SET parts = :v0, parts.sibling = :v1", {"M": {}}, ONE),
    update("SET #a = :v0, #b = :v0", ONE, names={"#a": "same", "#b": "same"}),
    update("SET #a = :v0, #b = :v0", ONE, names={"#a": "one", "#b": "two"}),
    update("SET pk = :v0", TEXT),
    update("SET #key = :v0", TEXT, names={"#key": "sk"}),
    update("SET due = :v0", ONE),
    update("SET due = :v0", {"S": ""}),
    update("SET x = :v9", TEXT),
    update("SET #x = :v0", TEXT),
    update("SET x = :v0", TEXT, ONE),
    update("SET x = :v0", TEXT, names={"#unused": "x"}),
    update("SET status = :v0", TEXT),
    update("SET x = :v0 SET y = :v0", TEXT),
    update("  "),
    update("SET x :v0", TEXT),
    update("SET x = :v0", ONE, ReturnValues="UPDATED_OLD"),
    update("SET x = :v0", TWO, ReturnValues="UPDATED_NEW"),
    update("SET x = :v0", TEXT, ReturnValues="ALL_OLD"),
    update("SET x = :v0", TEXT, ReturnValues="NONE"),
    update("SET x = :v0", TEXT, ReturnValues="SOME"),
    update("SET x = :v0", TEXT, sk="new"),
    update("SET x = :v0", TEXT, sk="new", ReturnValues="NONE"),
    update("REMOVE x", sk="newer"),
    update("ADD turns :v0", ONE, sk="turns"),
    update("ADD turns :v0", {"N": "0.1"}, sk="turns"),
    update("SET huge = :v0", HUGE),
    update("SET more = :v0", HUGE),
    get(),
    update("REMOVE huge"),
    put(key("huge") | {"a": HUGE, "b": HUGE}),
    get("huge"),
    *(
        update("SET seen = :v0", TEXT, *given, when=when, names=names)
        for when, given, names in (
            ("attribute_exists(words)", (), None),
            ("attribute_not_exists(words)", (), None),
            ("#n = :v1", (TEXT,), {"#n": "words"}),
            ("words = :v1", (ONE,), None),
            ("words = :v1", (TEXT,), None),
            ("(attribute_not_exists(amount) OR amount < :v1) AND opened = :v2", (ONE, {"BOOL": True}), None),
            ("(attribute_not_exists(amount) OR amount < :v1) AND opened = :v2", ({"N": "9"}, {"BOOL": True}), None),
            ("amount IN (:v1, :v2)", (TEXT, {"N": "4.50"}), None),
            ("amount BETWEEN :v1 AND :v2", (ONE, {"N": "100"}), None),
            ("NOT contains(tags, :v1)", ({"S": "z"},), None),
            ("begins_with(words, :v1) AND size(tags) > :v2", ({"S": "te"}, ONE), None),
            ("parts.sibling = :v1 AND never = :v2", (ONE, {"NULL": True}), None),
            ("lost <> :v1", (TEXT,), None),
            ("words = :absent", (TEXT,), None),
            ("#absent = :v1", (TEXT,), None),
            ("((words = :v1))", (TEXT,), None),
        )
    ),
    update("SET x = :v0", TEXT, when="x = :v0", ReturnValuesOnConditionCheckFailure="ALL_OLD", sk="newer"),
    put(key("b") | EVERYTHING, ReturnValues="ALL_OLD"),
    put(key("b") | {"x": ONE}, ReturnValues="ALL_OLD"),
    put(key("b") | {"x": ONE}, ConditionExpression="attribute_not_exists(pk)"),
    put(key("b") | {"x": ONE}, ConditionExpression="x = :v0", ExpressionAttributeValues=values(ONE)),
    put({"pk": {"S": ""}, "sk": TEXT}),
    put({"pk": TEXT}),
    put(key("b") | {"at": ONE}),
    put(key("bytes") | {"b": {"B": "AAE="}, "all": {"BS": ["eA=="]}}),
    get("bytes"),
    query("pk = :v0", {"S": "p"}),
    query("pk = :v0 AND begins_with(sk, :v1)", {"S": "p"}, {"S": "b"}, ScanIndexForward=False),
    query("pk = :v0 AND sk BETWEEN :v1 AND :v2", {"S": "p"}, {"S": "a"}, {"S": "c"}, Limit=1),
    query("pk = :v0", {"S": "p"}, {"S": "z"}, FilterExpression="contains(tags, :v1)"),
    query("#d = :v0", {"S": "now"}, IndexName="due", ExpressionAttributeNames={"#d": "due"}),
    query("due = :v0", {"S": "now"}, IndexName="no_one"),
    query("due = :v0", {"S": "now"}),
    query("pk = :v0", {"S": "p"}, Select="COUNT"),
    query("pk = :v0", {"S": "no one"}),
    *(put({"pk": {"S": pk}, "sk": {"S": f"{place}"}} | due(place)) for place, pk in enumerate("qrqrpqqr")),
    query("pk = :v0", {"S": "q"}, Limit=2),
    query("pk = :v0", {"S": "q"}, Limit=2, ExclusiveStartKey={"pk": {"S": "q"}, "sk": {"S": "2"}}),
    query("pk = :v0 AND sk > :v1", {"S": "r"}, {"S": "2"}, ScanIndexForward=False),
    *(
        query("due = :v0" + condition, {"S": "now"}, *given, IndexName="due", ScanIndexForward=forward, **more)
        for forward in (True, False)
        for condition, given in (("", ()), (" AND #a <= :v1", ({"S": "1"},)))
        for more in (
            {},
            {"Limit": 2},
            {"Limit": 3, "ExclusiveStartKey": {"pk": {"S": "q"}, "sk": {"S": "2"}, "due": NOW, "at": {"S": "0"}}},
        )
        for more in ([more | {"ExpressionAttributeNames": {"#a": "at"}}] if given else [more])
    ),
    transact(
        ("Put", {"Item": key("c") | EVERYTHING, "ConditionExpression": "attribute_not_exists(pk)"}),
        ("Update", {"Key": key("d"), "UpdateExpression": "ADD n :v0", "ExpressionAttributeValues": values(ONE)}),
        ("Delete", {"Key": key("bytes")}),
        ("ConditionCheck", {"Key": key("lost"), "ConditionExpression": "attribute_not_exists(pk)"}),
    ),
    transact(
        ("Update", {"Key": key("d"), "UpdateExpression": "ADD n :v0", "ExpressionAttributeValues": values(ONE)}),
        ("Put", {"Item": key("c"), "ConditionExpression": "attribute_not_exists(pk)"}),
        ("Delete", {"Key": key("b")}),
    ),
    transact(
        (
            "Update",
            {
                "Key": key("d"), "UpdateExpression": "SET n = :v0", "ConditionExpression": "n = :v1",
                "ExpressionAttributeValues": values(TWO, TEXT), "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
        )
    ),
    transact(("Delete", {"Key": key("d")}), ("Put", {"Item": key("d")})),
    transact(
        ("Update", {"Key": key("d"), "UpdateExpression": "SET pk = :v0", "ExpressionAttributeValues": values(ONE)})
    ),
    get("b"),
    get("c"),
    get("d"),
    ("DeleteItem", {"Key": key("b"), "ConditionExpression": "x = :v0", "ExpressionAttributeValues": values(TEXT)}),
    ("DeleteItem", {"Key": key("b"), "ReturnValues": "ALL_OLD"}),
    ("DeleteItem", {"Key": key("b"), "ReturnValues": "ALL_OLD"}),
    ("GetItem", {"Key": key(), "TableName": "no_one"}),
    ("Scan", {"Limit": 3}),
]  # fmt: skip


def answer(moto: Moto, operation: str, given: Json, *, mended: bool) -> Response:
    body = json.dumps({"TableName": "t"} | given if operation != "TransactWriteItems" else given).encode()
    headers = [
        ("host", "127.0.0.1"),
        ("x-amz-target", f"DynamoDB_20120810.{operation}"),
        ("content-type", "application/x-amz-json-1.0"),
        ("authorization", f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/{REGION}/dynamodb/aws4_request"),
    ]
    request = Request("POST", "/", headers, "127.0.0.1", len(body), io.BufferedReader(io.BytesIO()), body)
    return moto.call(request) if mended else _call_dynamodb(request)


def answers(moto: Moto, *, mended: bool) -> list[Json]:
    """What comes of each request, from a new table on; each is sent twice, and the items are gone in between."""
    from moto.dynamodb.models import dynamodb_backends

    given: list[Json] = []
    for _ in range(2):
        dynamodb_backends[ACCOUNT][REGION].reset()
        answer(moto, "CreateTable", TABLE, mended=mended)
        for operation, request in REQUESTS:
            try:
                response = answer(moto, operation, request, mended=mended)
                assert isinstance(response.body, bytes)
                given.append([operation, response.status, json.loads(response.body)])
            except Exception as error:
                given.append([operation, type(error).__name__, str(error)])
        shard = dynamodb_backends[ACCOUNT][REGION].tables["t"].stream_shard
        for record in shard.items:
            images = {name: record.record["dynamodb"].get(name) for name in ("Keys", "OldImage", "NewImage")}
            given.append([record.record["eventName"], images])
    return given


def main() -> None:
    """Print two JSON lists, of moto as it is and mended, which it is from then on."""
    roll_back_only_what_a_transaction_touched()
    service = Moto()
    first = answers(service, mended=False)
    mends_tables.apply()
    print(json.dumps([first, answers(service, mended=True)], default=str))
