"""The table's stream, outside the network: hand what follows from a change to queues."""

from datetime import datetime

from stowage.entry.trigger import Images, table_trigger
from stowage.notices.ended import follow_endings
from stowage.runs.audit_notes import DEAD_NOTES, tell_dead_notes
from stowage.runs.react import react
from stowage.stream import Follower, follow

FOLLOWERS = (
    Follower(react, "T#", "RUN#"),
    Follower(follow_endings, "T#", "RUN#"),
    Follower(tell_dead_notes, DEAD_NOTES),
)


@table_trigger
def app(changes: Images, now: datetime) -> dict[str, int]:
    """Answer what was done."""
    return follow(FOLLOWERS, changes, now)
