"""Faults that a test asks for: the next calls of an operation fail in a way that moto never does.

`PUT /_local/faults` on the AWS port takes a list of faults, `GET` gives those still to come, `DELETE` forgets them and
lets the calls go on that a `delay` holds:

    [{"service": "s3", "operation": "CompleteMultipartUpload", "times": 2, "status": 503, "body": "<Error>…"},
     {"service": "s3", "operation": "UploadPart", "delay": 3},
     {"service": "s3", "operation": "CompleteMultipartUpload", "drop": "after"},
     {"service": "ecs", "operation": "RunTask", "not_started": "CannotPullContainerError: …"}]

`delay` waits before the call, `late` after it; `status` and `body` answer instead of it; `drop` closes the connection
`before` or `after` it; `not_started` makes ECS accept a task that never starts. `skip` lets so many calls pass first;
`contains` means only calls whose target or body holds that text.
"""

import json
import threading
import time
from typing import Any

from local.http_server import DropConnectionError, Request, Response

type Json = Any


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._faults: list[Json] = []
        self._lock = threading.Lock()
        self._released = threading.Event()

    def control(self, request: Request) -> Response:
        """Set, show or forget faults."""
        with self._lock:
            if request.method == "PUT":
                self._faults = json.loads(request.body)
            elif request.method == "DELETE":
                self._faults = []
                self._released.set()
                self._released = threading.Event()
            return Response(200, [("content-type", "application/json")], json.dumps(self._faults).encode())

    def take(self, service: str, operation: str, request: Request) -> Json | None:
        """The fault of this call, if there is one."""
        with self._lock:
            for fault in self._faults:
                if (fault["service"], fault["operation"]) == (service, operation) and _concerns(fault, request):
                    if fault.get("skip", 0) > 0:
                        fault["skip"] -= 1
                        return None
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] == 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def before(self, fault: Json) -> Response | None:
        """What happens instead of the call, or nothing after a delay."""
        self._released.wait(fault.get("delay", 0))
        if fault.get("drop") == "before":
            raise DropConnectionError
        if "status" in fault:
            body = fault.get("body", "")
            content_type = "application/xml" if str(body).startswith("<") else "application/x-amz-json-1.1"
            return Response(
                fault["status"],
                [("content-type", content_type)],
                (body if isinstance(body, str) else json.dumps(body)).encode(),
            )
        return None


def _concerns(fault: Json, request: Request) -> bool:
    text = fault.get("contains", "")
    return text in request.target or text.encode() in request.body


def after(fault: Json) -> None:
    """What happens to the answer."""
    time.sleep(fault.get("late", 0))
    if fault.get("drop") == "after":
        raise DropConnectionError
