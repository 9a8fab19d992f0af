"""Audit notes, appended inside the network to the journals of their tenants' databases."""

import json
from collections import defaultdict
from datetime import datetime

from stowage.aws import table
from stowage.aws.table import Delete, Image, Item, Put
from stowage.basics.ids import parse_rfc3339
from stowage.basics.telemetry import logger
from stowage.postgres.journal.audit_entries import append_noted
from stowage.postgres.journal.changes import Change
from stowage.postgres.session.connection import APP, borrowed
from stowage.postgres.session.marks import mark_dirty
from stowage.runs.audit_notes import DEAD_NOTES
from stowage.runs.kinds import when_ended_of, when_gone_of
from stowage.runs.record import FINAL

GONE = ("failed", "cancelled", "expired", "deleted")
"""The events after which nothing of a run is left to be read."""


def append_notes(changes: list[Image], now: datetime) -> int:
    """Append new notes to the journal, each once, and delete them; returns how many.

    A note that Postgres can never take goes to the dead letters. A note that fails otherwise stays,
    and the clock sends it again. No error is raised: it would hold up the stream behind these
    notes.
    """
    by_place: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for _, note in changes:
        if note is not None:
            by_place[note["database"], note["tenant"]].append(note)
    appended = 0
    for (database, tenant), its_notes in by_place.items():
        entries = {
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
                dead = append_noted(connection, tenant, entries)
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
            elif _is_gone(note, now):
                table.delete(note["pk"], note["sk"])
        appended += len(its_notes) - len(dead)
    return appended


def _is_gone(note: Item, now: datetime) -> bool:
    """Whether all is done that follows from what a note tells. One that waits for that holds up no other."""
    kind, _, event = note["type"].partition(".")
    when_gone = when_gone_of(kind) if event in GONE else None
    if when_gone:
        try:
            when_gone(note["tenant"], note["database"], note["subject"], now)
        except Exception:
            logger.exception("what a run left stays", tenant=note["tenant"], run=note["subject"])
            return False
    return True


def _give_up(note: Item, error: str) -> None:
    """Move a note to a key from which it is not retried. The table's stream then sends it to the dead-letter queue."""
    logger.error("audit entry given up", note=note["sk"], tenant=note["tenant"], error=error)
    table.transact([Put(note | {"pk": DEAD_NOTES, "error": error}), Delete(note["pk"], note["sk"])])
