"""The list of bulk operations, with what became of them."""

from typing import TypedDict

from pydantic import BaseModel

from stowage.basics.ids import encode_id, rfc3339
from stowage.basics.paging import Pagination, paginate
from stowage.postgres.journal.operations import list_operations
from stowage.postgres.session.transactions import look
from stowage.tenants import Tenant


class OperationRecord(TypedDict):
    """One bulk operation; counts are of the ids asked for."""

    id: str
    kind: str
    dataType: str
    total: int
    succeeded: int
    failed: int
    by: str
    createdAt: str
    undoneAt: str | None


class OperationPage(BaseModel):
    """The answer of `GET bulk/operations`."""

    operations: list[OperationRecord]
    pagination: Pagination


def read_operations(tenant: Tenant, page: int, limit: int) -> OperationPage:
    """A page of a tenant's bulk operations, newest first."""
    found, total = look(
        tenant.database, lambda connection: list_operations(connection, tenant.id, limit, (page - 1) * limit)
    )
    operations: list[OperationRecord] = [
        {
            "id": encode_id(operation.id),
            "kind": operation.kind,
            "dataType": operation.entity,
            "total": operation.total,
            "succeeded": operation.succeeded,
            "failed": operation.failed,
            "by": operation.actor,
            "createdAt": rfc3339(operation.at),
            "undoneAt": rfc3339(operation.undone_at) if operation.undone_at else None,
        }
        for operation in found
    ]
    return OperationPage(operations=operations, pagination=paginate(page, limit, total))
