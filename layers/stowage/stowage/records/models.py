"""What a client may send of an entity, derived from its declaration (docs/api.md).

Types are strict: `"5"` is no number and `true` is no 1. Texts hold no NUL, whole numbers fit 64 bits, times name their
zone. Fields that Stowage itself keeps are not writable. `id` may be given once, when a record is made: ids of an import
are its source's own, and ids of posts are URLs; afterwards it stays as it is.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import AfterValidator, ConfigDict, StringConstraints, TypeAdapter, with_config
from pydantic import Field as Constraint

from stowage.basics.complaints import NO_NUL
from stowage.basics.ids import LONGEST_ID_BYTES, decode_id
from stowage.basics.moments import Moment
from stowage.entities.declaration import DATABASE, Entity, Field

MOST_ITEMS = 10_000
KEPT_BY_US = ("createdAt", "updatedAt", "deletedAt", "deletedBy", "purgeAt", "deletedOperation", "deletedWith")
"""Fields that no client writes."""

type Item = dict[str, Any]
"""The fields of a record that were given, by the names of their columns, ids raw."""

FITS_64_BITS = Constraint(ge=-(2**63), le=2**63 - 1)
_Text = Annotated[str, StringConstraints(pattern=NO_NUL)]


def _decoded(given: str) -> str:
    if 0 < len(given) <= LONGEST_ID_BYTES // 4 and given[0] != "~":
        return given  # nearly every id, ten thousand times; the pattern has seen to NUL
    raw = decode_id(given)
    if not raw or "\0" in raw or len(raw.encode()) > LONGEST_ID_BYTES:
        raise ValueError(f"an id has 1 to {LONGEST_ID_BYTES:,} bytes and no NUL character")
    return raw


_Id = Annotated[_Text, AfterValidator(_decoded)]


@cache
def new_record(entity: Entity) -> TypeAdapter[Item]:
    """What makes one record: every field of its own that has no default, and an `id` or none."""
    return TypeAdapter(_new(entity))


@cache
def changed_record(entity: Entity) -> TypeAdapter[Item]:
    """What changes one record: any of its own fields. An absent one stays; null empties one that may be empty."""
    return TypeAdapter(_shape(entity, f"Changed{_title(entity)}", _optional))


@cache
def new_records(entity: Entity) -> TypeAdapter[Any]:
    """An import's body."""
    options = _closed("ImportOptions", {"skipInvalid": NotRequired[bool], "returnFailures": NotRequired[bool]})
    items = _many(_new(entity))
    return TypeAdapter(_closed(f"Import{_title(entity)}", {"items": items, "options": NotRequired[options]}))


@cache
def changed_records(entity: Entity) -> TypeAdapter[Any]:
    """A bulk update's body."""
    one = _shape(entity, f"Update{_title(entity)}", _optional, id=_Id)
    return TypeAdapter(_closed(f"Update{_title(entity)}s", {"updates": _many(one)}))


@cache
def defaults_of(entity: Entity) -> Item:
    """The values of fields that a new record does not name, as `Item`."""
    return {
        field.column: field.default
        for field in entity.own
        if not (field.required or field.is_read_only or field.default is DATABASE)
    }


_COUNT = Constraint(min_length=1, max_length=MOST_ITEMS)


def _many(item: Any) -> Any:
    return Annotated[list[item], _COUNT]


def _new(entity: Entity) -> Any:
    return _shape(entity, f"New{_title(entity)}", _as_declared, id=NotRequired[_Id])


def _title(entity: Entity) -> str:
    return entity.singular.title()


def _shape(entity: Entity, name: str, presence: Callable[[Field, Any], Any], **more: Any) -> Any:
    fields = {
        field.column: presence(
            field, Annotated[_value(field, is_id=entity.holds_id(field.name)), Constraint(alias=field.name)]
        )
        for field in entity.own
        if not field.is_read_only
    }
    return _closed(name, more | fields)


def _closed(name: str, fields: dict[str, Any]) -> Any:
    """A dict of just these fields: what was not given is not in it, so absent and null stay two things."""
    return with_config(ConfigDict(extra="forbid", strict=True))(TypedDict(name, fields))  # type: ignore[operator]


def _as_declared(field: Field, value: Any) -> Any:
    return value if field.required else NotRequired[value]


def _optional(_field: Field, value: Any) -> Any:
    return NotRequired[value]


def _value(field: Field, *, is_id: bool) -> Any:
    """The declared type with what the database and the API ask of every value of that type."""
    value: Any = _Text
    if is_id:
        value = _Id
    elif field.values:
        value = Literal[field.values]
    elif field.type == "integer":
        value = Annotated[int, FITS_64_BITS]
    elif field.type == "number":
        value = Annotated[float, Constraint(allow_inf_nan=False)]
    elif field.type == "boolean":
        value = bool
    elif field.type == "timestamp":
        value = Moment
    for rule in field.rules:
        value = Annotated[value, rule]
    return value | None if field.is_nullable else value
