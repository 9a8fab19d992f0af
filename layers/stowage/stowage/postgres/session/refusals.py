"""Logins that a server refuses for good, told by its messages: libpq keeps no SQLSTATE of a connection that failed."""

import re
from collections.abc import Sequence

from stowage.basics.errors import RunError

REFUSALS: Sequence[tuple[str, str, str]] = (
    (r"\w+ authentication failed", "login_refused", "The database refused Stowage's login."),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", "login_refused", "The database refused Stowage's login."),
    (r"no password supplied", "login_refused", "The database refused Stowage's login."),
    (r"permission denied for database", "login_refused", "Stowage's role may not connect to the database."),
    (
        r"role \S+ (?:does not exist|is not permitted to log in)",
        "login_refused",
        "The database has no such role to log in as.",
    ),
    (r"database \S+ does not exist", "database_missing", "The tenant's database does not exist."),
)
"""What a server says (PostgreSQL documentation, "Authentication Problems"), our code for it, our sentence."""


def refusal(messages: str) -> RunError | None:
    """The error for a login that was refused, None where the messages tell of something that may pass."""
    for pattern, code, sentence in REFUSALS:
        if re.search(pattern, messages):
            return RunError(sentence, code)
    return None
