"""What moto 5.2.5's DynamoDB does too slowly to use: most of the stack's requests go there.

What moto says is wrong with a request, it still says itself; see `local/mends.py` for what it does otherwise than AWS.
"""

import base64
import copy
import functools
import json
import types
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.configuration import ACCOUNT, REGION
from local.http_server import Request, Response

type Json = Any
type Action = tuple[str, str, str]
"""The verb, the attribute or its placeholder, and the value's placeholder or nothing."""

MOST_ITEM_BYTES = 405_000
"""As moto has it: an item may have 400 kB."""
_METHODS = {
    "GetItem": "get_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "Query": "query",
    "TransactWriteItems": "transact_write_items",
}
_ANSWERS = (
    "Item", "Items", "Attributes", "Count", "ScannedCount", "LastEvaluatedKey", "ConsumedCapacity",
    "ItemCollectionMetrics",
)  # fmt: skip
_TOKENS = 1_000
_done: dict[str, bytes] = {}
"""The newest transactions that were done, by their tokens: a client whose answer was lost asks again, and is told so.
DynamoDB knows them for ten minutes, and moto not at all.
"""
_HEADERS = [("content-type", "application/x-amz-json-1.0")]


def apply() -> None:
    """Mend moto in this process."""
    parse_an_update_once()
    validate_an_update_once()
    parse_a_condition_once()
    copy_only_what_changes()
    measure_an_item_once()
    query_one_collection()
    cast_texts_at_once()
    measure_texts_at_once()


def call(operation: str, request: Request, slowly: Callable[[], Response]) -> Response:
    """Answer without what moto does for every service: forms, files, a parser and a serializer of every shape."""
    from moto.core.exceptions import ServiceException
    from werkzeug.exceptions import HTTPException

    here = f"/{REGION}/dynamodb/" in request.header("authorization")
    if not here or operation not in _METHODS or b'"B"' in request.body or b'"BS"' in request.body:
        return slowly()
    handler = _handler()()
    handler.body = json.loads(request.body)
    token = handler.body.get("ClientRequestToken")
    if token and _done.get(token) == request.body:
        return Response(200, [*_HEADERS, ("x-amzn-requestid", str(uuid.uuid4()))], b"{}")
    try:
        result = getattr(handler, _METHODS[operation])().result
    except (ServiceException, HTTPException):
        return slowly()  # which changes nothing either, and says it in the words of the protocol
    if token:
        _done[token] = request.body
        if len(_done) > _TOKENS:
            del _done[next(iter(_done))]
    body = json.dumps({name: result[name] for name in _ANSWERS if result.get(name) is not None}, default=_encode)
    return Response(200, [*_HEADERS, ("x-amzn-requestid", str(uuid.uuid4()))], body.encode())


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


@functools.cache
def _handler() -> Any:
    from moto.dynamodb.models import dynamodb_backends
    from moto.dynamodb.responses import DynamoHandler

    backend = property(lambda _: dynamodb_backends[ACCOUNT][REGION])
    return type("Handler", (DynamoHandler,), {"dynamodb_backend": backend})


def parse_an_update_once() -> None:
    """Each update parses its expression twice anew, and looks through it for its placeholders."""
    from moto.dynamodb import responses
    from moto.dynamodb.parsing.expressions import UpdateExpressionParser

    make = UpdateExpressionParser.make
    parsed = functools.lru_cache(500)(make)

    @functools.lru_cache(500)
    def placeholders(expression: str) -> Any:
        tree = parsed(expression)
        found = functools.cache(lambda kinds: tree.find_clauses(list(kinds)))
        return types.SimpleNamespace(find_clauses=lambda kinds: found(tuple(kinds)))

    # Only the validation changes what was parsed, and works on a copy.
    UpdateExpressionParser.make = staticmethod(parsed)
    responses.UpdateExpressionParser = types.SimpleNamespace(make=placeholders)


