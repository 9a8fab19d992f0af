"""The queue of ended runs, outside the network: tell whoever wants to know."""

import json
from datetime import datetime

from stowage.entry.trigger import queue_trigger
from stowage.notices.telling import tell


@queue_trigger
def app(body: str, now: datetime) -> None:
    """Do what follows from an end."""
    tell(json.loads(body), now)
