"""The schemas of a declared entity's records, derived from its declaration.

`stowage.records.models` reads bodies by the same declaration; a test holds the two against each other.
"""

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import create_model

from stowage.basics.ids import LONGEST_ID_BYTES
from stowage.entities.declaration import DATABASE, Entity, Field

type Schema = dict[str, Any]

STAND_INS = ("Record", "NewRecord", "ChangedRecord", "RecordUpdate")
"""The schemas of `stowage.records.shapes` that stand for those of an entity."""

_WRITTEN = ("type", "format", "enum", "const", "anyOf", "description", "items", "properties")
"""What a field's schema says of values that were read; its limits are those of values to be written."""


def schemas_of(entity: Entity) -> dict[str, Schema]:
    """`{entity}.Record` and so on: what answers show, and what bodies take."""
    given = _schemas_of_own(entity)
    own = {name: _taken(entity, name, schema) for name, schema in given.items()}
    required = [field.name for field in entity.own if field.required]
    identity = {"id": _ID}
    shown = {field.name: _shown(entity, field, own) for field in entity.fields}
    described = _described(entity)
    by_name = {
        "Record": {"type": "object", "properties": shown, "required": list(shown), "description": described},
        "NewRecord": _body(identity | own, required),
        "ChangedRecord": _body({name: _without_default(schema) for name, schema in own.items()}, []),
        "RecordUpdate": _body(identity | {name: _without_default(schema) for name, schema in own.items()}, ["id"]),
    }
    return {f"{entity.name}.{name}": schema for name, schema in by_name.items()}


_PYTHON: dict[str, Any] = {"integer": int, "number": float, "boolean": bool, "timestamp": datetime, "json": Any}


def _schemas_of_own(entity: Entity) -> dict[str, Schema]:
    """The schema of each field that a body may have, by its name."""
    fields: dict[str, Any] = {}
    for field in entity.own:
        if not field.is_read_only:
            one: Any = Literal[field.values] if field.values else _PYTHON.get(field.type, str)
            one = Annotated[one, *field.rules] if field.rules else one
            one = list[Any] if field.is_array else one
            given = one | None if field.is_nullable else one
            default = None if field.default is DATABASE else field.default
            fields[field.name] = (given, ... if field.required else default)
    found: dict[str, Schema] = create_model(entity.singular, **fields).model_json_schema()["properties"]
    return found


def _described(entity: Entity) -> str:
    return entity.description or (entity.model and inspect.getdoc(entity.model)) or f"A {entity.singular}."


def _body(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _taken(entity: Entity, name: str, schema: Schema) -> Schema:
    return _each(schema, lambda one: _ID if entity.holds_id(name) and one.get("type") == "string" else _limited(one))


def _shown(entity: Entity, field: Field, own: dict[str, Schema]) -> Schema:
    if field.type == "timestamp":
        declared = _without_default(own.get(field.name, _MOMENT))
        return _each(declared, lambda one: one if one.get("type") == "null" else _MOMENT)
    schema = _without_default(own.get(field.name, {"type": "string"}))
    if entity.holds_id(field.name):
        return _each(schema, lambda one: {"type": one["type"]})
    return _each(schema, lambda one: {name: value for name, value in one.items() if name in _WRITTEN})


def _each(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """The same schema with `change` done to it, or to each of the alternatives that it has."""
    kept = {name: value for name, value in schema.items() if name in ("default", "description")}
    if "anyOf" in schema:
        return kept | {"anyOf": [change(one) for one in schema["anyOf"]]}
    return kept | change({name: value for name, value in schema.items() if name not in ("title", "default")})


def _limited(schema: Schema) -> Schema:
    match schema.get("type"):
        case "string" if "enum" not in schema and "format" not in schema and "pattern" not in schema:
            return schema | {"pattern": _NO_NUL}
        case "integer" if "enum" not in schema:
            return {"minimum": -(2**63), "maximum": 2**63 - 1} | schema
    return schema


def _without_default(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "default"}


_NO_NUL = r"^[^\x00]*$"
_ID = {
    "type": "string", "minLength": 1, "maxLength": 1 + -(-LONGEST_ID_BYTES * 4 // 3), "pattern": _NO_NUL,
    "description": f"1 to {LONGEST_ID_BYTES:,} bytes, in either form (docs/api.md, Ids).",
}  # fmt: skip
_MOMENT = {"type": "string", "description": "RFC 3339 in UTC; what that cannot say, in Postgres' own text."}
