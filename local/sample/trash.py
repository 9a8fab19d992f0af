"""What some sample tenants have in the trash, and the journal's entries of how it came there.

Deleted some days before the day of loading, so that it is not purged at once: the only moments of the sample that
differ from one load to another.
"""

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from stowage.entities.declared import ENTITIES
from stowage.postgres.edits.deletes import delete_records
from stowage.postgres.session.edit import Edit
from stowage.tenants import Tenant

_ACTOR = "ada@stowage.example"
_KEPT = timedelta(days=30)
_MOST_CHILDREN = 10_000

_ACCOUNTS = sql.SQL("id IN ('acc_0000008', 'acc_0000021', 'acc_0000034')")
_POSTS = sql.SQL("id ~ '^pst_\\d+$'")
_TASKS = sql.SQL("id IN ('tsk_00003', 'tsk_00005', 'tsk_00011')")
_USERS = sql.SQL("id = 'usr_0005'")

_OPERATIONS = (
    ("users", 29, _USERS),
    ("tasks", 20, _TASKS),
    ("posts", 9, _POSTS),
    ("accounts", 3, _ACCOUNTS),
)
"""Entity, days ago, and of which the first twelve; accounts take their posts along."""

_CHOSEN = sql.SQL("SELECT id FROM {table} WHERE deleted_at IS NULL AND {chosen} ORDER BY id LIMIT 12")


def fill_trash(connection: psycopg.Connection, tenant: Tenant) -> None:
    """Move a few records of a tenant to the trash, and journal it, oldest first."""
    today = datetime.now(UTC).replace(hour=9, minute=30, second=0, microsecond=0)
    for name, days, chosen in _OPERATIONS:
        at = today - timedelta(days=days)
        edit = Edit(tenant, _ACTOR, "operator", at, operation=f"op_sample_{name}")
        statement = _CHOSEN.format(table=sql.Identifier(tenant.schema, name), chosen=chosen)
        ids = [row[0] for row in connection.execute(statement)]
        if ids:
            delete_records(connection, edit, ENTITIES[name], ids, at + _KEPT, most_children=_MOST_CHILDREN)
