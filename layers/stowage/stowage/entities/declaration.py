"""How a table of a tenant is declared.

Exports, bulk edits, the trash, the record routes and imports all read the declarations of `stowage_entities`
(layers/entities): each `Entity` names a table, its model (the fields as the API names them), what its filters take, and
which field names a record to a person. Columns are the snake_case of the fields; `id`, `created_at` and `updated_at`
are on every table; `deleted_at`, `deleted_by`, `purge_at`, `deleted_operation` and `deleted_with` (the parent that took
a record along to the trash; empty once its purge has begun) are on those with `soft_delete`:
`python -m stowage.postgres soft-delete TABLE` prints the migration that adds them.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from pydantic import BaseModel

FieldType = Literal["text", "integer", "number", "boolean", "timestamp"]
"""What a column holds, as filters, spreadsheets and Parquet need to know it."""

_TYPES: dict[type, FieldType] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "timestamp",
}


@dataclass(frozen=True)
class Field:
    """One field of an entity: `name` in the API and in files, `column` in Postgres."""

    name: str
    column: str
    type: FieldType


@dataclass(frozen=True)
class Reference:
    """A field that holds the id of a record of another entity (`entity` is its plural name).

    `on_delete` says what deleting that one means here: `cascade` takes these records along to the trash (one level
    deep, so they need one), `restrict` refuses while there are any outside it, `keep` leaves them as they are until
    that one goes for good: then the field is emptied, if its model lets it be. `filters` are fields of the record
    referred to by which these records may be filtered too: posts by the `platform` of their account.
    """

    field: str
    entity: str
    on_delete: Literal["cascade", "restrict", "keep"]
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entity:
    """A table of records. `name` is the plural used in paths and as `dataType`.

    `label` is the field that names a record to a person, `search` those that a free-text search looks in, `filters`
    those that may be filtered by equality: every field but times, unless given. `unique` are sets of fields that no
    two records outside the trash share, `references` the fields that name records of other entities.
    """

    name: str
    singular: str
    table: str
    model: type[BaseModel]
    label: str
    id_prefix: str
    search: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    soft_delete: bool = True
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    fields: tuple[Field, ...] = field(init=False)

    def __post_init__(self) -> None:
        own = [Field(name, _column(name), _type(info.annotation)) for name, info in self.model.model_fields.items()]
        times = [Field(name, _column(name), "timestamp") for name in ("createdAt", "updatedAt")]
        object.__setattr__(self, "fields", (Field("id", "id", "text"), *own, *times))
        if not self.filters:
            object.__setattr__(self, "filters", tuple(f.name for f in self.fields if f.type != "timestamp"))
        if not self.soft_delete and any(reference.on_delete == "cascade" for reference in self.references):
            raise ValueError(f"{self.name} have no trash that something could take them along to (cascade)")

    def field(self, name: str) -> Field | None:
        """The field of that API name, or None."""
        return next((f for f in self.fields if f.name == name), None)

    def holds_id(self, name: str) -> bool:
        """Whether a field holds an id: the record's own, or that of another record."""
        return name == "id" or any(reference.field == name for reference in self.references)

    def column(self, name: str) -> str:
        """The column of the field of that API name; KeyError where there is none."""
        found = self.field(name)
        if found is None:
            raise KeyError(name)
        return found.column

    def is_optional(self, name: str) -> bool:
        """Whether the field of that API name may be null."""
        return type(None) in get_args(self.model.model_fields[name].annotation)

    def children(self, on_delete: str) -> "list[tuple[Entity, Reference]]":
        """The entities that refer to this one in that way, each with the reference."""
        from stowage.entities.declared import ENTITIES

        return [
            (child, reference)
            for child in ENTITIES.values()
            for reference in child.references
            if reference.entity == self.name and reference.on_delete == on_delete
        ]


def _column(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _type(annotation: object) -> FieldType:
    candidates = [annotation, *get_args(annotation)]
    for candidate in candidates:
        if isinstance(candidate, type) and candidate in _TYPES:
            return _TYPES[candidate]
    return "text"
