"""The declared entities as clients see them (`GET /api/v1/entities`)."""

from typing import Any, Literal

from pydantic import BaseModel

from stowage.entities.declaration import DATABASE, Entity, Field, FieldType, KeyMaker
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import filter_names
from stowage_entities import DECLARED


class KeyEntry(BaseModel):
    """The types of the key's columns, and who makes the key of a new record."""

    types: list[str]
    madeBy: KeyMaker


class ReferenceEntry(BaseModel):
    """The entity that a field refers to, and what deleting that record means for these."""

    entity: str
    onDelete: Literal["cascade", "restrict", "keep"]


class FieldEntry(BaseModel):
    """A field. `type` is what Stowage makes of its values, `sqlType` the column's where it says more.

    `required`: a new record must give it. `default` is the value of one that does not, `databaseDefault` says that the
    database fills it in.
    """

    name: str
    type: FieldType
    sqlType: str | None
    nullable: bool
    required: bool
    readOnly: bool
    default: Any
    databaseDefault: bool
    values: list[str]
    references: ReferenceEntry | None


class EntityEntry(BaseModel):
    """An entity. `trash`: its records can be deleted and restored; `dashboard`: by the dashboard's routes too.

    `reassign` are the targets of `bulk/reassign`, `gdpr` whether an export of everything holds it. An entity with
    something in `notSupported` is declared, and its routes refuse for that reason.
    """

    name: str
    singular: str
    description: str
    label: str
    key: KeyEntry
    fields: list[FieldEntry]
    filters: list[str]
    search: list[str]
    unique: list[list[str]]
    trash: bool
    dashboard: bool
    gdpr: bool
    reassign: list[str]
    readOnly: bool
    notSupported: list[str]


class EntityList(BaseModel):
    """The envelope of the v1 routes."""

    success: bool
    data: list[EntityEntry]


def describe_entities() -> EntityList:
    """Every declared entity, in the order of the declarations."""
    served = [_entry(declared) for declared in ENTITIES.values()]
    refused = [_refused(name) for name in ENTITIES.unable]
    order = {name: place for place, name in enumerate(DECLARED)}
    return EntityList(
        success=True, data=sorted([*served, *refused], key=lambda entry: order.get(entry.name, len(order)))
    )


def _entry(declared: Entity) -> EntityEntry:
    references = {
        reference.field: ReferenceEntry(entity=reference.entity, onDelete=reference.on_delete)
        for reference in declared.references
    }
    return EntityEntry(
        name=declared.name,
        singular=declared.singular,
        description=declared.description,
        label=declared.label,
        key=KeyEntry(types=[kind for _, kind in declared.key.columns], madeBy=declared.key.made_by),
        fields=[_field(field, references.get(field.name)) for field in declared.fields],
        filters=filter_names(declared),
        search=list(declared.search),
        unique=[list(fields) for fields in declared.unique],
        trash=declared.soft_delete,
        dashboard=declared.dashboard,
        gdpr=declared.gdpr,
        reassign=[target.name for target in declared.reassign],
        readOnly=declared.is_read_only,
        notSupported=[],
    )


def _field(field: Field, reference: ReferenceEntry | None) -> FieldEntry:
    return FieldEntry(
        name=field.name,
        type=field.type,
        sqlType=field.sql_type,
        nullable=field.is_nullable,
        required=field.required,
        readOnly=field.is_read_only,
        default=None if field.default is DATABASE else field.default,
        databaseDefault=field.default is DATABASE,
        values=list(field.values),
        references=reference,
    )


def _refused(name: str) -> EntityEntry:
    """An entity that Stowage cannot serve yet: what its declaration says of it, without fields and filters."""
    literal = DECLARED[name]
    return EntityEntry(
        name=name,
        singular=literal["singular"],
        description=literal["description"],
        label=literal["label"],
        key=KeyEntry(types=[kind for _, kind in literal["key"]], madeBy=literal["maker"]),
        fields=[],
        filters=[],
        search=list(literal["search"]),
        unique=[list(fields) for fields in literal["unique"]],
        trash=literal["soft_delete"],
        dashboard=literal["dashboard"],
        gdpr=literal["gdpr"],
        reassign=[asked for asked, *_ in literal["reassign"]],
        readOnly=literal["read_only"],
        notSupported=list(literal["lacks"]),
    )
