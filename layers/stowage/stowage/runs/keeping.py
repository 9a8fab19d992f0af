"""How long files and records of runs are kept. The run's kind and the policy decide, not the code that ends the run."""

from datetime import datetime, timedelta

from stowage.basics.ids import rfc3339
from stowage.runs.kinds import Policy, kind_of
from stowage.runs.record import Run
from stowage.settings import settings

SWEEPING = timedelta(days=7)
"""A record outlives what its run left by so much, so that the sweep still finds it."""


def policy() -> Policy:
    """How long this deployment keeps artifacts, for every tenant."""
    return Policy(
        export_hours=settings().export_hours, backup_days=settings().backup_days, run_days=settings().run_days
    )


def expires_at(run: Run, ended: datetime) -> str:
    """When a run's files expire."""
    return rfc3339(ended + kind_of(run.kind).keep(run, policy()))


def record_until(run: Run, ended: datetime) -> int:
    """When TTL may take the record of a run that has ended, in seconds since the epoch."""
    return int((ended + record_life(run)).timestamp())


def record_life(run: Run) -> timedelta:
    """How long the record of a run is kept, whatever came of it, so that a list and its total reach back equally."""
    return max(timedelta(days=settings().run_days), kind_of(run.kind).keep(run, policy()) + SWEEPING)


def oldest_record(now: datetime) -> datetime:
    """No record is older than this."""
    return now - timedelta(days=max(settings().run_days, settings().backup_days)) - SWEEPING
