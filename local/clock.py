"""The schedules of the template: each fires once when the stack is up, then at its rate."""

import datetime
import json
import re
import threading
import uuid
from typing import Any

from local.configuration import ACCOUNT, REGION
from local.console import StartError
from local.event_bus import rfc3339
from local.functions import Functions
from local.known_properties import Known

type Json = Any
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


def seconds_of(expression: str) -> int:
    """Seconds between two firings of `rate(5 minutes)`; StartError for what is not a rate."""
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if not match:
        raise StartError(f"The local stack's clock knows rates only, not {expression}; see local/clock.py")
    return int(match[1]) * _SECONDS[match[2]]


EVENT: Known = {
    "Input": ...,
    "Name": ...,
    "OmitName": ...,
    "RetryPolicy": {"MaximumRetryAttempts": "a failed call is called again as Lambda does it (local/functions.py)"},
    "ScheduleExpression": ...,
    "State": ...,
}
"""What of an event of type ScheduleV2 is used here, and what is not."""


class Clock:
    """Runs schedules, each in a thread of its own."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._stop = threading.Event()
        self._schedules: list[tuple[int, Json]] = []

    def add(self, properties: Json) -> None:
        """One `AWS::Scheduler::Schedule`, resolved."""
        if properties.get("State", "ENABLED") == "ENABLED":
            self._schedules.append((seconds_of(properties["ScheduleExpression"]), properties))

    def start(self) -> None:
        """Start all of them."""
        for seconds, properties in self._schedules:
            threading.Thread(target=self._run, args=(seconds, properties), daemon=True).start()

    def stop(self) -> None:
        """Fire no more."""
        self._stop.set()

    def _run(self, seconds: int, properties: Json) -> None:
        target = properties["Target"]
        function = self._functions[target["Arn"]]
        wait = 1
        while not self._stop.wait(wait):
            payload = target.get("Input") or json.dumps(_event(properties.get("Name", function.name)))
            self._functions.invoke_later(function, payload.encode())
            wait = seconds


def _event(name: str) -> Json:
    """What EventBridge Scheduler sends to a target without an input of its own."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": rfc3339(datetime.datetime.now(datetime.UTC)),
        "region": REGION,
        "resources": [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"],
        "detail": "{}",
    }
