"""How a table of a tenant is declared.

Exports, bulk edits, the trash, the record routes and imports all read the declarations of `stowage_entities`
(layers/entities): each `Entity` names a table, its key, its fields (a model of them as the API names them, or each with
its column and type), what its filters take, and which field names a record to a person. Columns of a model's fields are
their snake_case. Those with `soft_delete` have a column of the product's own that says so (`Trash`).
"""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stowage.entities.keys import KeyType, canonical, composite

FieldType = Literal[
    "text",
    "integer",
    "number",
    "numeric",
    "boolean",
    "timestamp",
    "local_timestamp",
    "date",
    "time",
    "interval",
    "uuid",
    "json",
    "bytes",
    "other",
]
"""What a column holds, as bodies, filters and files need to know it.

`integer` is of up to 64 bits, `number` a float of up to 64, `numeric` exact. A `timestamp` has a zone, a
`local_timestamp` has none. `json` is json or jsonb, `bytes` bytea. `other` is any other type (an enum, inet, a range,
an adopter's own): in Stowage it is the text that Postgres writes of it.
"""

KeyMaker = Literal["stowage", "database", "client"]
"""Who makes the ids of new records that come without one: Stowage, the column's default or identity, nobody."""

DATABASE: Final = object()
"""A field's default where the column's own default is left to the database."""

COMPOSED: Final = "stw_id"
"""The column that reads add to tables with a key of several columns."""

_UNFILTERED = ("timestamp", "local_timestamp", "json", "bytes")
_TYPES: dict[type, FieldType] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "timestamp",
}


@dataclass(frozen=True)
class Field:
    """One field of an entity: `name` in the API and in files, `column` in Postgres.

    `is_array`: the column holds arrays of `type`. `sql_type` is the column's type as Postgres names it, where `type`
    does not say it: of `other`, and of what is smaller than its `type` (`smallint`, `real`, `json`). A
    numeric has `precision` digits with `scale` of them behind the point. `values` are the only ones that the field
    takes. A field that is not `required` may be left out of a new record, which then gets
    `default`: a value, or `DATABASE`. `is_read_only`: the database alone writes it. `rules` are constraints of
    pydantic's. `hook` is the function of `hooks.py` that judges its value or makes it.
    """

    name: str
    column: str
    type: FieldType
    is_array: bool = False
    sql_type: str | None = None
    is_nullable: bool = False
    required: bool = False
    default: Any = None
    precision: int | None = None
    scale: int | None = None
    values: tuple[str, ...] = ()
    is_read_only: bool = False
    rules: tuple[Any, ...] = ()
    hook: str | None = None

    @property
    def must_be_made(self) -> bool:
        """Whether a new record without it needs its hook to give it a value."""
        return self.hook is not None and not self.is_nullable and self.default is None


@dataclass(frozen=True)
class Key:
    """What identifies a record: one column and its type, or several together (`columns`: each with its type).

    Several are a composite key: such records are read and not written. Their id is the JSON array of the columns'
    texts, as Postgres writes it of jsonb.
    """

    columns: tuple[tuple[str, KeyType], ...] = (("id", "text"),)
    made_by: KeyMaker = "stowage"

    @property
    def type(self) -> KeyType:
        """The type of a key of one column; of others that of their ids, which are texts."""
        return "text" if self.is_composite else self.columns[0][1]

    @property
    def column(self) -> str:
        """The column of the id: the key's own, or `COMPOSED`, which reads add where there are several."""
        return self.columns[0][0] if len(self.columns) == 1 else COMPOSED

    @property
    def names(self) -> tuple[str, ...]:
        """The key's columns."""
        return tuple(column for column, _ in self.columns)

    @property
    def is_composite(self) -> bool:
        """Whether several columns are the key."""
        return len(self.columns) > 1

    def read(self, raw: str) -> str | None:
        """The one text of an id, None for a text that no record's id is."""
        if self.is_composite:
            return composite([kind for _, kind in self.columns], raw)
        return canonical(self.type, raw)


@dataclass(frozen=True)
class Time:
    """A column in which Stowage keeps when a record was made or last changed, in UTC where it has no zone."""

    column: str
    type: Literal["timestamp", "local_timestamp"] = "timestamp"

    def field(self, name: str) -> Field:
        """The field that shows it."""
        return Field(name, self.column, self.type, is_nullable=True, is_read_only=True)


@dataclass(frozen=True)
class Shared:
    """Where a table lies that all tenants share, and the column that holds the tenant's id."""

    schema: str
    column: str


@dataclass(frozen=True)
class Reference:
    """A field that holds the id of a record of another entity (`entity` is its plural name).

    `on_delete` says what deleting that one means here: `cascade` takes these records along to the trash (one level
    deep, so they need one), `restrict` refuses while there are any outside it, `keep` leaves them as they are until
    that one goes for good: then the field is emptied, if its model lets it be. `filters` are fields of the record
    referred to by which these records may be filtered too: posts by the `platform` of their account. `agrees` are
    fields that both have, with the same value: an account and its group have one `brandId`.
    """

    field: str
    entity: str
    on_delete: Literal["cascade", "restrict", "keep"]
    filters: tuple[str, ...] = ()
    agrees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reassignment:
    """What the dashboard's `bulk/reassign` sets: `name` in the request, `field` of the record, which holds an id.

    `of` is the field of the other record that must hold the first target's id: the group is one of the brand's.
    """

    name: str
    field: str
    of: str | None = None


