"""The GraphQL schema of the declared entities: for each a type, a list, a record, and what makes, changes and deletes
one (docs/api.md, GraphQL).
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from graphql import (
    ConstValueNode,
    FloatValueNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    value_from_ast_untyped,
)

from stowage import records
from stowage.basics.errors import NotFoundError
from stowage.basics.json_numbers import read_number, write_json
from stowage.entities.declaration import Entity, Field, Reference
from stowage.entities.declared import ENTITIES, entity_at
from stowage.entities.filters import OF_CREATION, filter_names
from stowage.graphql.loading import Asking, Row
from stowage.records.answers import data_of
from stowage.records.queries import DEFAULT_LIMIT, MOST_LIMIT


def _literal(node: ConstValueNode) -> Any:
    """The value of a literal, numbers with all their digits."""
    match node:
        case IntValueNode():
            return int(node.value)
        case FloatValueNode():
            return read_number(node.value)
        case ListValueNode():
            return [_literal(each) for each in node.values]
        case ObjectValueNode():
            return {each.name.value: _literal(each.value) for each in node.fields}
    return value_from_ast_untyped(node)


def _scalar(name: str, description: str) -> GraphQLScalarType:
    """A type whose values are those of the records' own routes, which also say what is wrong with one that is given."""
    return GraphQLScalarType(
        name,
        coerce_output_value=lambda value: value,
        coerce_input_value=lambda value: value,
        coerce_input_literal=_literal,
        description=description,
    )


_LONG = _scalar("Long", "A whole number of up to 64 bits.")
_NUMBER = _scalar("Number", "A number with a binary fraction.")
_DECIMAL = _scalar("Decimal", "A decimal number as a text, so that it keeps all its digits; given as a number too.")
_MOMENT = _scalar("DateTime", "A time as in RFC 3339, in UTC.")
_JSON = _scalar("JSON", "Any JSON; lists too.")
_SCALARS = {
    "integer": _LONG,
    "number": _NUMBER,
    "numeric": _DECIMAL,
    "boolean": GraphQLBoolean,
    "timestamp": _MOMENT,
    "json": _JSON,
}
_SMALL = ("smallint", "integer")

_PAGE_INFO = GraphQLObjectType(
    "PageInfo",
    {
        "hasNextPage": GraphQLField(
            GraphQLNonNull(GraphQLBoolean), resolve=lambda at, _: at["page"] < at["total_pages"]
        ),
        "hasPreviousPage": GraphQLField(
            GraphQLNonNull(GraphQLBoolean), resolve=lambda at, _: at["page"] > 1 and at["total"] > 0
        ),
        "page": GraphQLField(GraphQLNonNull(GraphQLInt), resolve=lambda at, _: at["page"]),
        "totalPages": GraphQLField(GraphQLNonNull(GraphQLInt), resolve=lambda at, _: at["total_pages"]),
    },
    description="Where a page lies among the others.",
)


@cache
def schema() -> GraphQLSchema:
    """The schema, made at the first request; fields of a type at its first use."""
    types = _Types()
    query: dict[str, GraphQLField] = {}
    mutation: dict[str, GraphQLField] = {}
    for entity in ENTITIES.declared:
        query |= types.reading(entity)
        mutation |= types.changing(entity)
    return GraphQLSchema(
        query=GraphQLObjectType("Query", query),
        mutation=GraphQLObjectType("Mutation", mutation) if mutation else None,
        assume_valid=True,  # test_products.py validates it
    )


