"""The declared entities, by name: what `stowage_entities` (layers/entities) says of this deployment's tables."""

from stowage.basics.errors import BadRequestError, NotFoundError
from stowage.entities.declaration import Entity
from stowage_entities import DECLARED

ENTITIES: dict[str, Entity] = {declared.name: declared for declared in DECLARED}


def entity_at(name: str, code: str = "not_found") -> Entity:
    """The entity whose plural name stands in a path; NotFoundError, for reserved names too."""
    found = ENTITIES.get(name)
    if found is None:
        raise NotFoundError(f"There is no entity {name!r}; there are {', '.join(ENTITIES)}.", code)
    return found


def entity_named(name: str, field: str = "dataType", *, or_singular: bool = False) -> Entity:
    """The entity that a request names in `field`, by its plural name.

    BadRequestError `unknown_data_type`, which lists the entities that are declared.
    """
    for declared in ENTITIES.values():
        if name == declared.name or (or_singular and name == declared.singular):
            return declared
    message = f"is not one of {', '.join(ENTITIES)}"
    raise BadRequestError(f"{name!r} {message}.", "unknown_data_type", details=[{"field": field, "message": message}])


def must_have_trash(declared: Entity) -> None:
    """BadRequestError `not_supported` for an entity whose table has no columns for the trash."""
    if not declared.soft_delete:
        raise BadRequestError(f"There is no trash for {declared.name}.", "not_supported")
