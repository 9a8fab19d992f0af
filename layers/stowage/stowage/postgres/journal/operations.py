"""Operations as the journal tells them: one row of type `operation` each, and one of type `undone` for an undone one.

The summary's `after` is `{"kind", "total", "succeeded", "failed", …}`; its `id` is the operation's, its `entity` what
was asked for. Within an operation each record has one row of its own, but for file imports, where two rows of the file
may be of the same record. The `after` of `undone` is null, or while some of the operation remains to be undone
`{"down_to", "succeeded"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg.rows import class_row

from stowage.postgres.journal.changes import Change

Kind = Literal["delete", "reassign", "update", "import", "undo", "restore", "purge", "bring_back"]

BULK_KINDS: tuple[Kind, ...] = ("delete", "reassign", "update", "import", "undo", "bring_back")
"""What the list of operations shows; what else is done to the trash is audited alike."""

UNDOABLE: tuple[Kind, ...] = ("delete", "reassign", "update", "import", "bring_back")


@dataclass(frozen=True)
class Operation:
    """One operation: `entity` is the plural name, counts are of the ids asked for.

    While it is being undone in parts, its changes from the number `undone_down_to` on have been, with `undone_records`
    put back.
    """

    id: str
    kind: str
    entity: str
    total: int
    succeeded: int
    failed: int
    actor: str
    at: datetime
    undone_at: datetime | None
    undone_down_to: int | None
    undone_records: int


def summary(
    operation: str, kind: Kind, entity: str, actor: str, at: datetime, *, total: int, succeeded: int, **told: Any
) -> Change:
    """The journal's row for a whole operation: append it in the operation's transaction, after its records' rows."""
    after: Mapping[str, Any] = {
        "kind": kind,
        "total": total,
        "succeeded": succeeded,
        "failed": total - succeeded,
        **told,
    }
    return Change(operation, entity, operation, "operation", None, after, actor, at)


_OPERATIONS: LiteralString = """
SELECT done.id, done.after ->> 'kind' AS kind, done.entity,
       (done.after ->> 'total')::bigint AS total, (done.after ->> 'succeeded')::bigint AS succeeded,
       (done.after ->> 'failed')::bigint AS failed, done.actor, done.at,
       CASE WHEN undone.after IS NULL THEN undone.at END AS undone_at,
       (undone.after ->> 'down_to')::bigint AS undone_down_to,
       coalesce((undone.after ->> 'succeeded')::bigint, 0) AS undone_records
FROM stowage.changes AS done
LEFT JOIN LATERAL (
    SELECT at, after FROM stowage.changes
    WHERE tenant = done.tenant AND entity = done.entity AND id = done.id AND type = 'undone'
    ORDER BY seq DESC LIMIT 1
) AS undone ON true
WHERE done.tenant = %(tenant)s AND done.type = 'operation'
"""

_PAGE = (
    _OPERATIONS + "AND done.after ->> 'kind' = ANY(%(kinds)s) ORDER BY done.seq DESC LIMIT %(limit)s OFFSET %(offset)s"
)

_COUNT: LiteralString = """
SELECT count(*) FROM stowage.changes
WHERE tenant = %(tenant)s AND type = 'operation' AND after ->> 'kind' = ANY(%(kinds)s)
"""


def list_operations(
    connection: psycopg.Connection, tenant: str, limit: int, offset: int
) -> tuple[list[Operation], int]:
    """A page of a tenant's bulk operations, newest first, and how many there are."""
    given = {"tenant": tenant, "kinds": list(BULK_KINDS), "limit": limit, "offset": offset}
    with connection.cursor(row_factory=class_row(Operation)) as cursor:
        page = cursor.execute(_PAGE, given).fetchall()
    row = connection.execute(_COUNT, given).fetchone()
    assert row is not None
    return page, int(row[0])


_ONE = _OPERATIONS + " AND done.operation = %(operation)s AND done.id = %(operation)s"

# The first is shared with others who undo, and keeps the operation whole: see stowage.forget_changes.
_LOCK: LiteralString = """
SELECT pg_advisory_xact_lock_shared(hashtextextended(concat_ws(E'\\x1f', 'forget', %(tenant)s::text), 0)),
       pg_advisory_xact_lock(hashtextextended(concat_ws(E'\\x1f', 'undo', %(tenant)s::text, %(operation)s::text), 0))
"""


def lock_operation(connection: psycopg.Connection, tenant: str, operation: str) -> Operation | None:
    """An operation of that tenant, whoever else wants to undo it waiting until this transaction ends; or None."""
    given = {"tenant": tenant, "operation": operation}
    connection.execute(_LOCK, given)
    with connection.cursor(row_factory=class_row(Operation)) as cursor:
        return cursor.execute(_ONE, given).fetchone()


def undone(undo: str, operation: Operation, actor: str, at: datetime) -> Change:
    """The journal's row that says an operation was undone, by the operation `undo`."""
    return Change(undo, operation.entity, operation.id, "undone", None, None, actor, at)


def partly_undone(
    undo: str, operation: Operation, actor: str, at: datetime, *, down_to: int | None, succeeded: int
) -> Change:
    """The journal's row that says how far an operation was undone, and how many records are back; None: not at all."""
    after = {"down_to": down_to, "succeeded": succeeded}
    return Change(undo, operation.entity, operation.id, "undone", None, after, actor, at)
