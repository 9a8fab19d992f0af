"""The table's stream, inside the network: do with SQL what functions outside it wrote down."""

from datetime import datetime

from stowage.entry.trigger import Images, table_trigger
from stowage.postgres.schema.registry import copy_as_asked
from stowage.runs.audit_journal import append_notes
from stowage.runs.audit_notes import AUDIT_NOTES
from stowage.stream import Follower, follow
from stowage.tenants import REGISTRY_NOTE

FOLLOWERS = (
    Follower(append_notes, AUDIT_NOTES),
    Follower(copy_as_asked, *REGISTRY_NOTE),
)


@table_trigger
def app(changes: Images, now: datetime) -> dict[str, int]:
    """Answer what was done."""
    return follow(FOLLOWERS, changes, now)
