"""The journal in the order of its numbers, for those who follow an entity's changes.

Numbers are in the order of the commits and have no gap (docs/architecture.md), so whoever has seen a number has seen
all before it. A bounded number of entries is looked at for one page, whatever lies between the wanted ones.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from stowage.postgres.journal.entries import MOST_SCANNED, Entry, read_numbered

FOLLOWED = ("created", "updated", "deleted", "restored")
"""The types of entries that are followed. What is gone for good was deleted before."""

_PAGE = sql.SQL("""
WITH scanned AS MATERIALIZED (
    SELECT seq, entity = %(entity)s AND type = ANY(%(types)s) AS is_wanted FROM stowage.changes
    WHERE tenant = %(tenant)s AND seq > %(after)s ORDER BY seq LIMIT %(scanned)s
)
SELECT ARRAY(SELECT seq FROM scanned WHERE is_wanted ORDER BY seq LIMIT %(limit)s + 1),
       CASE WHEN (SELECT count(*) FROM scanned) = %(scanned)s THEN (SELECT max(seq) FROM scanned) END,
       coalesce((SELECT seq FROM stowage.positions WHERE tenant = %(tenant)s), 0),
       (SELECT seq FROM stowage.changes WHERE tenant = %(tenant)s ORDER BY seq LIMIT 1),
       (SELECT operation FROM stowage.changes WHERE tenant = %(tenant)s AND seq = %(after)s)
""")
_OPERATION = sql.SQL("SELECT operation FROM stowage.changes WHERE tenant = %(tenant)s AND seq = %(seq)s")


@dataclass(frozen=True)
class Place:
    """A place in a tenant's journal: a number, and the operation whose entry bears it ("" where there is none). A
    database that was set back gives the number to another operation.
    """

    seq: int
    operation: str


@dataclass(frozen=True)
class Following:
    """Entries behind a place, oldest first; `place` is how far they reach, `more` whether there are others behind it.

    `is_lost`: what followed the place is not kept any more, or the place was never there; `place` is the newest one.
    """

    entries: list[Entry]
    place: Place
    more: bool = False
    is_lost: bool = False


def follow(connection: psycopg.Connection, tenant: str, entity: str, after: Place | None, limit: int) -> Following:
    """An entity's entries behind a place; behind None there are none, and `place` is the newest one."""
    given: dict[str, Any] = {
        "tenant": tenant, "entity": entity, "types": list(FOLLOWED), "limit": limit, "scanned": MOST_SCANNED,
        "after": after.seq if after else 2**63 - 1,
    }  # fmt: skip
    row = connection.execute(_PAGE, given).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    seqs, stopped, newest, first_kept, operation = row
    if after is None:
        return Following([], _place(connection, tenant, newest))
    kept_from = newest + 1 if first_kept is None else first_kept
    set_back = after.seq > newest or (operation is not None and operation != after.operation)
    if set_back or after.seq + 1 < kept_from:
        return Following([], _place(connection, tenant, newest), is_lost=True)
    page = seqs[:limit]
    found = read_numbered(connection, tenant, page) if page else []
    # Images of a page are bounded together: what has no room is asked for by the next page.
    cut = next((n for n, entry in enumerate(found) if entry.is_cut), len(found)) or 1
    if len(seqs) > limit or len(found) > cut:
        found = found[:cut]
        return Following(found, Place(found[-1].seq, found[-1].operation), more=True)
    return Following(found, _place(connection, tenant, stopped or newest), more=stopped is not None)


def _place(connection: psycopg.Connection, tenant: str, seq: int) -> Place:
    found = connection.execute(_OPERATION, {"tenant": tenant, "seq": seq}).fetchone()
    return Place(seq, found[0] if found else "")