@dataclass(frozen=True)
class Trash:
    """How a row says that it is in the trash: `column` holds since when, or (`is_flag`) that it is.

    `may_be_null`: a flag that is null outside the trash in some rows. `purge_days`: how long what the product deleted
    itself stays; None: until somebody purges it. Whatever else the trash needs lies beside the row
    (`stowage.postgres.tables.trashed`).
    """

    column: str = "deleted_at"
    is_flag: bool = False
    may_be_null: bool = False
    purge_days: int | None = None


@dataclass(frozen=True)
class Entity:
    """A table of records, or a view of them that is only read. `name` is the plural used in paths and as `dataType`.

    `own` are the fields beside the key and the times, where no `model` says them. `label` is the field that names a
    record to a person, `search` those that a free-text search looks in, `filters` those that may be filtered by
    equality: every field but times, unless given. `unique` are sets of fields that no two records outside the trash
    share, `references` the fields that name records of other entities. `key` says what identifies a record and who
    makes it; `id_prefix` begins the ids that Stowage makes of texts. `dashboard`: the dashboard's trash and its
    `bulk/delete` have it; `gdpr`: an export of everything holds it; `reassign`: the targets of `bulk/reassign`, of
    which the first must be given. `created` and `updated`: where the table keeps its records' times, if
    it does. `shared`: the table is not in the tenant's schema.
    """

    name: str
    singular: str
    table: str
    model: type[BaseModel] | None
    label: str
    id_prefix: str = ""
    search: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    soft_delete: bool = True
    trash: Trash = Trash()
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    own: tuple[Field, ...] = ()
    key: Key = Key()
    is_read_only: bool = False
    dashboard: bool = False
    gdpr: bool = True
    reassign: tuple[Reassignment, ...] = ()
    description: str = ""
    created: Time | None = Time("created_at")
    updated: Time | None = Time("updated_at")
    shared: Shared | None = None
    fields: tuple[Field, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.key.made_by == "stowage" and self.key.type in ("integer", "bigint"):
            raise ValueError(f"{self.name}: Stowage makes no numbers as ids; let the database or the client make them")
        if self.model is not None:
            fields = tuple(_field_of(name, info) for name, info in self.model.model_fields.items())
            object.__setattr__(self, "own", fields)
        refer = {reference.field for reference in self.references}
        own = tuple(replace(each, type="text") if each.name in refer else each for each in self.own)
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "fields", (Field("id", self.key.column, "text"), *self.own, *self.times))
        if not self.filters:
            object.__setattr__(
                self, "filters", tuple(f.name for f in self.fields if f.type not in _UNFILTERED and not f.is_array)
            )
        if not self.soft_delete and any(reference.on_delete == "cascade" for reference in self.references):
            raise ValueError(f"{self.name} have no trash that something could take them along to (cascade)")

    def field(self, name: str) -> Field | None:
        """The field of that API name, or None."""
        return next((f for f in self.fields if f.name == name), None)

    def holds_id(self, name: str) -> bool:
        """Whether a field holds an id: the record's own, or that of another record."""
        return name == "id" or any(reference.field == name for reference in self.references)

    def key_of(self, name: str) -> Key | None:
        """The key of the records that a field names by their ids: these or others; None for a field that names none."""
        if name == "id":
            return self.key
        from stowage.entities.declared import ENTITIES

        found = next((reference for reference in self.references if reference.field == name), None)
        return None if found is None else ENTITIES[found.entity].key if found.entity in ENTITIES else Key()

    @property
    def times(self) -> tuple[Field, ...]:
        """The fields that show when a record was made and last changed, as far as its table keeps it."""
        named = (("createdAt", self.created), ("updatedAt", self.updated))
        return tuple(time.field(name) for name, time in named if time)

    @property
    def stamps(self) -> tuple[str, ...]:
        """The column that every change of a record sets, where the table has one."""
        return (self.updated.column,) if self.updated else ()

    def column(self, name: str) -> str:
        """The column of the field of that API name; KeyError where there is none."""
        found = self.field(name)
        if found is None:
            raise KeyError(name)
        return found.column

    def is_optional(self, name: str) -> bool:
        """Whether the field of that API name may be null."""
        return any(own.name == name and own.is_nullable for own in self.own)

    @property
    def why_only_read(self) -> str:
        """Why records are not written, to complete a sentence; empty where they are."""
        if self.key.is_composite:
            return "their key has several columns"
        return "their declaration says readOnly" if self.is_read_only else ""

    @property
    def owner(self) -> tuple[str, ...]:
        """The column that says whose a record is, where all tenants share the table; it is set with a new record."""
        return (self.shared.column,) if self.shared else ()

    @property
    def given_columns(self) -> tuple[str, ...]:
        """The columns that a new record is inserted with, but for its times, as far as they are given."""
        return (*(each.column for each in self.fields if not each.is_read_only), *self.owner)

    def schema_in(self, schema: str) -> str:
        """The schema of the table of a tenant whose own schema this is."""
        return self.shared.schema if self.shared else schema

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


def _field_of(name: str, info: FieldInfo) -> Field:
    """A model's field. Its annotation is one of `_TYPES`, a Literal or an Enum of texts, or one of these or None."""
    candidates = get_args(info.annotation) if get_origin(info.annotation) is not Literal else ()
    is_nullable = type(None) in candidates
    (one,) = [each for each in candidates if each is not type(None)] if is_nullable else [info.annotation]
    required = info.is_required()
    return Field(
        name,
        _column(name),
        _TYPES.get(one, "text") if isinstance(one, type) else "text",
        is_nullable=is_nullable,
        required=required,
        default=None if required else info.get_default(call_default_factory=True, validated_data={}),
        values=_values(one),
        rules=tuple(info.metadata),
    )


def _values(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return (
        tuple(each.value for each in annotation)
        if isinstance(annotation, type) and issubclass(annotation, Enum)
        else ()
    )
