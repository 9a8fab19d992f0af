"""What a client may send of an entity, derived from its declaration (docs/api.md).

Types are strict: `"5"` is no number and `true` is no 1. Texts hold no NUL, whole numbers fit 64 bits, times name their
zone. Fields that Stowage itself keeps are not writable. `id` may be given once, when a record is made: ids of an import
are its source's own, and ids of posts are URLs; afterwards it stays as it is.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import AfterValidator, BeforeValidator, ConfigDict, StringConstraints, TypeAdapter, with_config
from pydantic import Field as Constraint

from stowage.basics.complaints import NO_NUL
from stowage.basics.ids import LONGEST_ID_BYTES, decode_id
from stowage.basics.moments import Moment
from stowage.entities.declaration import DATABASE, Entity, Field, Key
from stowage.entities.keys import EXPECTED
from stowage.entities.values import is_plain, read_value

MOST_ITEMS = 10_000
KEPT_BY_US = ("createdAt", "updatedAt", "deletedAt", "deletedBy", "purgeAt", "deletedOperation", "deletedWith")
"""Fields that no client writes."""

type Item = dict[str, Any]
"""The fields of a record that were given, by the names of their columns, ids raw."""

FITS_64_BITS = Constraint(ge=-(2**63), le=2**63 - 1)
BITS = {
    "smallint": Constraint(ge=-(2**15), le=2**15 - 1),
    "integer": Constraint(ge=-(2**31), le=2**31 - 1),
}
"""What fits the smaller types."""
_Text = Annotated[str, StringConstraints(pattern=NO_NUL)]


def _decoded(given: str) -> str:
    if 0 < len(given) <= LONGEST_ID_BYTES // 4 and given[0] != "~":
        return given  # nearly every id, ten thousand times; the pattern has seen to NUL
    raw = decode_id(given)
    if not raw or "\0" in raw or len(raw.encode()) > LONGEST_ID_BYTES:
        raise ValueError(f"an id has 1 to {LONGEST_ID_BYTES:,} bytes and no NUL character")
    return raw


def _raw(key: Key, given: object) -> str | None:
    """The raw id behind a text in either form, or behind a number where ids are numbers; None for what no id is."""
    if isinstance(given, int) and not isinstance(given, bool) and key.type in ("integer", "bigint"):
        return key.read(str(given))
    if not isinstance(given, str):
        raise ValueError("expected a text")  # noqa: TRY004 (pydantic takes ValueErrors)
    return key.read(decode_id(given))


@cache
def _id_type(key: Key) -> Any:
    """An id that is given to a record, or names another, read as the raw one."""
    if key.type == "text":
        return Annotated[_Text, AfterValidator(_decoded)]

    def read(given: object) -> str:
        raw = _raw(key, given)
        if raw is None:
            raise ValueError(f"expected {EXPECTED[key.type]}")
        return raw

    return Annotated[str, BeforeValidator(read)]


@cache
def _asked_id(key: Key) -> Any:
    """The id of a record that should be there, read as the raw one; None for one that no record can have."""
    return _id_type(key) if key.type == "text" else Annotated[str | None, BeforeValidator(partial(_raw, key))]


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
    one = _shape(entity, f"Update{_title(entity)}", _optional, _asked_id(entity.key))
    return TypeAdapter(_closed(f"Update{_title(entity)}s", {"updates": _many(one)}))


@cache
def defaults_of(entity: Entity) -> Item:
    """The values of fields that a new record does not name, as `Item`."""
    return {
        field.column: field.default
        for field in entity.own
        if not (field.required or field.is_read_only or field.default is DATABASE)
    }


@cache
def holds_exact(entity: Entity) -> bool:
    """Whether a field of an entity keeps more digits of a number than a double."""
    return any(field.type in ("json", "numeric") for field in entity.own)


_COUNT = Constraint(min_length=1, max_length=MOST_ITEMS)


def _many(item: Any) -> Any:
    return Annotated[list[item], _COUNT]


def _new(entity: Entity) -> Any:
    return _shape(
        entity,
        f"New{_title(entity)}",
        _as_declared,
        _id_type(entity.key),
        is_optional=entity.key.made_by != "client",
    )


def _title(entity: Entity) -> str:
    return entity.singular.title()


def _shape(
    entity: Entity, name: str, presence: Callable[[Field, Any], Any], id: Any = None, *, is_optional: bool = False
) -> Any:
    fields: dict[str, Any] = {}
    if id is not None:
        given = Annotated[id, Constraint(alias="id")]
        fields[entity.column("id")] = NotRequired[given] if is_optional else given
    fields |= {
        field.column: presence(
            field, Annotated[type_of(field, entity.key_of(field.name)), Constraint(alias=field.name)]
        )
        for field in entity.own
        if not field.is_read_only
    }
    return _closed(name, fields)


def _closed(name: str, fields: dict[str, Any]) -> Any:
    """A dict of just these fields: what was not given is not in it, so absent and null stay two things."""
    return with_config(ConfigDict(extra="forbid", strict=True))(TypedDict(name, fields))  # type: ignore[operator]


def _as_declared(field: Field, value: Any) -> Any:
    return value if field.required else NotRequired[value]


def _optional(_field: Field, value: Any) -> Any:
    return NotRequired[value]


def type_of(field: Field, key: Key | None) -> Any:
    """The declared type with what the database and the API ask of every value of that type.

    `key` is that of the records to which the field refers.
    """
    value: Any = _Text
    if key:
        value = _id_type(key)
    elif field.values:
        value = Literal[field.values]
    elif not is_plain(field):
        value = Annotated[Any, BeforeValidator(partial(read_value, field))]
    elif field.type == "integer":
        value = Annotated[int, BITS.get(field.sql_type or "", FITS_64_BITS)]
    elif field.type == "boolean":
        value = bool
    elif field.type == "timestamp":
        value = Moment
    for rule in field.rules:
        value = Annotated[value, rule]
    return value | None if field.is_nullable else value
