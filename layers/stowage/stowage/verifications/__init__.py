"""Verifications of backups as runs of their own: read again, or restored for trial (docs/restore.md)."""

from stowage.settings import TRIALS, settings


def server_of_trials(database: str) -> str:
    """The server, by its registry name, on which the backups of a database are tried out."""
    return TRIALS if settings().verify_database_url else database
