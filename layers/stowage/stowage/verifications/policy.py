"""Trial restores that nobody has to ask for: weekly, and whenever what holds the rows has changed (docs/operations.md).

The end of a backup puts its tenant on a due list; the clock sees there whether that backup is to be tried out. The
tenant's summary has the last one: `trial`, `{"at", "fingerprint"}`.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from zlib import crc32

from stowage.aws import table
from stowage.aws.table import ConditionFailedError, Delete, Item, Write
from stowage.backups.verification import new_verification
from stowage.basics.ids import rfc3339
from stowage.runs.kinds import TRIAL_LEVEL
from stowage.runs.store import create_run, find_run
from stowage.runs.summary import noting, read_summary
from stowage.schedules import trials_wanted
from stowage.schedules.records import Trials

WEEK_DAYS = 7


def look_after(item: Item, now: datetime) -> None:
    """Have the backup that has just completed tried out where that is due, and take its tenant off the list."""
    tenant = str(item["pk"]).removeprefix("T#")
    backup, last = find_run(tenant, item["run_id"]), read_summary(tenant).get("trial")
    writes: list[Write] = [Delete(item["pk"], item["sk"], when={"run_id": item["run_id"]})]
    with suppress(ConditionFailedError):  # a newer one has taken its place, or it has just been deleted
        if backup is None or backup.status != "completed" or backup.outcome is None:
            table.transact(writes)
            return
        fingerprint = backup.outcome.facts.get("fingerprint")
        seen = noting(tenant, {"trial": {"at": rfc3339(now), "fingerprint": fingerprint}})
        if is_due(trials_wanted(tenant), last, fingerprint, tenant, now):
            create_run(new_verification(backup, TRIAL_LEVEL, now), now, [*writes, seen])
        else:
            table.transact([*writes, seen] if last is None else writes)


def is_due(wanted: Trials, last: Item | None, fingerprint: str | None, tenant: str, now: datetime) -> bool:
    """Whether a backup with that fingerprint is to be tried out. Weekly, each tenant's turn comes on a day of its own;
    its first backup begins its first week.
    """
    if wanted != "weekly":
        return wanted == "always"
    turn = turn_of_week(tenant, now)
    if last is None:
        return now - turn < timedelta(days=1)
    return bool(fingerprint != last["fingerprint"] or last["at"] < rfc3339(turn))


def turn_of_week(tenant: str, now: datetime) -> datetime:
    """The midnight (UTC) with which the tenant's last day of trials began."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=(now.weekday() - crc32(tenant.encode())) % WEEK_DAYS)
