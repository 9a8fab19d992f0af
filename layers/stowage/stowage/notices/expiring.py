"""The warning before a backup that somebody asked for expires: an item on a due list of the clock."""

from contextlib import suppress
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.queues import tell_ended
from stowage.aws.table import ABSENT, ConditionFailedError, Item
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run
from stowage.runs.store import find_run

DUE_LIST = "EXPIRING"
WARNED_BEFORE = timedelta(days=7)


def remember_expiry(run: Run) -> None:
    """Have the clock look at a backup that somebody asked for, 7 days before it expires. One that is kept no longer
    than that is not worth a warning.
    """
    if run.trigger != "manual" or not kind_of(run.kind).protects or run.expires_at is None or run.completed_at is None:
        return
    due = _warned_at(run)
    if due > run.completed_at:
        pk, sk = run.pk, f"EXPIRING#{run.id}"
        with suppress(ConditionFailedError):
            table.put(
                {"pk": pk, "sk": sk, "tenant": run.tenant, "run": run.id, "due_list": DUE_LIST, "due_at": due},
                when={"pk": ABSENT},
            )


def look_after(item: Item, now: datetime) -> None:
    """Ask for the warning of a backup that expires within 7 days; one that was given longer waits on, one that is kept
    for good or gone needs none.
    """
    key = item["pk"], item["sk"]
    run = find_run(item["tenant"], item["run"])
    if run and run.status == "completed" and run.expires_at and not run.is_expired(now):
        due = _warned_at(run)
        if due > rfc3339(now):
            table.update(*key, {"due_at": due})
            return
        tell_ended({"tenant": run.tenant, "run": run.id, "event": "expiring"})
    table.delete(*key)


def _warned_at(run: Run) -> str:
    assert run.expires_at is not None, "asked of what expires"
    return rfc3339(parse_rfc3339(run.expires_at) - WARNED_BEFORE)
