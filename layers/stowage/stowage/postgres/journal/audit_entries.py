"""Audit entries that come from outside the network, appended to the journal once each."""

from collections.abc import Mapping
from typing import LiteralString

import psycopg

from stowage.postgres.journal.changes import Change, append_changes

_APPENDED: LiteralString = """
SELECT DISTINCT operation FROM stowage.changes WHERE tenant = %s AND operation = ANY(%s)
"""


def append_noted(connection: psycopg.Connection, tenant: str, noted: Mapping[str, Change]) -> int:
    """Append changes, each under its note's id as its operation; those that an earlier delivery appended are left out.

    Returns how many were new.
    """
    with connection.transaction():
        known = {row[0] for row in connection.execute(_APPENDED, (tenant, list(noted)))}
        new = [change for note_id, change in sorted(noted.items()) if note_id not in known]
        append_changes(connection, tenant, new)
    return len(new)
