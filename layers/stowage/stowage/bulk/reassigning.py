"""Reassigning: accounts to another brand, and to one of its groups or none."""

from datetime import datetime

from stowage.basics.errors import BadRequestError
from stowage.basics.ids import decode_id, new_operation_id
from stowage.bulk.requests import ReassignRequest
from stowage.bulk.results import answer
from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.assigns import assign_records
from stowage.postgres.edits.locks import Stamp, lock_target
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.idempotency import IdempotencyKey, KeptAnswer, keep, replayed
from stowage.postgres.session.transactions import transact
from stowage.tenants import Tenant
from stowage.trash.retention import purge_time


def bulk_reassign(tenant: Tenant, actor: str, request: ReassignRequest, now: datetime, key: str | None) -> KeptAnswer:
    """The answer of `POST bulk/reassign`: a BulkOperationResult with 200 or 207.

    BadRequestError where there is no such brand or group, or the group is not the brand's.
    """
    once = IdempotencyKey.of(tenant.id, actor, "POST bulk/reassign", key, request)
    declared = ENTITIES[request.dataType]
    brand = decode_id(request.targetBrandId)
    group = decode_id(request.targetGroupId) if request.targetGroupId is not None else None

    def work(connection: Connection) -> KeptAnswer:
        if kept := replayed(connection, once):
            return kept
        _lock_target(connection, tenant, brand, group)
        stamp = Stamp(new_operation_id(now), actor, now, purge_time(tenant, now))
        outcome = assign_records(
            connection,
            tenant,
            declared,
            [decode_id(given) for given in request.ids],
            {"brandId": brand, "groupId": group},
            stamp,
            kind="reassign",
        )
        made = answer(stamp.operation, declared, request.ids, outcome.codes, {})
        keep(connection, once, made.status, made.body)
        return made

    return transact(tenant.database, work)


def _lock_target(connection: Connection, tenant: Tenant, brand: str, group: str | None) -> None:
    if lock_target(connection, tenant.schema, ENTITIES["brands"], brand) is None:
        raise _refusal("targetBrandId", "There is no such brand.", "unknown_brand")
    if group is None:
        return
    found = lock_target(connection, tenant.schema, ENTITIES["groups"], group, "brandId")
    if found is None:
        raise _refusal("targetGroupId", "There is no such group.", "unknown_group")
    if found[0] != brand:
        raise _refusal("targetGroupId", "The group does not belong to this brand.", "group_of_another_brand")


def _refusal(field: str, sentence: str, code: str) -> BadRequestError:
    message = sentence[:1].lower() + sentence[1:].rstrip(".")
    return BadRequestError(sentence, code, details=[{"field": field, "message": message}])
