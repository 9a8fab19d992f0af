"""What a killed trial restore has left: a database, dropped once its run has ended."""

from datetime import datetime

from stowage.postgres.restores.session import session
from stowage.postgres.restores.trials import drop_trials
from stowage.runs.kinds import TRIAL_LEVEL
from stowage.runs.record import UNFINISHED
from stowage.runs.store import find_run
from stowage.verifications import server_of_trials


def drop_trials_of(tenant: str, database: str, run_id: str, _now: datetime) -> None:
    """Drop the databases that a verification has left, unless it is at work (again)."""
    run = find_run(tenant, run_id)
    if run is None or run.spec["level"] != TRIAL_LEVEL or run.status in UNFINISHED:
        return
    with session(server_of_trials(database)) as connection:
        drop_trials(connection, run_id)