class _Types:
    """The types of each entity. A name that two would have is the first one's; the other has `Record` behind it."""

    def __init__(self) -> None:
        own = ("Query", "Mutation", "PageInfo", "String", "Int", "Float", "Boolean", "ID", "Subscription")
        self._taken = {*own, *(scalar.name for scalar in _SCALARS.values())}
        self._names: dict[str, str] = {}
        self._objects: dict[str, GraphQLObjectType] = {}
        for entity in ENTITIES.declared:
            title = "".join(word[:1].upper() + word[1:] for word in entity.singular.split("_"))
            while self._taken & (all_of := {title, *(_of(title).values())}):
                title += "Record"
            self._taken |= all_of
            self._names[entity.name] = title
        for entity in ENTITIES.declared:
            self._objects[entity.name] = GraphQLObjectType(
                self._names[entity.name], self._fields_of(entity), description=entity.description or None
            )

    def reading(self, entity: Entity) -> dict[str, GraphQLField]:
        """`task(id)` and `tasks(page, limit, sort, filter)`."""
        names, record = _of(self._names[entity.name]), self._objects[entity.name]
        edge = GraphQLObjectType(
            names["edge"], {"node": GraphQLField(GraphQLNonNull(record), resolve=lambda row, _: row)}
        )
        connection = GraphQLObjectType(
            names["connection"],
            {
                "edges": GraphQLField(_list_of(edge), resolve=lambda found, _: found[0].rows),
                "pageInfo": GraphQLField(GraphQLNonNull(_PAGE_INFO), resolve=lambda found, _: found[1]),
                "totalCount": GraphQLField(GraphQLNonNull(GraphQLInt), resolve=lambda found, _: found[1]["total"]),
            },
        )
        filters = GraphQLInputObjectType(
            names["filter"],
            {name: GraphQLInputField(_filter_type(entity, name)) for name in filter_names(entity)},
            description="A record has to fit each of them; of a list any value will do.",
        )
        arguments = {
            "page": GraphQLArgument(GraphQLInt, description="From 1."),
            "limit": GraphQLArgument(GraphQLInt, description=f"1 to {MOST_LIMIT}; {DEFAULT_LIMIT} unless given."),
            "sort": GraphQLArgument(
                GraphQLString, description="Fields, a minus before one for descending: `-createdAt,id`."
            ),
            "filter": GraphQLArgument(filters),
        }
        one = {"id": GraphQLArgument(GraphQLNonNull(GraphQLID))}
        return {
            entity.singular: GraphQLField(record, one, _reads_one(entity.name)),
            entity.name: GraphQLField(connection, arguments, _reads_list(entity.name)),
        }

    def changing(self, entity: Entity) -> dict[str, GraphQLField]:
        """`createTask(input)`, `updateTask(id, input)`, `deleteTask(id)`, as far as the entity's records can be so."""
        if entity.why_only_read:
            return {}
        title = self._names[entity.name]
        names, record = _of(title), self._objects[entity.name]
        own = [field for field in entity.own if not field.is_read_only]
        new = {field.name: GraphQLInputField(_given_type(entity, field, is_new=True)) for field in own}
        new["id"] = GraphQLInputField(GraphQLNonNull(GraphQLID) if entity.key.made_by == "client" else GraphQLID)
        changed = {field.name: GraphQLInputField(_given_type(entity, field, is_new=False)) for field in own}
        one = GraphQLArgument(GraphQLNonNull(GraphQLID))
        made = GraphQLArgument(GraphQLNonNull(GraphQLInputObjectType(names["create"], new)))
        fields = {f"create{title}": GraphQLField(record, {"input": made}, _creates(entity.name))}
        if changed:
            update = GraphQLArgument(GraphQLNonNull(GraphQLInputObjectType(names["update"], changed)))
            fields[f"update{title}"] = GraphQLField(record, {"id": one, "input": update}, _updates(entity.name))
        if entity.soft_delete:
            told = "To the trash, with what goes along."
            fields[f"delete{title}"] = GraphQLField(
                GraphQLBoolean, {"id": one}, _deletes(entity.name), description=told
            )
        return fields

    def _fields_of(self, entity: Entity) -> Callable[[], dict[str, GraphQLField]]:
        def fields() -> dict[str, GraphQLField]:
            made = {field.name: _value_of(entity, field) for field in entity.fields}
            for reference in entity.references:
                if reference.entity not in self._objects:
                    continue
                whole, raw = reference_names(entity, reference)
                made[raw] = made.pop(reference.field)
                made[whole] = GraphQLField(
                    self._objects[reference.entity],
                    resolve=_names_another(reference),
                    description=f"The record that `{raw}` names; null where it lies in the trash.",
                )
            return made

        return fields


def _of(title: str) -> dict[str, str]:
    """The names of an entity's types beside its own."""
    return {
        "connection": f"{title}Connection",
        "edge": f"{title}Edge",
        "filter": f"{title}Filter",
        "create": f"Create{title}Input",
        "update": f"Update{title}Input",
    }


