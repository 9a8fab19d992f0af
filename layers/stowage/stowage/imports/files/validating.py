"""Validates rows of a file against the types of their entity."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from stowage.basics.complaints import message
from stowage.basics.moments import Moment
from stowage.entities.declaration import Field, Key
from stowage.entities.declared import ENTITIES
from stowage.entities.keys import EXPECTED
from stowage.entities.values import is_plain, read_value
from stowage.records.models import BITS, FITS_64_BITS

LONGEST_ERROR = 500

type Record = dict[str, Any]
"""A row's fields by their names in the API. A field that the row does not have is absent."""


_TEXTS = ("text", "json", "bytes", "uuid", "other")
_PYTHON: dict[str, Any] = {"integer": int, "boolean": bool, "timestamp": Moment}


@dataclass(frozen=True)
class RowTypes:
    """How rows of one entity are read.

    `keeps`: fields that cannot be null but have a default; an empty cell leaves them unchanged. `texts`: fields
    whose cells are texts.
    """

    rows: TypeAdapter[list[Record]]
    keeps: frozenset[str]
    texts: frozenset[str]
    defaults: dict[str, Any] = field(default_factory=dict)


@cache
def row_types(entity_name: str, file_type: str) -> RowTypes:
    """The types of an entity's rows. JSON is as strict as in the API; a cell's text is converted where it can be."""
    entity = ENTITIES[entity_name]
    is_json = file_type == "ndjson"
    types: dict[str, Any] = {
        "id": _id_type(entity.key) if entity.key.made_by == "client" else NotRequired[_id_type(entity.key) | None],
    }
    for time in entity.times:
        types[time.name] = NotRequired[_type(time, is_json=is_json)]
    keeps, defaults = set(), {}
    for declared in entity.own:
        if declared.is_read_only:
            continue
        key = entity.key_of(declared.name)
        given = _reference_type(declared, key) if key else _type(declared, is_json=is_json)
        types[declared.name] = given if declared.required else NotRequired[given]
        if not declared.required:
            defaults[declared.name] = declared.default
            if not declared.is_nullable:
                keeps.add(declared.name)
    shape: Any = TypedDict(entity.singular, types)  # type: ignore[misc]
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=is_json)  # type: ignore[attr-defined]
    adapter: TypeAdapter[list[Record]] = TypeAdapter(list[shape])
    texts = frozenset(declared.name for declared in entity.fields if declared.type in _TEXTS or declared.is_array)
    return RowTypes(adapter, frozenset(keeps), texts, defaults)


def _id_type(key: Key) -> Any:
    """A raw id. Where ids are numbers, JSON may give one."""
    if key.type == "text":
        return Annotated[str, StringConstraints(min_length=1)]

    def read(given: object) -> str:
        number = isinstance(given, int) and not isinstance(given, bool) and key.type != "uuid"
        raw = key.read(str(given)) if number or isinstance(given, str) else None
        if raw is None:
            raise ValueError(f"expected {EXPECTED[key.type]}")
        return raw

    return Annotated[str, BeforeValidator(read)]


def _reference_type(declared: Field, key: Key) -> Any:
    given = str if key.type == "text" else _id_type(key)
    given = Annotated[given, *declared.rules] if declared.rules else given
    return given | None if declared.is_nullable else given


def _type(declared: Field, *, is_json: bool) -> Any:
    given: Any = Literal[declared.values] if declared.values else _PYTHON.get(declared.type, str)
    if not declared.values and not is_plain(declared):
        given = Annotated[Any, BeforeValidator(partial(read_value, declared, is_cell=not is_json))]
    elif declared.type == "integer":
        limits = BITS.get(declared.sql_type or "", FITS_64_BITS)
        given = Annotated[given, limits] if is_json else Annotated[given, limits, BeforeValidator(_number)]
    given = Annotated[given, *declared.rules] if declared.rules else given
    return given | None if declared.is_nullable else given


def _number(given: object) -> object:
    """Refuse `True` and `1_000`, which Python alone takes for numbers."""
    if isinstance(given, bool) or (isinstance(given, str) and "_" in given):
        raise ValueError("expected a number")
    return given


def validate(types: RowTypes, given: Sequence[Record]) -> tuple[list[Record | None], dict[int, str]]:
    """The converted records (None where a row has errors), and the errors by the row's index from 0."""
    try:
        return list(types.rows.validate_python(given)), {}
    except ValidationError as refused:
        errors: dict[int, list[str]] = {}
        for error in refused.errors(include_url=False):
            place, *path = error["loc"]
            errors.setdefault(int(place), []).append(_told(error, path))
    good = [n for n in range(len(given)) if n not in errors]
    records: list[Record | None] = [None] * len(given)
    for n, record in zip(good, types.rows.validate_python([given[n] for n in good]), strict=True):
        records[n] = record
    return records, {n: "; ".join(told)[:LONGEST_ERROR] for n, told in errors.items()}


_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, but those that stand for single bytes (Python documentation, "surrogateescape")."""
_HALF = "holds half a surrogate pair, which is no character"
NO_UTF_8 = 'no UTF-8; if the whole file has another encoding, send "encoding": "windows-1252", or what it has'


def _told(error: Any, path: list[Any]) -> str:
    if error["input"] is None:
        error = error | {"type": "missing"}
    text = message(error)
    if error["type"] == "string_unicode":
        text = f"the text {_HALF}" if _HALVES.search(error["input"]) else f"the text is {NO_UTF_8}"
    return f"{path[0]}: {text}" if path else text
