"""Audit entries of functions that speak no SQL: written down in the table, appended to the journal by a trigger."""

import json
from collections.abc import Mapping
from datetime import datetime

from stowage.aws.table import Put
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.record import Run

AUDIT_NOTES = "NOTE#audit"
DEAD_NOTES = "DEAD#audit"
"""Where notes lie that no journal can take."""


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
