"""The wake queue: give waiting runs of a database another chance."""

import json
from datetime import datetime

from stowage.entry.trigger import queue_trigger
from stowage.runs.dispatch import dispatch


@queue_trigger
def app(body: str, now: datetime) -> None:
    """Start what may start on the database that the message names."""
    dispatch(json.loads(body)["database"], now)