def reference_names(entity: Entity, reference: Reference) -> tuple[str, str]:
    """What the record is called to which a field refers, and what its id: `brand` and `brandId` of a field `brandId`,
    `assignee` and `assigneeId` of a field `assignee`.
    """
    name = reference.field
    for ending in ("Id", "_id"):
        short = name.removesuffix(ending)
        if short and short != name and entity.field(short) is None:
            return short, name
    return (name, f"{name}Id") if entity.field(f"{name}Id") is None else (f"{name}Record", name)


def _list_of(kind: Any) -> Any:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(kind)))


def _type_of(entity: Entity, field: Field) -> Any:
    if entity.holds_id(field.name):
        return GraphQLID
    if field.is_array:
        return _JSON
    if field.type == "integer" and field.sql_type in _SMALL:
        return GraphQLInt
    return _SCALARS.get(field.type, GraphQLString)


def _value_of(entity: Entity, field: Field) -> GraphQLField:
    kind = _type_of(entity, field)
    is_there = field.name == "id" or (field in entity.own and not field.is_nullable)
    told = f"One of {', '.join(field.values)}." if field.values else None
    name = field.name
    return GraphQLField(
        GraphQLNonNull(kind) if is_there else kind, resolve=lambda row, _: row.values[name], description=told
    )


def _given_type(entity: Entity, field: Field, *, is_new: bool) -> Any:
    kind = _type_of(entity, field)
    return GraphQLNonNull(kind) if is_new and field.required else kind


def _filter_type(entity: Entity, name: str) -> Any:
    if name == "ids":
        return GraphQLList(GraphQLNonNull(GraphQLID))
    field = entity.field(name)
    if name in OF_CREATION:
        return _MOMENT
    if field is None:
        return GraphQLString if name == "search" else GraphQLList(GraphQLNonNull(_JSON))
    kind = _LONG if field.type == "integer" else _type_of(entity, field)
    return GraphQLList(GraphQLNonNull(kind))


type Resolver = Callable[..., Any]


def _names_another(reference: Reference) -> Resolver:
    def resolve(row: Row, _info: GraphQLResolveInfo[Any]) -> Row | None:
        return row.batch.named_by(reference, row.values[reference.field])

    return resolve


def _reads_one(name: str) -> Resolver:
    def resolve(_root: Any, info: GraphQLResolveInfo[Any], id: str) -> Row | None:
        asking: Asking = info.context
        entity = entity_at(name)
        asking.seconds()
        try:
            found = records.read_record(asking.edit.tenant, entity, records.clean_id(entity, id))
        except NotFoundError as error:
            if error.code == "record_not_found":
                return None
            raise
        return asking.one(entity, found)

    return resolve


def _reads_list(name: str) -> Resolver:
    def resolve(
        _root: Any, info: GraphQLResolveInfo[Any], filter: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        asking: Asking = info.context
        paging = {key: str(value) for key, value in given.items() if value is not None}
        return asking.list_of(entity_at(name), {**(filter or {}), **paging})

    return resolve


def _creates(name: str) -> Resolver:
    def resolve(_root: Any, info: GraphQLResolveInfo[Any], input: Mapping[str, Any]) -> Row:
        asking: Asking = info.context
        entity = entity_at(name)
        made = records.create_record(asking.edit_of(str(info.path.key)), entity, _body(input))
        return asking.one(entity, data_of(made.body))

    return resolve


def _updates(name: str) -> Resolver:
    def resolve(_root: Any, info: GraphQLResolveInfo[Any], id: str, input: Mapping[str, Any]) -> Row:
        asking: Asking = info.context
        entity = entity_at(name)
        raw = records.clean_id(entity, id)
        return asking.one(
            entity, records.change_record(asking.edit_of(str(info.path.key)), entity, raw, _body(input), None)
        )

    return resolve


def _deletes(name: str) -> Resolver:
    def resolve(_root: Any, info: GraphQLResolveInfo[Any], id: str) -> bool:
        from stowage.records.deleting import delete_record

        asking: Asking = info.context
        entity = entity_at(name)
        delete_record(asking.edit_of(str(info.path.key)), entity, records.clean_id(entity, id), None)
        return True

    return resolve


def _body(given: Mapping[str, Any]) -> bytes:
    return write_json(dict(given)).encode()
