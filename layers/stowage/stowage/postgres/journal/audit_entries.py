"""Audit entries that come from outside the network, appended to the journal once each."""

from collections.abc import Mapping
from typing import LiteralString

import psycopg

from stowage.postgres.journal.changes import Change, append_changes

_APPENDED: LiteralString = """
SELECT DISTINCT operation FROM stowage.changes WHERE tenant = %s AND operation = ANY(%s)
"""


_UNWRITABLE = (psycopg.DataError, ValueError)
"""What no retry changes: a text with a NUL or half a surrogate pair (PostgreSQL documentation, "JSON Types")."""


def append_noted(connection: psycopg.Connection, tenant: str, noted: Mapping[str, Change]) -> dict[str, str]:
    """Append changes, each under its note's id as its operation; those that an earlier delivery appended are left out.

    Returns the errors of the notes that Postgres cannot take, by their ids; all others are appended.
    """
    with connection.transaction():
        known = {row[0] for row in connection.execute(_APPENDED, (tenant, list(noted)))}
        new = {note_id: change for note_id, change in sorted(noted.items()) if note_id not in known}
        if _append(connection, tenant, list(new.values())) is None:
            return {}
        errors = {note_id: _append(connection, tenant, [change]) for note_id, change in new.items()}
    return {note_id: error for note_id, error in errors.items() if error is not None}


def _append(connection: psycopg.Connection, tenant: str, changes: list[Change]) -> str | None:
    """Append all of them, or none; the error then, if a retry cannot change it."""
    try:
        with connection.transaction():
            append_changes(connection, tenant, changes)
    except _UNWRITABLE as error:
        return type(error).__name__
    return None
