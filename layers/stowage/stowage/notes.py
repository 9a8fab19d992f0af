"""What functions outside the network wrote down, carried out inside it: audit entries, the registry's copy."""

import json
from collections import defaultdict
from datetime import datetime, timedelta

from stowage.audit import AUDIT_NOTES
from stowage.aws import table
from stowage.aws.table import PRESENT, ConditionFailedError, Item
from stowage.errors import NotFoundError
from stowage.ids import parse_rfc3339, rfc3339

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
    """Append audit notes to the journals of their tenants' databases, each once."""
    from stowage.postgres.audit_entries import append_noted
    from stowage.postgres.connection import APP, borrowed
    from stowage.postgres.journal import Change

    by_tenant: dict[str, list[Item]] = defaultdict(list)
    for note in notes:
        by_tenant[note["tenant"]].append(note)
    for tenant, its_notes in by_tenant.items():
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
        with borrowed(_database_of(tenant), APP) as connection:
            append_noted(connection, tenant, changes)
        for note in its_notes:
            table.delete(note["pk"], note["sk"])
    return len(notes)


def _database_of(tenant: str) -> str:
    item = table.get("TENANTS", tenant)
    if item is None:
        raise NotFoundError("There is no such tenant.", "tenant_not_found")
    return str(item["database"])


def copy_registry() -> int:
    """Copy `control_plane.projects` to the table; returns how many tenants there are."""
    from stowage.postgres.connection import APP, borrowed
    from stowage.postgres.registry import read_tenants
    from stowage.tenants import Tenant, replace_registry

    with borrowed("main", APP) as connection:
        rows = read_tenants(connection)
    return replace_registry([Tenant(row.id, row.slug, row.name, row.database) for row in rows])


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
