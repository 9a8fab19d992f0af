"""The registry of tenants, `control_plane.projects`: the truth of which the table holds a copy."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class TenantRow:
    """One tenant: its schema is `tenant_{slug}`, on the server that the configuration calls `database`.

    `trash_days` is its setting `trashDays`: how many days its trash keeps what is deleted, 1 to 3,650.
    """

    id: str
    slug: str
    name: str
    database: str
    trash_days: int | None = None


_TENANTS = """
SELECT id, slug, name, database,
       CASE WHEN settings ->> 'trashDays' ~ '^[1-9][0-9]{0,3}$' THEN least((settings ->> 'trashDays')::int, 3650) END
           AS trash_days
FROM control_plane.projects
WHERE archived_at IS NULL
ORDER BY id
"""


def read_tenants(connection: psycopg.Connection) -> list[TenantRow]:
    """Every tenant that is not archived, by id."""
    with connection.cursor(row_factory=class_row(TenantRow)) as cursor:
        return cursor.execute(_TENANTS).fetchall()


_TENANT = """
SELECT id, slug, name, database,
       CASE WHEN settings ->> 'trashDays' ~ '^[1-9][0-9]{0,3}$' THEN least((settings ->> 'trashDays')::int, 3650) END
           AS trash_days
FROM control_plane.projects
WHERE id = %s AND archived_at IS NULL
"""


def read_tenant(connection: psycopg.Connection, id: str) -> TenantRow | None:
    """The tenant of that id, or None when there is none or it is archived."""
    with connection.cursor(row_factory=class_row(TenantRow)) as cursor:
        return cursor.execute(_TENANT, (id,)).fetchone()
