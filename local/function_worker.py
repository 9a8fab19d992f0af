"""`python -m local.function_worker DESCRIPTOR`: runs functions for whoever is at the other end of
that connection, an event at a time: Powertools keeps the current event in class attributes.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from local.configuration import ACCOUNT, REGION

type Handler = Callable[[Any, "Context"], Any]


@dataclass
class Context:
    """What AWS's runtime gives a handler beside the event."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int
    deadline: float
    function_version: str = "$LATEST"
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """The function's log group."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout."""
        return max(0, int((self.deadline - time.time()) * 1000))


def serve(connection: Connection) -> None:
    """Answer invocations from the connection until it closes: a head and a body in, an error and a body out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handlers: dict[str, Handler] = {}
    while True:
        try:
            head, event = json.loads(connection.recv_bytes()), connection.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        os.environ |= {"AWS_LAMBDA_FUNCTION_NAME": head["name"], "_HANDLER": head["handler"]}
        context = Context(head["name"], head["request_id"], head["memory"], head["deadline"])
        error, answer = _run(handlers, head["handler"], event, context)
        sys.stdout.flush()
        connection.send_bytes(error.encode())
        connection.send_bytes(answer)


def _run(handlers: dict[str, Handler], path: str, event: bytes, context: Context) -> tuple[str, bytes]:
    """The error's kind, empty for none, and the answer or the error's description as the runtime gives it."""
    try:
        if path not in handlers:
            module, _, name = path.rpartition(".")
            handlers[path] = getattr(importlib.import_module(module), name)
        answer = handlers[path](json.loads(event), context)
        return "", json.dumps(answer, ensure_ascii=False).encode()
    except BaseException as error:
        traceback.print_exc()
        description = {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "requestId": context.aws_request_id,
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
        return "Unhandled", json.dumps(description).encode()


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
