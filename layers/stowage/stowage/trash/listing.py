"""The list of the trash."""

from datetime import datetime

from stowage.basics.paging import paginate
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.transactions import look, transact
from stowage.postgres.trash.lists import count_trash, list_trash, recount_trash
from stowage.tenants import Tenant
from stowage.trash.items import TrashPage, entity_with_trash, show_item


def read_trash(tenant: Tenant, now: datetime, type: str | None, page: int, limit: int) -> TrashPage:
    """A page of the trash, newest first: of one type (plural or singular), or of the dashboard's together."""
    if type is not None:
        shown = [entity_with_trash(type, "type")]
    else:
        shown = [declared for declared in ENTITIES.values() if declared.dashboard]
    if not shown:
        return TrashPage(items=[], pagination=paginate(page, limit, 0))
    rows, total = look(
        tenant.database,
        lambda connection: (
            list_trash(connection, tenant.schema, shown, limit, (page - 1) * limit),
            count_trash(connection, tenant, shown),
        ),
    )
    if total is None:
        total = _count_once(tenant, shown)
    return TrashPage(items=[show_item(row, now) for row in rows], pagination=paginate(page, limit, total))


def _count_once(tenant: Tenant, shown: list[Entity]) -> int:
    def work(connection: Connection) -> int:
        recount_trash(connection, tenant, shown)
        return count_trash(connection, tenant, shown) or 0

    return transact(tenant.database, work)
