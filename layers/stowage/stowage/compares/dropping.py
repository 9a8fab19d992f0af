"""What a comparison has staged goes a day after it was found, and at once where the comparison did not end well."""

from datetime import datetime

from stowage.postgres.compares.staging import drop_staging
from stowage.postgres.session.connection import RESTORE, connect
from stowage.runs.record import UNFINISHED
from stowage.runs.store import find_run


def drop_what_is_gone(tenant: str, database: str, run_id: str, now: datetime) -> None:
    """Drop what a comparison has staged, unless it is at work (again), or can still be read."""
    run = find_run(tenant, run_id)
    if run and (run.status in UNFINISHED or (run.status == "completed" and not run.is_expired(now))):
        return
    with connect(database, RESTORE) as connection:
        drop_staging(connection, run_id)
