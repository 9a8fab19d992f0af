"""Audit entries of functions that speak no SQL: written down in the table as notes, which the inside reader of the
table's stream appends to the journal.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain, takewhile

from stowage.aws import table
from stowage.aws.queues import give_up
from stowage.aws.table import PRESENT, ConditionFailedError, Image, Item, Put
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.record import Run

AUDIT_NOTES = "NOTE#audit"
DEAD_NOTES = "DEAD#audit"
"""Where notes lie that no journal can take."""

_OLD = timedelta(minutes=2)
_MOST_TOUCHED = 200
_PLACE = ("CLOCK", "NOTES")
"""The item of the table that holds the key of the note touched last."""


def audit_note(run: Run, event: str, actor: str, now: datetime, after: Mapping[str, object] | None = None) -> Put:
    """The write that asks for one journal entry: what happened (`requested`) to which run, by whom, when."""
    return audit_entry(run.tenant, run.database, f"{run.kind}.{event}", run.id, actor, now, after)


def audit_entry(
    tenant: str, database: str, type: str, subject: str, actor: str, now: datetime, after: Mapping[str, object] | None
) -> Put:
    """The write that asks for one journal entry of a tenant: what happened (`export.requested`) to what."""
    return Put(
        {
            "pk": AUDIT_NOTES,
            "sk": new_run_id(now),
            "tenant": tenant,
            "database": database,
            "type": type,
            "subject": subject,
            "actor": actor,
            "at": rfc3339(now),
            "after": json.dumps(after) if after is not None else None,
        }
    )


def touch_old_notes(now: datetime, has_time: Callable[[], bool]) -> int:
    """Send notes that are still there after a while through the stream once more; returns how many.

    Each call goes on behind the last note of the call before, and begins anew after the newest one.
    So notes that cannot be written for long, as those of a tenant on a standby, hold up no others.
    """
    place = (table.get(*_PLACE) or {}).get("last")
    touched, last = 0, place
    for note in chain(_old_notes(now, after=place), _old_notes(now, up_to=place) if place else ()):
        if touched == _MOST_TOUCHED or not has_time():
            break
        last = note["sk"]
        try:
            table.update(note["pk"], note["sk"], {"touched_at": rfc3339(now)}, when={"pk": PRESENT})
        except ConditionFailedError:
            continue
        touched += 1
    if last != place:
        table.update(*_PLACE, {"last": last})
    return touched


def _old_notes(now: datetime, after: str | None = None, up_to: str | None = None) -> Iterator[Item]:
    notes = table.query(AUDIT_NOTES, page_size=_MOST_TOUCHED, after=after, up_to=up_to)
    return takewhile(lambda note: note["at"] <= rfc3339(now - _OLD), notes)


def tell_dead_notes(changes: list[Image], _now: datetime) -> int:
    """Send notes that were given up to the dead-letter queue; returns how many."""
    dead = [note for _, note in changes if note]
    for note in dead:
        give_up(note)
    return len(dead)
