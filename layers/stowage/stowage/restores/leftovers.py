"""What restores leave beside the live schema, and when it goes: a copy whose run failed, and what a swap put aside.

Each run that may leave something has an item on a due list. The clock speaks no SQL: it asks for a run that drops.
"""

from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.table import ConditionFailedError, Item, Update
from stowage.basics.ids import new_run_id, parse_rfc3339, rfc3339
from stowage.runs.kinds import RESTORE
from stowage.runs.record import UNFINISHED, Run
from stowage.runs.store import create_run, find_run

DUE_LIST = "RESTORES"
LOOK_AGAIN = timedelta(hours=1)
DROP_AGAIN = timedelta(days=1)


def watch_over(run: Run, now: datetime) -> None:
    """Have somebody look at that time, or soon after it, at what a run has left."""
    table.put(
        {
            "pk": run.pk,
            "sk": f"RESTORED#{run.id}",
            "run_id": run.id,
            "database": run.database,
            "schema": run.spec["schema"],
            "due_list": DUE_LIST,
            "due_at": rfc3339(now),
        }
    )


def forget(run: Run) -> None:
    """Nobody has to look at what a run has left any more."""
    table.delete(run.pk, f"RESTORED#{run.id}")


def look_after(item: Item, now: datetime) -> None:
    """See to what a run has left: it stays as long as it should, then a run of its own drops it.

    The item stays until that run has done so: one that fails or is cancelled is followed by another.
    """
    tenant = str(item["pk"]).removeprefix("T#")
    run = find_run(tenant, item["run_id"])
    left = run.outcome.facts if run and run.outcome else {}
    if run and run.status in UNFINISHED:
        _later(item, now + LOOK_AGAIN)
    elif left.get("kept_until", "") > rfc3339(now):
        _later(item, parse_rfc3339(left["kept_until"]))
    elif left and "kept_schema" not in left:
        table.delete(item["pk"], item["sk"])  # a copy that somebody asked for is theirs
    else:
        drop = Run(
            id=new_run_id(now),
            tenant=tenant,
            kind=RESTORE.name,
            database=item["database"],
            trigger="schedule",
            spec={"mode": "drop", "of": item["run_id"], "schema": item["schema"]},
            requested_by="stowage",
            created_at=rfc3339(now),
        )
        try:
            again = {"due_at": rfc3339(now + DROP_AGAIN)}
            create_run(drop, now, [Update(item["pk"], item["sk"], again, when={"due_at": item["due_at"]})])
        except ConditionFailedError:
            return


def _later(item: Item, due: datetime) -> None:
    try:
        table.update(item["pk"], item["sk"], {"due_at": rfc3339(due)}, when={"due_at": item["due_at"]})
    except ConditionFailedError:
        return
