"""A backup compared with the live tenant, and what comes back from it (docs/bring-back.md)."""

from stowage.runs.kinds import COMPARE
from stowage.runs.record import Run
from stowage.runs.store import read_run


def find_compare(tenant: str, job_id: str) -> Run:
    """A tenant's comparison; NotFoundError."""
    return read_run(tenant, job_id, COMPARE.history)
