"""Runs the hooks of an entity's fields over records that a client gives, before the database sees them.

They run for new records and changes, in single requests, bulk requests, imports and files; not for what was there
already, which undo, the trash and `bulk/reassign` move.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stowage.basics.complaints import message, refusal
from stowage.basics.errors import Detail
from stowage.basics.json_numbers import from_floats, to_floats
from stowage.entities.declaration import Entity, Field
from stowage.entities.hooks import hook_named
from stowage.records.bodies import Items
from stowage.records.models import Item, type_of

logger = logging.getLogger(__name__)

LONGEST_WORDS = 500


def hooked(entity: Entity, item: Item, *, is_new: bool) -> Item:
    """The item of a request with one record after its hooks; BadRequestError that names each field they refuse."""
    done, details = _after_hooks(entity, item, is_new=is_new)
    if details:
        raise refusal(details)
    return done


def hooked_items(entity: Entity, items: Items, *, is_new: bool) -> Items:
    """The items of a request after their hooks; those that they refuse are among the invalid ones."""
    if not _hooked_fields(entity):
        return items
    valid: list[tuple[int, Item]] = []
    invalid = dict(items.invalid)
    for index, item in items.valid:
        done, details = _after_hooks(entity, item, is_new=is_new)
        if details:
            invalid[index] = [
                {"field": f"{items.key}[{index}].{each['field']}", "message": each["message"]} for each in details
            ]
        else:
            valid.append((index, done))
    return replace(items, valid=valid, invalid=invalid)


def hooked_row(entity: Entity, row: Mapping[str, Any], *, is_new: bool) -> tuple[dict[str, Any], list[Detail]]:
    """A record by its fields' names after the hooks, and what they refuse of it."""
    done, details = dict(row), list[Detail]()
    for field in _hooked_fields(entity):
        details += _run(entity, field, done, MappingProxyType(to_floats(dict(row))), is_new=is_new)
    return done, details


def _after_hooks(entity: Entity, item: Item, *, is_new: bool) -> tuple[Item, list[Detail]]:
    fields = _hooked_fields(entity)
    if not fields:
        return item, []
    names = {field.column: field.name for field in entity.fields}
    done, details = hooked_row(entity, {names[column]: value for column, value in item.items()}, is_new=is_new)
    return {entity.column(name): value for name, value in done.items()}, details


def _run(
    entity: Entity, field: Field, done: dict[str, Any], record: Mapping[str, Any], *, is_new: bool
) -> list[Detail]:
    """Let a field's hook make its value in `done`; what is wrong with it."""
    assert field.hook is not None, "a field with a hook"
    hook = hook_named(field.hook)
    try:
        value = hook(record.get(field.name), record)
    except ValueError as error:
        words = " ".join(str(error).split())[:LONGEST_WORDS]
        return [{"field": field.name, "message": words or "is not as it must be"}]
    except Exception as error:
        logger.exception("the hook %s of %s.%s", field.hook, entity.name, field.name)
        return [{"field": field.name, "message": f"its hook {field.hook} failed ({type(error).__name__})"}]
    if value is None and field.name not in record:
        return [{"field": field.name, "message": "is required"}] if is_new and field.must_be_made else []
    try:
        done[field.name] = _type(entity, field).validate_python(from_floats(value) if field.type == "json" else value)
    except ValidationError as error:
        told = message(error.errors(include_url=False)[0])
        return [{"field": field.name, "message": f"its hook {field.hook} gives something else: {told}"}]
    return []


@cache
def _hooked_fields(entity: Entity) -> tuple[Field, ...]:
    return tuple(field for field in entity.own if field.hook)


@cache
def _type(entity: Entity, field: Field) -> TypeAdapter[Any]:
    return TypeAdapter(type_of(field, entity.key_of(field.name)), config={"strict": True})
