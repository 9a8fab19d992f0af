"""The declared entities, by name: what `stowage_entities` (layers/entities) says of this deployment's tables."""

from stowage.basics.errors import BadRequestError
from stowage.entities.declaration import Entity
from stowage_entities import DECLARED

ENTITIES: dict[str, Entity] = {declared.name: declared for declared in DECLARED}


def entity(name: str) -> Entity:
    """The declared entity of that plural name; a `BadRequestError` that lists those that are."""
    found = ENTITIES.get(name)
    if found is None:
        raise BadRequestError(
            f"{name!r} is not one of {', '.join(ENTITIES)}.",
            "unknown_data_type",
        )
    return found
