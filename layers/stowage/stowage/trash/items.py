"""What the dashboards see of the trash, and how they name what lies there (docs/api.md)."""

import operator
from datetime import datetime
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stowage.basics.errors import BadRequestError, GoneError, NotFoundError
from stowage.basics.ids import decode_id, encode_id, rfc3339
from stowage.basics.paging import Pagination
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, entity_named, must_have_trash
from stowage.postgres.reads.cut_ids import refuse_cut_id
from stowage.postgres.session.connection import Connection
from stowage.postgres.trash.finds import find_in_trash
from stowage.postgres.trash.lists import TrashRow, shown_name
from stowage.tenants import Tenant
from stowage.trash.retention import days_until


class TrashItem(TypedDict):
    """A record in the trash; `cascaded` counts, by entity, what came along and would come back with it.

    Where the product itself deleted it, nobody knows by whom, and it never goes for good by itself; of a flag, nor
    when.
    """

    id: str
    name: str
    type: str
    platform: str | None
    deletedAt: str | None
    deletedBy: str | None
    daysUntilPurge: int | None
    cascaded: NotRequired[dict[str, int]]


class TrashPage(BaseModel):
    """The answer of `GET trash`; `absent` names the entities that this tenant has no table for, where there are any."""

    items: list[TrashItem]
    pagination: Pagination
    absent: list[str] = Field(default_factory=list, exclude_if=operator.not_)


class RestoredItem(BaseModel):
    """The answer of a restore: the item as it lay in the trash, under the name that it has now."""

    item: TrashItem


class RestoreRequest(BaseModel):
    """The body of a restore; all of it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dataType: str | None = None
    onConflict: Literal["fail", "rename"] = "fail"


def show_item(row: TrashRow, now: datetime) -> TrashItem:
    """A row of the trash as its dashboards know it."""
    item: TrashItem = {
        "id": encode_id(row.id),
        "name": shown_name(row.name),
        "type": ENTITIES[row.entity].singular,
        "platform": row.platform,
        "deletedAt": rfc3339(row.deleted_at) if row.deleted_at else None,
        "deletedBy": row.deleted_by,
        "daysUntilPurge": days_until(row.purge_at, now) if row.purge_at else None,
    }
    if came := {entity: count for entity, count in row.cascaded.items() if count}:
        item["cascaded"] = came
    return item


def entity_with_trash(name: str, field: str) -> Entity:
    """The entity of that plural or singular name; BadRequestError where there is none, or it has no trash."""
    found = entity_named(name, field, or_singular=True)
    must_have_trash(found)
    return found


def _raw(given: str) -> str:
    raw = decode_id(given)
    if "\0" in raw:
        raise ValueError("an id holds no NUL character")
    return raw


ItemId = Annotated[str, AfterValidator(_raw)]
"""An id from a path, in either of its forms."""


def _asked(data_type: str | None) -> list[Entity]:
    if data_type is not None:
        return [entity_with_trash(data_type, "dataType")]
    return [declared for declared in ENTITIES.values() if declared.soft_delete]


def refuse_cut(connection: Connection, tenant: Tenant, record_id: str, data_type: str | None) -> None:
    """BadRequestError `encode_id` where the path may have meant another record (`refuse_cut_id`)."""
    refuse_cut_id(connection, tenant.schema, _asked(data_type), record_id)


def locate(
    connection: Connection, tenant: Tenant, record_id: str, data_type: str | None, *, purging: bool = False
) -> tuple[Entity, str]:
    """The entity in whose trash that id lies, and the id as it has it; `purging`: even if its purge has begun, with
    which it is as good as gone.

    NotFoundError where it never was or is not in the trash, GoneError `purged`, BadRequestError `ambiguous_id` where
    several have it in their trash.
    """
    found = find_in_trash(connection, tenant, _asked(data_type), record_id)
    there = ("trash", "purging") if purging else ("trash",)
    trashed = [each.entity for each in found if each.state in there]
    if len(trashed) == 1:
        declared = ENTITIES[trashed[0]]
        return declared, declared.key.read(record_id) or record_id
    if trashed:
        raise BadRequestError(
            f"Records of {', '.join(trashed)} have this id; name the dataType.",
            "ambiguous_id",
            details=[{"field": "dataType", "message": f"give one of {', '.join(trashed)}"}],
        )
    states = {each.state for each in found}
    if states & {"purged", "purging"} and "outside" not in states:
        raise GoneError("This item has been deleted for good.", "purged")
    raise NotFoundError("There is no such item in the trash.", "not_in_trash")