@dataclass(frozen=True)
class _Update:
    """An update of attributes of the item itself, that moto has found to be valid."""

    actions: tuple[Action, ...]
    names: Json
    values: Json

    def validate(self) -> "_Update":
        return self

    def normalize(self) -> None:
        """The order of such actions makes no difference."""

    def execute(self, item: Any) -> None:
        from moto.dynamodb.exceptions import IncorrectDataType, ItemSizeTooLarge
        from moto.dynamodb.models.dynamo_type import DynamoType

        attributes = dict(item.attrs)
        for verb, name, placeholder in self.actions:
            attribute = self.names[name] if name.startswith("#") else name
            if verb == "REMOVE":
                attributes.pop(attribute, None)
                continue
            value = DynamoType(self.values[placeholder])
            if verb == "ADD":
                before = attributes.get(attribute, DynamoType({"N": "0"}))
                if before.type != "N" or value.type != "N":
                    raise IncorrectDataType
                value = before + value
            attributes[attribute] = value
        if _size(attributes) > MOST_ITEM_BYTES:
            raise ItemSizeTooLarge
        dict.clear(item.attrs)
        dict.update(item.attrs, attributes)


def _size(attributes: dict[str, Any]) -> int:
    return sum(len(name.encode()) + value.size() for name, value in attributes.items())


def validate_an_update_once() -> None:
    """Each update copies what was parsed, and goes through it ten times. Of one that sets, removes or adds to
    attributes of the item itself, what is wrong with it does not depend on the item: it is validated once for its
    names and the types of its values.
    """
    from moto.dynamodb import models
    from moto.dynamodb.parsing.executors import UpdateExpressionExecutor
    from moto.dynamodb.parsing.validators import UpdateExpressionValidator

    valid: set[Any] = set()

    def validator(tree: Any, **given: Any) -> Any:
        names, values = given["expression_attribute_names"] or {}, given["expression_attribute_values"] or {}
        moto = UpdateExpressionValidator(tree, **given) if (actions := _actions(tree)) is None else None
        if moto or actions is None or not all(map(_is_plain, values.values())):
            return moto or UpdateExpressionValidator(tree, **given)
        kinds = tuple((name, next(iter(value))) for name, value in values.items())
        known = (actions, given["table"].name, tuple(names.items()), kinds)
        if known not in valid:
            UpdateExpressionValidator(tree, **given).validate()
            valid.add(known)
        return _Update(actions, names, values)

    def executor(tree: Any, item: Any, names: Json) -> Any:
        if isinstance(tree, _Update):
            return types.SimpleNamespace(execute=lambda: tree.execute(item))
        return UpdateExpressionExecutor(tree, item, names)

    models.UpdateExpressionValidator = validator
    models.UpdateExpressionExecutor = executor


def _is_plain(value: Json) -> bool:
    """Whether moto has nothing to say of the value beside its type. What is added to a set is not set."""
    return len(value) == 1 and value != {"S": ""} and value.keys().isdisjoint({"B", "SS", "NS", "BS"})


@functools.lru_cache(500)
def _actions(tree: Any) -> tuple[Action, ...] | None:
    """The actions of an update; None where one of them looks into the item, or is none of the plain ones."""
    from moto.dynamodb.parsing import ast_nodes

    verbs = {
        ast_nodes.UpdateExpressionSetAction: "SET",
        ast_nodes.UpdateExpressionRemoveAction: "REMOVE",
        ast_nodes.UpdateExpressionAddAction: "ADD",
        ast_nodes.UpdateExpressionDeleteAction: "DELETE",
    }
    plain = ast_nodes.ExpressionAttributeValue
    actions = []
    for action in tree.find_clauses(list(verbs)):
        verb, (path, *values) = verbs[type(action)], action.children
        parts = [part for value in values for part in ([value] if type(value) is plain else value.children)]
        looks_inside = len(path.children) > 1 or any(type(part) is not plain for part in parts)
        if looks_inside or verb == "DELETE" or len(parts) > 1:
            return None
        actions.append((verb, path.children[0].to_str(), parts[0].get_value_name() if parts else ""))
    return tuple(actions)


def parse_a_condition_once() -> None:
    """Each condition is parsed up to three times in a request, each time with patterns that are made anew."""
    from moto.dynamodb.comparisons import ConditionExpressionParser

    parse, lex = ConditionExpressionParser.parse, ConditionExpressionParser._lex_condition_expression

    @functools.lru_cache(500)
    def lexed(expression: str) -> tuple[Any, ...]:
        return tuple(lex(ConditionExpressionParser(expression, None, None)))

    @functools.lru_cache(100)
    def parsed(expression: str, names: str, values: str) -> tuple[Any, list[str], list[str]]:
        parser = ConditionExpressionParser(expression, json.loads(names), json.loads(values))
        condition = parse(parser)
        return condition, parser.expr_attr_names_found, parser.expr_attr_values_found

    def parse_once(self: Any) -> Any:
        if not self.condition_expression:
            return parse(self)
        names, values = json.dumps(self.expression_attribute_names), json.dumps(self.expression_attribute_values)
        condition, names_found, values_found = parsed(self.condition_expression, names, values)
        self.expr_attr_names_found.extend(names_found)
        self.expr_attr_values_found.extend(values_found)
        return condition

    parser: Any = ConditionExpressionParser
    parser._lex_condition_expression = lambda self: deque(lexed(self.condition_expression))
    parser.parse = parse_once


