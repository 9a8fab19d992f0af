"""Runs that have ended, handed over from the table's stream to a queue."""

from datetime import datetime

from stowage.aws.queues import tell_ended
from stowage.aws.table import Image
from stowage.runs.kinds import kind_of
from stowage.runs.record import UNFINISHED

TOLD = ("completed", "failed")
"""A run that somebody cancelled is no news."""


def follow_endings(changes: list[Image], _now: datetime) -> int:
    """Hand ended runs over to the queue, where there may be somebody to tell; returns how many."""
    ended = [
        after
        for before, after in changes
        if after and before and before.get("status") in UNFINISHED and after.get("status") in TOLD
        if kind_of(after["kind"]).notice
    ]
    for run in ended:
        tell_ended({"tenant": run["tenant"], "run": run["id"], "event": run["status"]})
    return len(ended)
