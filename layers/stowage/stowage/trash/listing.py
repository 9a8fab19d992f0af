"""The list of the trash."""

from datetime import datetime

from stowage.basics.paging import paginate
from stowage.entities.absence import absent
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.transactions import look, transact
from stowage.postgres.trash.lists import TrashRow, list_trash
from stowage.postgres.trash.spans import count_trash, recount_trash
from stowage.tenants import Tenant
from stowage.trash.items import TrashPage, entity_with_trash, show_item


def read_trash(tenant: Tenant, now: datetime, type: str | None, page: int, limit: int) -> TrashPage:
    """A page of the trash, newest first: of one type (plural or singular), or of the dashboard's together."""
    asked = [entity_with_trash(type, "type")] if type is not None else None

    def read(connection: Connection) -> tuple[list[TrashRow], int | None, list[str]]:
        shown = _shown(asked)
        if not shown:
            return [], 0, _lacking()
        rows = list_trash(connection, tenant, shown, limit, (page - 1) * limit)
        return rows, count_trash(connection, tenant, shown), _lacking()

    def recount(connection: Connection) -> int:
        recount_trash(connection, tenant, [each for each in ENTITIES.values() if each.soft_delete])
        return count_trash(connection, tenant, _shown(asked)) or 0

    rows, total, lacking = look(tenant.database, read, schema=tenant.schema)
    if total is None:
        total = transact(tenant.database, recount, schema=tenant.schema)
    items = [show_item(row, now) for row in rows]
    return TrashPage(items=items, pagination=paginate(page, limit, total), absent=lacking)


def _shown(asked: list[Entity] | None) -> list[Entity]:
    return asked or [declared for declared in ENTITIES.values() if declared.dashboard]


def _lacking() -> list[str]:
    """What of the dashboard's trash this tenant has no table for."""
    return [name for name in sorted(absent()) if ENTITIES[name].dashboard]
