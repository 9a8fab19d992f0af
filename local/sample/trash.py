"""What some sample tenants have in the trash, and the journal's entries of how it came there.

Deleted some days before the day of loading, so that it is not purged at once: the only moments of the sample that
differ from one load to another.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from stowage.postgres.journal.changes import Change, append_changes

_ACTOR = "ada@stowage.example"
_KEPT = timedelta(days=30)

_DELETE = sql.SQL("""
WITH gone AS (
    UPDATE {table} AS row
    SET deleted_at = %(at)s, deleted_by = %(actor)s, purge_at = %(purge_at)s, deleted_operation = %(operation)s
    FROM (SELECT * FROM {table} WHERE deleted_at IS NULL AND {chosen}) AS old
    WHERE row.id = old.id
    RETURNING row.id, to_jsonb(old) AS before, to_jsonb(row) AS after
)
SELECT id, before, after FROM gone ORDER BY id
""")

_ACCOUNTS = sql.SQL("id IN ('acc_0000008', 'acc_0000021', 'acc_0000034')")
_POSTS_OF_ACCOUNTS = sql.SQL("account_id IN (SELECT id FROM accounts WHERE deleted_operation = %(operation)s)")
_POSTS = sql.SQL("id IN (SELECT id FROM posts WHERE deleted_at IS NULL AND id ~ '^pst_\\d+$' ORDER BY id LIMIT 12)")
_TASKS = sql.SQL("id IN ('tsk_00003', 'tsk_00005', 'tsk_00011')")
_USERS = sql.SQL("id = 'usr_0005'")

_OPERATIONS = (
    ("users", 29, (("users", _USERS),)),
    ("tasks", 20, (("tasks", _TASKS),)),
    ("posts", 9, (("posts", _POSTS),)),
    ("accounts", 3, (("accounts", _ACCOUNTS), ("posts", _POSTS_OF_ACCOUNTS))),
)
"""Entity, days ago, and what is chosen of which table; accounts take their posts along."""


def fill_trash(connection: psycopg.Connection, tenant: str) -> None:
    """Move a few records of the schema that the search path names to the trash, and journal it, oldest first."""
    today = datetime.now(UTC).replace(hour=9, minute=30, second=0, microsecond=0)
    for entity, days, choices in _OPERATIONS:
        operation, at = f"op_sample_{entity}", today - timedelta(days=days)
        given = {"at": at, "purge_at": at + _KEPT, "actor": _ACTOR, "operation": operation}
        changes = [
            Change(operation, table, row_id, "deleted", _changed(before, after), after, _ACTOR, at)
            for table, chosen in choices
            for row_id, before, after in connection.execute(
                _DELETE.format(table=sql.Identifier(table), chosen=chosen), given
            )
        ]
        if changes:
            total = sum(change.entity == entity for change in changes)
            summary = {"kind": "delete", "total": total, "succeeded": total, "failed": 0}
            changes.insert(0, Change(operation, entity, operation, "operation", None, summary, _ACTOR, at))
            _journal(connection, tenant, changes)


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in before.items() if after[column] != value}


def _journal(connection: psycopg.Connection, tenant: str, changes: list[Change]) -> None:
    connection.execute("SET LOCAL ROLE stowage_owner")
    append_changes(connection, tenant, changes)
    connection.execute("SET LOCAL ROLE NONE")
