"""The declared entities, by name: each is made of what `stowage_entities` (layers/entities) says, at its first use."""

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any

from pydantic import Field as Constraint

from stowage.basics.errors import BadRequestError, NotFoundError
from stowage.entities.absence import absent
from stowage.entities.declaration import DATABASE, Entity, Field, Key, Reassignment, Reference, Shared, Time, Trash
from stowage.entities.keys import KeyType
from stowage.entities.types import read_type
from stowage_entities import DECLARED


class Entities(MutableMapping[str, Entity]):
    """Entities by name; `literals` are as `stowage.entities.language` makes them.

    An entity with something that Stowage cannot do yet is none here; `unable` says what that is, by name.
    While work is done for a tenant without an entity's table, the entity is found by its name, and is not among the
    others (`stowage.entities.absence`).
    """

    def __init__(self, literals: Mapping[str, Mapping[str, Any]]) -> None:
        self.unable: dict[str, tuple[str, ...]] = {
            name: literal["lacks"] for name, literal in literals.items() if literal["lacks"]
        }
        self._literals = {name: literal for name, literal in literals.items() if name not in self.unable}
        self._made: dict[str, Entity] = {}

    def __getitem__(self, name: str) -> Entity:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = make_entity(name, self._literals[name], self._literals)
        return found

    def __setitem__(self, name: str, entity: Entity) -> None:
        self._made[name] = entity
        self._literals.setdefault(name, {})

    def __delitem__(self, name: str) -> None:
        del self._literals[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        lacking = absent()
        return iter([name for name in self._literals if name not in lacking] if lacking else self._literals)

    def __contains__(self, name: object) -> bool:
        return name in self._literals and name not in absent()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def declared(self) -> list[Entity]:
        """Every entity, whatever the tenant at work lacks."""
        return [self[name] for name in self._literals]


def make_entity(name: str, literal: Mapping[str, Any], others: Mapping[str, Any]) -> Entity:
    """The entity of a literal. It refers to those of `others` alone."""
    return Entity(
        name,
        literal["singular"],
        literal["table"],
        None,
        label=literal["label"],
        id_prefix=literal["id_prefix"],
        search=literal["search"],
        filters=literal["filters"],
        soft_delete=literal["soft_delete"],
        trash=_trash(literal["trash"], literal["purge_days"]),
        unique=literal["unique"],
        references=tuple(Reference(*given) for given in literal["references"] if given[1] in others),
        own=tuple(
            _field(field, given, field in {name for name, *_ in literal["references"]})
            for field, given in literal["fields"].items()
            if not given.get("hidden")
        ),
        key=Key(tuple((column, key_type(given)) for column, given in literal["key"]), literal["maker"]),
        is_read_only=literal["read_only"],
        dashboard=literal["dashboard"],
        gdpr=literal["gdpr"],
        reassign=tuple(Reassignment(*given) for given in literal["reassign"]),
        description=literal["description"],
        created=_time(literal["created"]),
        updated=_time(literal["updated"]),
        shared=Shared(literal["schema"], literal["where"][0]) if literal["schema"] else None,
    )


def _trash(given: tuple[str, str] | None, purge_days: int | None) -> Trash:
    if given is None:
        return Trash()
    column, kind = given
    return Trash(column, is_flag="flag" in kind, may_be_null=kind == "nullable flag", purge_days=purge_days)


def _time(given: tuple[str, str] | None) -> Time | None:
    if given is None:
        return None
    column = read_type(given[1])
    return Time(given[0], "local_timestamp" if column and column.kind == "local_timestamp" else "timestamp")


def key_type(sql_type: str) -> KeyType:
    """The type of ids in a column of that type."""
    column = read_type(sql_type)
    match column and column.kind:
        case "integer":
            return "bigint" if column and column.base == "bigint" else "integer"
        case "uuid":
            return "uuid"
        case "text":
            return "text"
    return "other"


def _field(name: str, given: Mapping[str, Any], refers: bool) -> Field:
    column = read_type(given["sql"])
    assert column is not None, f"the build has read {given['sql']}"
    size, digits = (*column.sizes, None, None)[:2]
    is_filled = given.get("filled", False)
    return Field(
        name,
        given["column"],
        "text" if refers else column.kind,
        column.is_array and not refers,
        sql_type=column.text,
        is_nullable=given["nullable"],
        required=not (given["nullable"] or is_filled or "default" in given or "hook" in given),
        default=DATABASE if is_filled else given.get("default"),
        values=given.get("values", ()),
        precision=size if column.kind == "numeric" else None,
        scale=digits if column.kind == "numeric" else None,
        is_read_only=given.get("read_only", False),
        rules=_rules(tuple(given.get("limits", {}).items())),
        hook=given.get("hook"),
    )


@cache
def _rules(limits: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
    """Limits by pydantic's names as what a type is annotated with."""
    return tuple(Constraint(**dict(limits)).metadata) if limits else ()


ENTITIES = Entities(DECLARED)

HIDDEN: dict[str, tuple[str, ...]] = {
    name: columns
    for name, literal in DECLARED.items()
    if (columns := tuple(given["column"] for given in literal["fields"].values() if given.get("hidden")))
}
"""The columns of hidden fields, by entity: in no answer, no file and no journal."""


def entity_at(name: str, code: str = "not_found") -> Entity:
    """The entity whose plural name stands in a path; NotFoundError, for reserved names too."""
    _must_work(name)
    found = ENTITIES.get(name)
    if found is None:
        raise NotFoundError(f"There is no entity {name!r}; there are {', '.join(ENTITIES)}.", code)
    return found


def entity_named(name: str, field: str = "dataType", *, or_singular: bool = False) -> Entity:
    """The entity that a request names in `field`, by its plural name.

    BadRequestError `unknown_data_type`, which lists the entities that are declared.
    """
    _must_work(name)
    return entity_among(name, ENTITIES.declared, field, or_singular=or_singular)


def entity_among(
    name: str,
    entities: Collection[Entity],
    field: str = "dataType",
    *,
    or_singular: bool = False,
    code: str = "unknown_data_type",
) -> Entity:
    """That of these entities which a request names in `field`; BadRequestError `code`, which lists them."""
    for declared in entities:
        if name == declared.name or (or_singular and name == declared.singular):
            return declared
    message = f"is not one of {', '.join(declared.name for declared in entities)}"
    raise BadRequestError(f"{name!r} {message}.", code, details=[{"field": field, "message": message}])


def must_have_trash(declared: Entity) -> None:
    """BadRequestError `not_supported` for an entity whose table has no columns for the trash."""
    if not declared.soft_delete:
        raise BadRequestError(f"There is no trash for {declared.name}.", "not_supported")


def writable_entity_at(name: str, code: str = "not_found") -> Entity:
    """The entity whose plural name stands in the path of a request that changes records.

    NotFoundError as `entity_at`, BadRequestError as `must_be_writable`.
    """
    found = entity_at(name, code)
    must_be_writable(found)
    return found


def must_be_writable(declared: Entity) -> None:
    """BadRequestError `not_supported` for an entity whose records are only read."""
    if declared.why_only_read:
        raise BadRequestError(f"{declared.name} are only read: {declared.why_only_read}.", "not_supported")


def must_hold_everything() -> None:
    """BadRequestError `not_supported` where an entity that belongs to an export of everything cannot be read yet."""
    for name in ENTITIES.unable:
        if DECLARED[name]["gdpr"]:
            _must_work(name)


def _must_work(name: str) -> None:
    if lacking := ENTITIES.unable.get(name):
        raise BadRequestError(f"Stowage cannot serve {name} yet: they have {', and '.join(lacking)}.", "not_supported")
