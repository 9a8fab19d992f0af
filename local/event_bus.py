"""EventBridge's default bus: events that AWS's services and the product send, to the functions whose rules match."""

import datetime
import json
import uuid
from typing import Any

from local.configuration import ACCOUNT, REGION
from local.event_patterns import matches
from local.functions import Functions
from local.known_properties import Known

type Json = Any


def rfc3339(when: datetime.datetime | None = None) -> str:
    """A time in seconds, UTC, as AWS writes it in events."""
    return (when or datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


EVENT: Known = {"Input": ..., "Pattern": ..., "State": ...}
"""What of an event of type EventBridgeRule is used here."""


class EventBus:
    """Rules and their targets, as the template declares them."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._rules: list[Json] = []

    def add_rule(self, properties: Json) -> None:
        """One `AWS::Events::Rule`, resolved."""
        if properties.get("EventPattern") and properties.get("State", "ENABLED") == "ENABLED":
            self._rules.append(properties)

    def emit(self, source: str, detail_type: str, detail: Json, resources: list[str] | None = None) -> str:
        """Send one event; gives its id."""
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": rfc3339(),
            "region": REGION,
            "resources": resources or [],
            "detail": detail,
        }
        for rule in self._rules:
            if matches(rule["EventPattern"], event):
                for target in rule.get("Targets", []):
                    self._deliver(target, event)
        return str(event["id"])

    def _deliver(self, target: Json, event: Json) -> None:
        function = self._functions.find(target["Arn"])
        if function:
            payload = target.get("Input") or json.dumps(event)
            self._functions.invoke_later(function, payload.encode())

    def put_events(self, request: Json) -> Json:
        """PutEvents."""
        entries = [
            {
                "EventId": self.emit(
                    entry["Source"], entry["DetailType"], json.loads(entry["Detail"]), entry.get("Resources")
                )
            }
            for entry in request["Entries"]
        ]
        return {"FailedEntryCount": 0, "Entries": entries}


def execution_detail(execution: Any) -> Json:
    """The detail of `Step Functions Execution Status Change`, times in milliseconds since 1970.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    def milliseconds(when: datetime.datetime | None) -> int | None:
        return None if when is None else int(when.timestamp() * 1000)

    output = getattr(execution, "output", None)
    return {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine.arn,
        "name": execution.name,
        "status": execution.exec_status.value,
        "startDate": milliseconds(execution.start_date),
        "stopDate": milliseconds(execution.stop_date),
        "input": json.dumps(execution.input_data),
        "inputDetails": {"included": True},
        "output": None if output is None else json.dumps(output),
        "outputDetails": None if output is None else {"included": True},
        "error": execution.error,
        "cause": execution.cause,
    }
