"""What functions outside the network wrote down, carried out inside it: audit entries, the registry's copy."""

import json
from collections import defaultdict
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.table import PRESENT, ConditionFailedError, Delete, Item, Put
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.entry.telemetry import logger
from stowage.runs.audit_notes import AUDIT_NOTES, DEAD_NOTES
from stowage.runs.kinds import when_ended_of
from stowage.runs.record import FINAL

_OLD = timedelta(minutes=2)
_MOST_TOUCHED = 200


def carry_out(notes: list[Item]) -> dict[str, int]:
    """Do what the notes ask for; audit notes are deleted once they stand in the journal."""
    audit = [note for note in notes if note["pk"] == AUDIT_NOTES]
    done = {"audited": append_audit(audit)} if audit else {}
    if len(audit) < len(notes):
        done["tenants"] = copy_registry()
    return done


def append_audit(notes: list[Item]) -> int:
    """Append audit notes to the journals of their tenants' databases, each once; returns how many.

    A note that Postgres can never take goes to the dead letters. Those that fail otherwise stay, and the clock sends
    them again: an error raised here would hold up the stream behind it.
    """
    from stowage.postgres.journal.audit_entries import append_noted
    from stowage.postgres.journal.changes import Change
    from stowage.postgres.session.connection import APP, borrowed
    from stowage.postgres.session.marks import mark_dirty

    by_place: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for note in notes:
        by_place[note["database"], note["tenant"]].append(note)
    appended = 0
    for (database, tenant), its_notes in by_place.items():
        changes = {
            note["sk"]: Change(
                operation=note["sk"],
                entity="runs",
                id=note["subject"],
                type=note["type"],
                before=None,
                after=json.loads(note["after"]) if note["after"] else None,
                actor=note["actor"],
                at=parse_rfc3339(note["at"]),
            )
            for note in its_notes
        }
        try:
            with borrowed(database, APP) as connection:
                dead = append_noted(connection, tenant, changes)
                for note in its_notes:
                    kind, _, event = note["type"].partition(".")
                    if note["sk"] not in dead and event in FINAL and (when_ended := when_ended_of(kind)):
                        when_ended(connection, note["subject"])
            mark_dirty(tenant, database, parse_rfc3339(its_notes[-1]["at"]))
        except Exception:
            logger.exception("audit entries wait", tenant=tenant, database=database, notes=len(its_notes))
            continue
        for note in its_notes:
            if note["sk"] in dead:
                _give_up(note, dead[note["sk"]])
            else:
                table.delete(note["pk"], note["sk"])
        appended += len(its_notes) - len(dead)
    return appended


def _give_up(note: Item, error: str) -> None:
    """Put a note where nobody tries it again; the table's stream then tells the dead-letter queue."""
    logger.error("audit entry given up", note=note["sk"], tenant=note["tenant"], error=error)
    table.transact([Put(note | {"pk": DEAD_NOTES, "error": error}), Delete(note["pk"], note["sk"])])


def copy_registry() -> int:
    """Copy `control_plane.projects` to the table; returns how many tenants there are."""
    from stowage.postgres.schema.registry import read_tenants
    from stowage.postgres.session.connection import APP, borrowed
    from stowage.tenants import Tenant, replace_registry

    with borrowed("main", APP) as connection:
        rows = read_tenants(connection)
    return replace_registry([Tenant(row.id, row.slug, row.name, row.database, row.trash_days) for row in rows])


def touch_old_notes(now: datetime) -> int:
    """Send notes that are still there after a while through the stream once more."""
    touched = 0
    for note in table.query(AUDIT_NOTES):
        if note["at"] > rfc3339(now - _OLD) or touched == _MOST_TOUCHED:
            break
        try:
            table.update(note["pk"], note["sk"], {"touched_at": rfc3339(now)}, when={"pk": PRESENT})
        except ConditionFailedError:
            continue
        touched += 1
    return touched
