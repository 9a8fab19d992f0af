"""The schemas of a declared entity's records, derived from its declaration.

`stowage.records.models` reads bodies by the same declaration; a test holds the two against each other.
"""

from collections.abc import Callable
from typing import Any

from stowage.basics.ids import LONGEST_ID_BYTES
from stowage.entities.declaration import Entity, Field

type Schema = dict[str, Any]

STAND_INS = ("Record", "NewRecord", "ChangedRecord", "RecordUpdate")
"""The schemas of `stowage.records.shapes` that stand for those of an entity."""

_WRITTEN = ("type", "format", "enum", "const", "anyOf", "description", "items", "properties")
"""What a field's schema says of values that were read; its limits are those of values to be written."""


def schemas_of(entity: Entity) -> dict[str, Schema]:
    """`{entity}.Record` and so on: what answers show, and what bodies take."""
    model = entity.model.model_json_schema()
    given = _resolved(model["properties"], model.get("$defs", {}))
    own = {name: _taken(entity, name, schema) for name, schema in given.items()}
    required = model.get("required", [])
    identity = {"id": _ID}
    shown = {field.name: _shown(entity, field, own) for field in entity.fields}
    described = model.get("description", f"A {entity.singular}.")
    by_name = {
        "Record": {"type": "object", "properties": shown, "required": list(shown), "description": described},
        "NewRecord": _body(identity | own, required),
        "ChangedRecord": _body({name: _without_default(schema) for name, schema in own.items()}, []),
        "RecordUpdate": _body(identity | {name: _without_default(schema) for name, schema in own.items()}, ["id"]),
    }
    return {f"{entity.name}.{name}": schema for name, schema in by_name.items()}


def _resolved(part: Any, definitions: dict[str, Schema]) -> Any:
    """The same with the definitions in place of references to them: an Enum is one."""
    match part:
        case {"$ref": reference, **rest}:
            return _resolved(definitions[reference.rpartition("/")[2]], definitions) | rest
        case dict():
            return {name: _resolved(inner, definitions) for name, inner in part.items()}
        case list():
            return [_resolved(inner, definitions) for inner in part]
    return part


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
