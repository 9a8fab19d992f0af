"""Deleting: to the trash, with what belongs to it, undoable."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stowage.basics.ids import decode_id, new_operation_id
from stowage.bulk.requests import DeleteRequest
from stowage.bulk.results import answer
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, must_have_trash
from stowage.postgres.edits import deletes
from stowage.postgres.edits.locks import Stamp
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.idempotency import IdempotencyKey, KeptAnswer, keep, replayed
from stowage.postgres.session.transactions import transact
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage.trash.retention import purge_time


@dataclass(frozen=True)
class Deleted:
    """What became of the ids asked for: `codes` in their order, None for deleted; what came along, by entity."""

    operation: str
    codes: list[str | None]
    cascaded: dict[str, int]


def delete_records(
    connection: Connection,
    tenant: Tenant,
    declared: Entity,
    ids: Sequence[str],
    actor: str,
    now: datetime,
    *,
    kind: str | None = "delete",
) -> Deleted:
    """Move records (raw ids, each once) to the trash in the caller's transaction, under one new operation.

    Codes: `not_found`, `already_deleted`, `has_children`, `too_large` (`stowage.bulk.results.explain`). `kind` None:
    no summary, so no bulk operation to undo. BadRequestError `not_supported` for an entity that has no trash.
    """
    must_have_trash(declared)
    stamp = Stamp(new_operation_id(now), actor, now, purge_time(tenant, now))
    most = settings().max_cascade
    outcome = deletes.delete_records(connection, tenant, declared, ids, stamp, most_children=most, kind=kind)
    return Deleted(stamp.operation, outcome.codes, outcome.cascaded)


def bulk_delete(tenant: Tenant, actor: str, request: DeleteRequest, now: datetime, key: str | None) -> KeptAnswer:
    """The answer of `POST bulk/delete`: a BulkOperationResult with 200 or 207."""
    once = IdempotencyKey.of(tenant.id, actor, "POST bulk/delete", key, request)
    declared = ENTITIES[request.dataType]
    ids = [decode_id(given) for given in request.ids]

    def work(connection: Connection) -> KeptAnswer:
        if kept := replayed(connection, once):
            return kept
        deleted = delete_records(connection, tenant, declared, ids, actor, now)
        made = answer(deleted.operation, declared, request.ids, deleted.codes, deleted.cascaded)
        keep(connection, once, made.status, made.body)
        return made

    return transact(tenant.database, work)
