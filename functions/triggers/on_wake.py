"""The wake queue: give waiting runs of a database another chance, stop cancelled ones."""

import json
from datetime import datetime

from stowage.entry.trigger import queue_trigger
from stowage.runs.wake import carry_out


@queue_trigger
def app(body: str, now: datetime) -> None:
    """Do what the message asks for."""
    carry_out(json.loads(body), now)
