"""The swap: in one transaction of milliseconds a schema takes the live one's name, and the live one is put aside.

Whoever waits for a lock of ours meets the new tables afterwards, without connecting anew. A transaction that is older
than the new rows would see none of them, so the swap waits for such; and it holds every table for a moment, because a
writer's open transaction would else end in the old schema and go on in the new one.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.restores.copies import beside, close_to_others

PATIENCE_SECONDS = 300.0
"""For old transactions, and then for locks."""
LOOK_SECONDS = 0.5
LOCK_TIMEOUT = "500ms"
"""Below `deadlock_timeout` (1 s): where locks cross, ours gives up and the product goes on."""
NAMED = 5

type Waiting = Callable[[], None]
"""Called while nothing moves; raises where the swap should not come any more."""


@dataclass(frozen=True)
class Swap:
    """`incoming` becomes `live`; what was live becomes `kept`, closed to everybody but its owner, with a note of what a
    later swap back needs. The same is done with each of the `included` schemas, which lie `beside` these.
    """

    live: str
    incoming: str
    kept: str
    note: dict[str, Any]
    included: tuple[str, ...] = ()

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        """Every schema that is swapped: its name, what comes in, what is kept."""
        incoming, kept = beside(self.incoming, self.included), beside(self.kept, self.included)
        return [
            (self.live, self.incoming, self.kept),
            *((name, incoming[name], kept[name]) for name in self.included),
        ]


# Of others' sessions a role sees their user and their oldest snapshot, but not what kind of backend they are.
_OLD: LiteralString = """
SELECT format('%%s (%%s)', pid, coalesce(nullif(application_name, ''), usename, '?')) FROM pg_stat_activity
WHERE usesysid IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
  AND age(backend_xmin) >= (SELECT age(xmin) FROM pg_namespace WHERE nspname = %s)
ORDER BY pid
"""


def wait_for_old_snapshots(connection: psycopg.Connection, incoming: str, waiting: Waiting) -> None:
    """Wait until no transaction is left that would see the incoming schema empty.

    TransientRunError `old_transactions`, naming their processes, where some are open for minutes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := [name for (name,) in connection.execute(_OLD, (incoming,)).fetchall()]:
        if time.monotonic() > deadline:
            raise TransientRunError(
                f"Transactions older than the restored rows stay open: {', '.join(found[:NAMED])}.", "old_transactions"
            )
        waiting()
        time.sleep(LOOK_SECONDS)


def swap(connection: psycopg.Connection, given: Swap, waiting: Waiting) -> None:
    """Swap, trying for minutes; everything is as it was where it does not come to that.

    TransientRunError `lock_timeout` that names who holds the tables.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        waiting()
        try:
            with connection.transaction():
                _swap(connection, given)
        except errors.LockNotAvailable as error:
            if time.monotonic() > deadline:
                raise TransientRunError(
                    _held(connection, [live for live, _, _ in given.parts]), "lock_timeout"
                ) from error
            time.sleep(LOOK_SECONDS)
        else:
            return


_TABLES: LiteralString = """
SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = ANY(%s) AND relkind IN ('r', 'p') ORDER BY c.oid
"""
_PATIENCE = sql.SQL("SET LOCAL lock_timeout = {}")
_LOCK = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
_ONLY = sql.SQL("ONLY {}")
_RENAME = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
_COMMENT = sql.SQL("COMMENT ON SCHEMA {} IS {}")
_GRANT = sql.SQL("GRANT {} ON SCHEMA {} TO {}{}")
_DESCRIBED: LiteralString = """
SELECT obj_description(oid, 'pg_namespace'), coalesce((
    SELECT jsonb_agg(jsonb_build_array(privilege_type,
               CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, is_grantable))
    FROM aclexplode(nspacl) WHERE grantee <> nspowner), '[]')
FROM pg_namespace WHERE nspname = %s
"""


def _swap(connection: psycopg.Connection, given: Swap) -> None:
    connection.execute(_PATIENCE.format(sql.Literal(LOCK_TIMEOUT)))
    tables = connection.execute(_TABLES, ([live for live, _, _ in given.parts],)).fetchall()
    if tables:
        named = [_ONLY.format(sql.Identifier(*table)) for table in tables]
        connection.execute(_LOCK.format(sql.SQL(", ").join(named)))
    for live, incoming, kept in given.parts:
        _put_aside(connection, live, kept, {**given.note, "included": given.included})
        if live == given.live or connection.execute(_DESCRIBED, (incoming,)).fetchone():
            _bring_in(connection, incoming, live)


def _put_aside(connection: psycopg.Connection, live: str, kept: str, note: dict[str, Any]) -> None:
    found = connection.execute(_DESCRIBED, (live,)).fetchone()
    if found:
        connection.execute(_RENAME.format(sql.Identifier(live), sql.Identifier(kept)))
        comment, grants = found
        _describe(connection, kept, json.dumps({**note, "comment": comment, "grants": grants}))
        close_to_others(connection, kept)


def _bring_in(connection: psycopg.Connection, incoming: str, live: str) -> None:
    note = read_note(connection, incoming)
    connection.execute(_RENAME.format(sql.Identifier(incoming), sql.Identifier(live)))
    if note is not None:
        _describe(connection, live, note["comment"])
        for privilege, grantee, is_grantable in note["grants"]:
            role = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
            option = sql.SQL(" WITH GRANT OPTION" if is_grantable else "")
            connection.execute(_GRANT.format(sql.SQL(privilege), sql.Identifier(live), role, option))


def _describe(connection: psycopg.Connection, schema: str, comment: str | None) -> None:
    connection.execute(_COMMENT.format(sql.Identifier(schema), sql.Literal(comment)))


def read_note(connection: psycopg.Connection, schema: str) -> dict[str, Any] | None:
    """What was noted when a schema was put aside; None where it was not."""
    if not schema.startswith("stowage_kept_"):
        return None
    found = connection.execute(_DESCRIBED, (schema,)).fetchone()
    return json.loads(found[0]) if found and found[0] else None


_HOLDERS: LiteralString = """
SELECT DISTINCT format('%%s of %%s (%%s)', l.relation::regclass, a.pid,
                       coalesce(nullif(a.application_name, ''), a.usename, '?'))
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relkind IN ('r', 'p') AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY(%s))
ORDER BY 1
"""


def _held(connection: psycopg.Connection, schemas: list[str]) -> str:
    found = [name for (name,) in connection.execute(_HOLDERS, (schemas,)).fetchall()]
    told = f": {', '.join(found[:NAMED])}" if found else ""
    return f"Tables of {schemas[0]} stayed locked, so nothing was replaced{told}."


def must_exist_as_kept(connection: psycopg.Connection, kept: str) -> None:
    """RunError `kept_gone` where the schema that was put aside is not there any more."""
    if read_note(connection, kept) is None:
        raise RunError("The schema as it was before is not kept any more.", "kept_gone")
