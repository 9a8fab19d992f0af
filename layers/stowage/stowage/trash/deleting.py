"""Deleting one record of the trash for good, with all that went with it."""

from datetime import datetime

from stowage.errors import ConflictError
from stowage.ids import new_operation_id
from stowage.postgres.bulk import Stamp
from stowage.postgres.connection import PURGE, Connection
from stowage.postgres.purge import purge_records
from stowage.postgres.transactions import transact
from stowage.tenants import Tenant
from stowage.trash.items import locate


def delete_item(tenant: Tenant, actor: str, record_id: str, data_type: str | None, now: datetime) -> str:
    """Delete a record (raw id) of the trash for good; its id.

    NotFoundError, GoneError, BadRequestError as `locate`; ConflictError `has_children` while others still need it.
    """

    def work(connection: Connection) -> str:
        declared = locate(connection, tenant, record_id, data_type)
        stamp = Stamp(new_operation_id(now), actor, now, now)
        purged = purge_records(connection, tenant, declared, [record_id], stamp, only_due=False)
        if not purged.count:
            locate(connection, tenant, record_id, declared.name)
            raise ConflictError(
                f"Other records still belong to this {declared.singular}; delete them for good first.", "has_children"
            )
        return record_id

    return transact(tenant.database, work, role=PURGE)
