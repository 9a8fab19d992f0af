"""The table's stream: who follows which changes, by the items' keys.

Two functions read it and no more, one outside the network and one inside, because two is what DynamoDB takes for each
shard without throttling (developer guide, "DynamoDB Streams and AWS Lambda triggers"). A change is delivered at least
once. One that cannot be followed is tried a few times more, alone, and then told to the dead-letter queue: whatever
follows is due by a time in the table too, so the clock looks after what the stream has lost.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from stowage.aws.table import Image


@dataclass(frozen=True)
class Follower:
    """Who follows the changes of the items whose keys begin so; `follow` returns how much it did.

    Outside the network it only sends messages, because the next changes wait for it.
    """

    follow: Callable[[list[Image], datetime], int]
    pk: str
    sk: str = ""

    def follows(self, change: Image) -> bool:
        """Whether a change is of such an item."""
        item = change[1] or change[0] or {}
        return str(item.get("pk")).startswith(self.pk) and str(item.get("sk")).startswith(self.sk)


def follow(followers: Iterable[Follower], changes: list[Image], now: datetime) -> dict[str, int]:
    """Have each follower do what follows from its changes; returns how much that was, by the function's name.

    One that fails does not keep the others from their changes; its error is raised after them.
    """
    done: dict[str, int] = {}
    failures: list[Exception] = []
    for follower in followers:
        followed = [change for change in changes if follower.follows(change)]
        if not followed:
            continue
        try:
            done[follower.follow.__name__] = follower.follow(followed, now)
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup("Not every change could be followed.", failures)
    return done
