"""Audit entries of functions that speak no SQL: written down in the table as notes, which the inside reader of the
table's stream appends to the journal.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.queues import give_up
from stowage.aws.table import PRESENT, ConditionFailedError, Image, Put
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.record import Run

AUDIT_NOTES = "NOTE#audit"
DEAD_NOTES = "DEAD#audit"
"""Where notes lie that no journal can take."""

_OLD = timedelta(minutes=2)
_MOST_TOUCHED = 200


def audit_note(run: Run, event: str, actor: str, now: datetime, after: Mapping[str, object] | None = None) -> Put:
    """The write that asks for one journal entry: what happened (`requested`) to which run, by whom, when."""
    return Put(
        {
            "pk": AUDIT_NOTES,
            "sk": new_run_id(now),
            "tenant": run.tenant,
            "database": run.database,
            "type": f"{run.kind}.{event}",
            "subject": run.id,
            "actor": actor,
            "at": rfc3339(now),
            "after": json.dumps(after) if after is not None else None,
        }
    )


def touch_old_notes(now: datetime, has_time: Callable[[], bool]) -> int:
    """Send notes that are still there after a while through the stream once more."""
    touched = 0
    for note in table.query(AUDIT_NOTES, page_size=_MOST_TOUCHED):
        if note["at"] > rfc3339(now - _OLD) or touched == _MOST_TOUCHED or not has_time():
            break
        try:
            table.update(note["pk"], note["sk"], {"touched_at": rfc3339(now)}, when={"pk": PRESENT})
        except ConditionFailedError:
            continue
        touched += 1
    return touched


def tell_dead_notes(changes: list[Image], _now: datetime) -> int:
    """Tell the dead-letter queue of notes that were given up; returns how many."""
    dead = [note for _, note in changes if note]
    for note in dead:
        give_up(note)
    return len(dead)