def copy_only_what_changes() -> None:
    """Each write copies the item, attribute by attribute, and compares the two: only lists, maps and sets ever
    change, any other value is replaced.
    """
    from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict

    def copied(value: Any, memo: Json) -> Any:
        return copy.deepcopy(value, memo) if isinstance(value.value, list | dict | set) else value

    def deepcopy(self: Any, memo: Json) -> Any:
        made: Any = Item.__new__(Item)
        made.hash_key, made.range_key = self.hash_key, self.range_key
        made.attrs = LimitedSizeDict.__new__(LimitedSizeDict)
        dict.update(made.attrs, {name: copied(value, memo) for name, value in self.attrs.items()})
        return made

    def equal(self: Any, other: Any) -> bool:
        if self is other:
            return True
        return bool(self.type == other.type and (self.value == other.value or self.cast_value == other.cast_value))

    Item.__deepcopy__ = deepcopy
    DynamoType.__eq__ = equal


def measure_an_item_once() -> None:
    """A new item is measured after each of its attributes."""
    from moto.dynamodb.exceptions import ItemSizeTooLarge
    from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict

    def make(self: Any, hash_key: Any, range_key: Any, attrs: Json) -> None:
        self.hash_key, self.range_key = hash_key, range_key
        self.attrs = LimitedSizeDict()
        attributes = {name: DynamoType(value) for name, value in attrs.items()}
        if _size(attributes) > MOST_ITEM_BYTES:
            raise ItemSizeTooLarge
        dict.update(self.attrs, attributes)

    Item.__init__ = make


class _Part:
    """A table, of which a query sees these items only."""

    def __init__(self, table: Any, items: list[Any]) -> None:
        self._table, self._items = table, items

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def all_items(self) -> list[Any]:
        return self._items


def query_one_collection() -> None:
    """Each query sorts all items of the table, and then looks at each: of an index at those with the text that is
    asked for, of the table itself at those with one key.
    """
    from moto.dynamodb.models.table import Table

    query: Any = Table.query

    def items_of(table: Any, hash_key: Any, conditions: Json, *, of_index: bool) -> list[Any] | None:
        if not table.range_key_attr:
            return None
        if not of_index:
            return list(table.items[hash_key].values()) if hash_key in table.items else []
        if not conditions or any(wanted.type != "S" for _, wanted in conditions):
            return None
        found = [item for group in table.items.values() for item in group.values() if _has(item, conditions)]
        return sorted(found, key=lambda item: (item.hash_key, item.range_key))

    @functools.wraps(query)
    def query_part(self: Any, hash_key: Any, *given: Any, **named: Any) -> Any:
        # The eighth argument is the index's name.
        index = named.get("index_name") or (given[6] if len(given) > 6 else None)
        items = items_of(self, hash_key, named.get("hash_key_conditions"), of_index=bool(index))
        return query(self if items is None else _Part(self, items), hash_key, *given, **named)

    Table.query = query_part


def _has(item: Any, conditions: list[tuple[str, Any]]) -> bool:
    """Whether an item's attributes are these texts."""
    for name, wanted in conditions:
        found = item.attrs.get(name)
        if found is None or found.value != wanted.value:
            return False
    return True


def cast_texts_at_once() -> None:
    """Each comparison of two values asks each of them seven times for its type."""
    from moto.dynamodb.models.dynamo_type import DynamoType

    cast: Any = DynamoType.cast_value.fget

    def cast_value(self: Any) -> Any:
        return self.value if self.type == "S" else cast(self)

    DynamoType.cast_value = property(cast_value)


def measure_texts_at_once() -> None:
    """A query measures each item that it looks at, and each value is asked four times for its type before."""
    from moto.dynamodb.models.dynamo_type import DynamoType

    measure: Any = DynamoType.size

    def size(self: Any) -> int:
        if self.type == "S":
            return len(self.value) if self.value.isascii() else len(self.value.encode())
        if self.type == "N":
            return len(str(self.value))
        return int(measure(self))

    DynamoType.size = size
