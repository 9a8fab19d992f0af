"""A template with something that the local stack does not know does not start."""

from pathlib import Path

from local import clock, deployment, event_bus, gateway, kept_secrets, queues, resources, streams
from local.console import StartError
from local.identities import WITHOUT_EFFECT
from local.known_properties import Known, unknown_properties

TYPES: dict[str, Known] = {
    **WITHOUT_EFFECT,
    **deployment.PROPERTIES,
    **gateway.PROPERTIES,
    **kept_secrets.PROPERTIES,
    **resources.PROPERTIES,
}
EVENTS: dict[str, Known] = {
    "DynamoDB": streams.EVENT,
    "EventBridgeRule": event_bus.EVENT,
    "HttpApi": gateway.EVENT,
    "SQS": queues.EVENT,
    "ScheduleV2": clock.EVENT,
}


def check(template: Path) -> None:
    """StartError that names every type and property that is not known, with its line."""
    found = unknown_properties(template.read_text(), TYPES, EVENTS)
    if found:
        lines = "\n".join(f"  {each}" for each in found)
        raise StartError(
            f"{template.name} says what the local stack does not know:\n{lines}\n"
            "What it uses, or ignores for a reason, is listed beside the code of each type (local/template_check.py)."
        )
