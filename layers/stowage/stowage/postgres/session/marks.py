"""The mark that says of a tenant that its journal has entries which nobody has read yet."""

from datetime import datetime

from stowage.aws import table
from stowage.basics.ids import rfc3339

MARK = "DIRTY"


def mark_version(tenant: str) -> int:
    """A number that grows with each mark of a tenant; 0 where there was none yet."""
    item = table.get(f"T#{tenant}", MARK)
    return int(item["version"]) if item else 0


def mark_dirty(tenant: str, database: str, at: datetime) -> None:
    """Mark a tenant; UnavailableError where the table does not answer.

    `version` grows with each mark. Whoever has read the journal takes `marked_at` away only where
    `version` still is what it was before the reading, so no mark set meanwhile is lost.
    """
    table.update(f"T#{tenant}", MARK, {"database": database, "marked_at": rfc3339(at)}, add={"version": 1})
