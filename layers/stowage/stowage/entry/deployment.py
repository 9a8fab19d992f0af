"""A custom resource: work that CloudFormation has done once for every deployment."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

from stowage.basics.errors import StowageError
from stowage.basics.telemetry import logger


def on_deployment(work: Callable[[datetime], object]) -> Callable[[dict[str, Any], object], None]:
    """Make a function a custom resource's provider; other events (a schedule's) just call it.

    The answer goes to CloudFormation's own URL, an S3 link, which a gateway endpoint reaches
    (AWS CloudFormation user guide, "Custom resource request and response objects").
    """

    def app(event: dict[str, Any], _context: object) -> None:
        if "ResponseURL" not in event:
            logger.info("done", outcome=work(datetime.now(UTC)))
            return
        status, reason = "SUCCESS", ""
        if event["RequestType"] != "Delete":
            try:
                logger.info("done", outcome=work(datetime.now(UTC)))
            except Exception as error:
                logger.exception("deployment step failed")
                status, reason = "FAILED", f"{type(error).__name__}: see the function's log."
                if isinstance(error, StowageError):
                    reason = error.message
        _answer(event, status, reason)

    return app


def _answer(event: dict[str, Any], status: str, reason: str) -> None:
    body = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    url = event["ResponseURL"]  # CloudFormation's own, so its scheme needs no look
    request = Request(url, json.dumps(body).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    with urlopen(request, timeout=20) as response:  # noqa: S310
        response.read()
