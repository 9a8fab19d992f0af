"""The query of a list of records: page, limit, sort, and the fields that filter it (docs/api.md)."""

from collections.abc import Mapping
from dataclasses import dataclass

from stowage.basics.errors import BadRequestError, Detail
from stowage.entities.declaration import Entity
from stowage.entities.filters import Filters, parse_filters
from stowage.postgres.reads.records import Sorting

DEFAULT_LIMIT, MOST_LIMIT, MOST_PAGE = 20, 100, 1_000_000
NEWEST_FIRST = "-createdAt"


@dataclass(frozen=True)
class ListQuery:
    """A list's query, read: `order` has a key for each field that was named, newest first where none was, by id where
    records do not say when they were made.
    """

    page: int
    limit: int
    order: tuple[Sorting, ...]
    filters: Filters

    @property
    def offset(self) -> int:
        """How many records stand before the page."""
        return (self.page - 1) * self.limit


def parse_query(entity: Entity, given: Mapping[str, str]) -> ListQuery:
    """Read a query string's parameters. BadRequestError with a detail for each that cannot be meant, unknown ones too.

    `sort` is `-createdAt,label`: declared fields, a minus for descending. Every other parameter is a filter as in
    exports: a declared field, `search`, `createdAfter`, `createdBefore`, `ids`.
    """
    details: list[Detail] = []
    page = _number(given, "page", 1, MOST_PAGE, details)
    limit = _number(given, "limit", DEFAULT_LIMIT, MOST_LIMIT, details)
    order = _sorting(entity, given.get("sort") or (NEWEST_FIRST if entity.created else "id"), details)
    filters = Filters()
    try:
        filters = parse_filters(entity.name, {k: v for k, v in given.items() if k not in ("page", "limit", "sort")})
    except BadRequestError as error:
        details += [
            {"field": detail["field"].removeprefix("filters."), "message": detail["message"]}
            for detail in error.details or []
        ]
    if details:
        first = details[0]
        raise BadRequestError(f"{first['field']}: {first['message']}.", "invalid_query", details=details)
    return ListQuery(page, limit, order, filters)


def _number(given: Mapping[str, str], name: str, usual: int, most: int, details: list[Detail]) -> int:
    text = given.get(name, str(usual))
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    details.append({"field": name, "message": f"expected a whole number from 1 to {most:,}"})
    return usual


def _sorting(entity: Entity, text: str, details: list[Detail]) -> tuple[Sorting, ...]:
    keys: dict[str, Sorting] = {}
    for part in text.split(","):
        name = part.strip().removeprefix("-")
        field = entity.field(name)
        if field is None:
            known = ", ".join(field.name for field in entity.fields)
            details.append({"field": "sort", "message": f"expected fields of {entity.name}: {known}"})
            break
        if field.type == "json" or field.is_array:
            details.append({"field": "sort", "message": f"{name} has no order"})
            break
        if name in keys:
            details.append({"field": "sort", "message": f"{name} stands there twice"})
            break
        keys[name] = Sorting(field, part.strip().startswith("-"))
    return tuple(keys.values())
