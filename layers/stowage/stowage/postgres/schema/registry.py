"""The registry of tenants, `control_plane.projects`, and its copy in the table, which functions without SQL read."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from stowage.aws import table
from stowage.aws.table import Image, Item
from stowage.basics.ids import rfc3339
from stowage.postgres.session.connection import APP, borrowed
from stowage.settings import settings
from stowage.tenants import COPY, NEW_TENANTS, schema_of

COPY_FORM = 3
"""Counts up when a version writes more of a tenant, or is to write every one again."""


@dataclass(frozen=True)
class TenantRow:
    """One tenant: its schema, on the server that the configuration calls `database`, is `tenant_{slug}` unless given.

    `trash_days` is its setting `trashDays`: how many days its trash keeps what is deleted, 1 to 3,650.
    """

    id: str
    slug: str
    name: str
    database: str
    trash_days: int | None = None
    schema: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", self.schema or schema_of(self.slug))


_TENANTS = """
SELECT id, slug, name, database, coalesce(schema, '') AS schema,
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
SELECT id, slug, name, database, coalesce(schema, '') AS schema,
       CASE WHEN settings ->> 'trashDays' ~ '^[1-9][0-9]{0,3}$' THEN least((settings ->> 'trashDays')::int, 3650) END
           AS trash_days
FROM control_plane.projects
WHERE id = %s AND archived_at IS NULL
"""


def read_tenant(connection: psycopg.Connection, id: str) -> TenantRow | None:
    """The tenant of that id, or None when there is none or it is archived."""
    with connection.cursor(row_factory=class_row(TenantRow)) as cursor:
        return cursor.execute(_TENANT, (id,)).fetchone()


def copy_registry(now: datetime) -> dict[str, int]:
    """Make the copy equal to the registry, writing only what differs; how many tenants there are, and were written."""
    with borrowed("main", APP) as connection:
        return write_copy(read_tenants(connection), now)


def write_copy(rows: list[TenantRow], now: datetime) -> dict[str, int]:
    """Make the copy equal to these rows, writing only what differs; how many there are, and were written.

    What is written stands on the list of tenants that are to be given a schedule: so all do when the deployment's own
    has changed.
    """
    own = settings()
    form = [COPY_FORM, own.backup_schedule, own.backup_timezone, own.backup_window_minutes]
    wanted: dict[str, Item] = {
        row.id: {
            "pk": COPY,
            "sk": row.id,
            "slug": row.slug,
            "name": row.name,
            "database": row.database,
            "trash_days": row.trash_days,
            "schema": row.schema,
            "form": form,
        }
        for row in rows
    }
    copied = {item["sk"]: item for item in table.query(COPY)}
    changed = [item for tenant, item in wanted.items() if not item.items() <= copied.get(tenant, {}).items()]
    for item in changed:
        since = copied.get(item["sk"], {}).get("since", rfc3339(now))
        table.put(item | {"since": since, "due_list": NEW_TENANTS, "due_at": rfc3339(now)})
    gone = copied.keys() - wanted.keys()
    for tenant in gone:
        table.delete(COPY, tenant)
    return {"tenants": len(wanted), "written": len(changed) + len(gone)}


def copy_as_asked(_changes: list[Image], now: datetime) -> int:
    """Copy the registry because somebody asked for it, however often; how many tenants were written."""
    return copy_registry(now)["written"]
