"""Restoring one record from the trash, with all that went with it."""

import json
from collections.abc import Sequence

from stowage.access.identity import for_role
from stowage.basics.errors import ConflictError, Detail
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.journal.changes import append_changes
from stowage.postgres.journal.operations import summary
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.transactions import retry_unique
from stowage.postgres.session.violations import taken
from stowage.postgres.trash.finds import Clash, find_clashes, parents_in_trash, read_name, read_trashed
from stowage.postgres.trash.restores import lock_for_restoring, restore_records
from stowage.tenants import Tenant
from stowage.trash.items import RestoreRequest, locate, refuse_cut, show_item


@for_role("operator")
def restore_item(edit: Edit, record_id: str, request: RestoreRequest) -> KeptAnswer:
    """Take a record (raw id) out of the trash; 200 with the item.

    NotFoundError, GoneError, BadRequestError as `locate` and `refuse_cut`; ConflictError `parent_in_trash`, or
    `conflict` with what stands in the way, unless `onConflict` is `rename` and another name helps.
    """
    tenant, schema = edit.tenant, edit.schema

    def work(connection: Connection) -> KeptAnswer:
        refuse_cut(connection, tenant, record_id, request.dataType)
        declared, found_id = locate(connection, tenant, record_id, request.dataType)
        lock_for_restoring(connection, schema, declared, [found_id])
        row = read_trashed(connection, tenant, declared, found_id)
        if row is None:  # somebody was faster
            return _raise_where_it_is(connection, tenant, found_id, declared)
        rename = request.onConflict == "rename"
        _refuse(connection, tenant, declared, found_id, rename=rename)
        came = restore_records(connection, edit, declared, [found_id], rename=rename)
        told = {"cascaded": came} if came else {}
        line = summary(edit.operation, "restore", declared.name, edit.actor, edit.at, total=1, succeeded=1, **told)
        append_changes(connection, tenant.id, [line])
        item = show_item(row, edit.at)
        item["name"] = read_name(connection, schema, declared, found_id)
        return KeptAnswer(200, json.dumps({"item": item}, ensure_ascii=False, separators=(",", ":")))

    body = request.model_dump_json().encode()
    return edit.answer_once(f"POST trash/{record_id}", body, work, again_on=retry_unique)


def _raise_where_it_is(connection: Connection, tenant: Tenant, record_id: str, declared: Entity) -> KeptAnswer:
    locate(connection, tenant, record_id, declared.name)
    raise ConflictError("Somebody else is changing this item; look again.")


def _refuse(connection: Connection, tenant: Tenant, declared: Entity, record_id: str, *, rename: bool) -> None:
    lacking = parents_in_trash(connection, tenant.schema, declared, record_id)
    if lacking:
        parent = ENTITIES[lacking[0]].singular
        raise ConflictError(
            f"The {parent} of this {declared.singular} is in the trash; restore the {parent} first.", "parent_in_trash"
        )
    clashes = find_clashes(connection, tenant, declared, record_id)
    if rename:
        clashes = [clash for clash in clashes if ENTITIES[clash.entity].label not in clash.fields]
    if clashes:
        raise ConflictError(_sentence(clashes[0]), details=_details(clashes))


def _sentence(clash: Clash) -> str:
    if clash.rule:
        return taken([clash.rule], ENTITIES[clash.entity].table).sentence
    told = " and ".join(f"{name} {clash.values[name]!r}" for name in clash.fields)
    return f"There is another {ENTITIES[clash.entity].singular} with the {told} by now."


def _details(clashes: Sequence[Clash]) -> list[Detail]:
    return [
        {
            "field": f"{ENTITIES[clash.entity].singular}.{name}",
            "message": f"the rule {clash.rule} is in the way" if clash.rule else f"{clash.values[name]!r} is taken",
        }
        for clash in clashes
        for name in clash.fields
    ]
