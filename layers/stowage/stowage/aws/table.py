"""The one DynamoDB table, in plain Python values.

Conditions are given as `when={attribute: expectation}`: a value (equal), a tuple (one of), `ABSENT`, `PRESENT`, or
`Below(n)` (absent or smaller). A condition that does not hold raises `ConditionFailedError`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from stowage.aws.clients import dynamodb
from stowage.basics.errors import UnavailableError
from stowage.settings import settings

type Item = dict[str, Any]
type Image = tuple[Item | None, Item | None]
"""An item before and after a change; None where there is none."""


class ConditionFailedError(Exception):
    """The item is not as the write expected it. `failed` lists which writes of a transaction those were."""

    def __init__(self, failed: list[int] | None = None) -> None:
        super().__init__("condition failed")
        self.failed = failed or [0]


class _Mark:
    pass


ABSENT: Final = _Mark()
PRESENT: Final = _Mark()


@dataclass(frozen=True)
class Below:
    """Expect a value smaller than this one, or none."""

    limit: str | float


@dataclass(frozen=True)
class UpTo:
    """Expect this value or a smaller one."""

    limit: str | float


@dataclass(frozen=True)
class Above:
    """Expect a value larger than this one, or none."""

    limit: str | float


@dataclass
class Put:
    """Write a whole item."""

    item: Item
    when: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Update:
    """Change attributes of an item: set, remove, or add to numbers."""

    pk: str
    sk: str
    set: Item = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    add: dict[str, int] = field(default_factory=dict)
    when: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Delete:
    """Take an item away."""

    pk: str
    sk: str
    when: Mapping[str, object] = field(default_factory=dict)


type Write = Put | Update | Delete


def get(pk: str, sk: str, *, consistent: bool = True) -> Item | None:
    """One item, or None; strongly consistent unless told otherwise."""
    answer = _call("get_item", Key=_key(pk, sk), ConsistentRead=consistent)
    return _decode_item(answer["Item"]) if "Item" in answer else None


def query(
    pk: str,
    *,
    prefix: str = "",
    index: str | None = None,
    newest_first: bool = False,
    up_to: str | None = None,
    before: str | None = None,
    after: str | None = None,
    where: dict[str, object] | None = None,
    page_size: int | None = None,
    only: tuple[str, ...] = (),
) -> Iterator[Item]:
    """The items of one partition in the order of the (index's) sort key, read as they are taken.

    `prefix`, `up_to` (inclusive), `before` and `after` (exclusive) bound the sort key, one of them a call; `where`
    filters as `when` does. `page_size` is the most that is read at once; without it DynamoDB decides (1 MB).
    `only` names the attributes that are given (none: all), which says how long the reading of many items takes.
    """
    request = _query(pk, prefix, index, newest_first, up_to, before, after, where, only)
    if page_size:
        request["Limit"] = page_size
    while True:
        page = _call("query", **request)
        for item in map(_decode_item, page["Items"]):
            if before is None or item[_SORT_KEYS[index]] != before:
                yield item
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def put(item: Item, when: Mapping[str, object] | None = None) -> None:
    """Write a whole item."""
    _call("put_item", **_request(Put(item, when or {})))


def update(
    pk: str,
    sk: str,
    set: Item | None = None,
    *,
    remove: tuple[str, ...] = (),
    add: dict[str, int] | None = None,
    when: Mapping[str, object] | None = None,
) -> Item:
    """Change attributes of an item and return it as it is then; makes the item where there is none."""
    request = _request(Update(pk, sk, set or {}, remove, add or {}, when or {}))
    return _decode_item(_call("update_item", **request, ReturnValues="ALL_NEW").get("Attributes", {}))


def delete(pk: str, sk: str, when: Mapping[str, object] | None = None) -> None:
    """Take an item away; no error where there is none."""
    _call("delete_item", **_request(Delete(pk, sk, when or {})))


def transact(writes: list[Write]) -> None:
    """All of these writes, or none."""
    kinds = {Put: "Put", Update: "Update", Delete: "Delete"}
    items = [{kinds[type(write)]: {"TableName": settings().table} | _request(write)} for write in writes]
    _call("transact_write_items", with_table=False, TransactItems=items)


def encode(value: object) -> dict[str, Any]:
    """A Python value in DynamoDB's typed JSON."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": repr(value)}
        case dict():
            return {"M": {str(name): encode(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [encode(inner) for inner in value]}
    raise TypeError(f"no DynamoDB type for {type(value).__name__}")


def decode(typed: dict[str, Any]) -> Any:
    """The Python value of DynamoDB's typed JSON, as the table's stream gives it too."""
    ((kind, value),) = typed.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return float(value) if "." in value or "e" in value.lower() else int(value)
        case "M":
            return {name: decode(inner) for name, inner in value.items()}
        case "L":
            return [decode(inner) for inner in value]
    return value


def _decode_item(typed: dict[str, Any]) -> Item:
    return {name: decode(value) for name, value in typed.items()}


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


class _Placeholders:
    """Names and values of one request's expressions; every name gets a placeholder, so none can be a reserved word."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        self.names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(self, value: object) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = encode(value)
        return placeholder

    def condition(self, when: Mapping[str, object]) -> str:
        return " AND ".join(self._expect(name, expected) for name, expected in when.items())

    def _expect(self, attribute: str, expected: object) -> str:
        name = self.name(attribute)
        match expected:
            case Below(limit):
                return f"(attribute_not_exists({name}) OR {name} < {self.value(limit)})"
            case UpTo(limit):
                return f"{name} <= {self.value(limit)}"
            case Above(limit):
                return f"(attribute_not_exists({name}) OR {name} > {self.value(limit)})"
            case tuple():
                return f"{name} IN ({', '.join(self.value(value) for value in expected)})"
        if expected is ABSENT:
            return f"attribute_not_exists({name})"
        if expected is PRESENT:
            return f"attribute_exists({name})"
        return f"{name} = {self.value(expected)}"

    def request(self) -> Item:
        made: Item = {}
        if self.names:
            made["ExpressionAttributeNames"] = self.names
        if self.values:
            made["ExpressionAttributeValues"] = self.values
        return made


def _request(write: Write) -> Item:
    placeholders = _Placeholders()
    request: Item
    match write:
        case Put(item):
            request = {"Item": {name: encode(value) for name, value in item.items()}}
        case Delete(pk, sk):
            request = {"Key": _key(pk, sk)}
        case Update(pk, sk):
            request = {"Key": _key(pk, sk), "UpdateExpression": _changes(write, placeholders)}
    if write.when:
        request["ConditionExpression"] = placeholders.condition(write.when)
    return request | placeholders.request()


def _changes(write: Update, placeholders: _Placeholders) -> str:
    clauses = {
        "SET": [f"{placeholders.name(name)} = {placeholders.value(value)}" for name, value in write.set.items()],
        "REMOVE": [placeholders.name(name) for name in write.remove],
        "ADD": [f"{placeholders.name(name)} {placeholders.value(value)}" for name, value in write.add.items()],
    }
    return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)


_SORT_KEYS = {None: "sk", "by_kind": "kind_key", "due": "due_at", "by_day": "id"}
_PARTITION_KEYS = {None: "pk", "by_kind": "pk", "due": "due_list", "by_day": "day"}


def _query(
    pk: str,
    prefix: str,
    index: str | None,
    newest_first: bool,
    up_to: str | None,
    before: str | None,
    after: str | None,
    where: dict[str, object] | None,
    only: tuple[str, ...],
) -> Item:
    placeholders = _Placeholders()
    keys = f"{placeholders.name(_PARTITION_KEYS[index])} = {placeholders.value(pk)}"
    sort_key = placeholders.name(_SORT_KEYS[index])
    # A key condition takes one expression on the sort key, so a prefix with an end becomes a range.
    if before is not None:
        # BETWEEN includes its ends; `query` leaves the upper one out.
        keys += f" AND {sort_key} BETWEEN {placeholders.value(prefix or ' ')} AND {placeholders.value(before)}"
    elif after is not None:
        keys += f" AND {sort_key} > {placeholders.value(after)}"
    elif up_to is not None:
        keys += f" AND {sort_key} <= {placeholders.value(up_to)}"
    elif prefix:
        keys += f" AND begins_with({sort_key}, {placeholders.value(prefix)})"
    else:
        del placeholders.names[sort_key]
    request: Item = {"KeyConditionExpression": keys, "ScanIndexForward": not newest_first}
    if where:
        request["FilterExpression"] = placeholders.condition(where)
    if only:
        request["ProjectionExpression"] = ", ".join(map(placeholders.name, only))
    if index:
        request["IndexName"] = index
    if index in (None, "by_kind"):
        request["ConsistentRead"] = True
    return request | placeholders.request()


def _call(operation: str, *, with_table: bool = True, **request: Any) -> Item:
    if with_table:
        request["TableName"] = settings().table
    for wait in (*_CONFLICT_WAITS, None):
        try:
            answer: Item = getattr(dynamodb(), operation)(**request)
        except ClientError as error:
            translated = _translated(error)
            if translated is None:
                raise
            if wait is None or not isinstance(translated, _ConflictError):
                raise translated from error
            time.sleep(wait * (0.5 + _CHANCE.random()))
        except BotoCoreError as error:
            raise UnavailableError("The run store does not answer.", retry_after=1) from error
        else:
            return answer
    raise AssertionError("the last try returns or raises")


_CHANCE = SystemRandom()
_CONFLICT_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""About how many seconds between tries of a write that met a transaction on the same item, which the client does not
repeat itself.
"""


_BUSY = ("ThrottlingError", "ThrottlingException", "InternalServerError")
"""And of a transaction's reasons: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""


class _ConflictError(UnavailableError):
    """Another transaction is about to change the same item."""


def _translated(error: ClientError) -> Exception | None:
    code = error.response["Error"]["Code"]
    reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    if code == "ConditionalCheckFailedException":
        return ConditionFailedError()
    if "ConditionalCheckFailed" in reasons:
        return ConditionFailedError(
            [place for place, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"]
        )
    if "TransactionConflict" in reasons or code in ("TransactionConflictException", "TransactionInProgressException"):
        return _ConflictError("Too many changes to the same record at once.", retry_after=1)
    if {code, *reasons} & {"ProvisionedThroughputExceeded", "ProvisionedThroughputExceededException", *_BUSY}:
        return UnavailableError("The run store is busy.", retry_after=1)
    return None
