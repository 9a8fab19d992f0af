"""The functions of the template: their settings, and how they are invoked, at once or later."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.code_watch import CodeWatch
from local.configuration import ACCOUNT, REGION
from local.console import log
from local.function_pool import Environment, FunctionPool, Invocation, Outcome, failure

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
"""Lambda's limit for a synchronous event and its answer: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
ASYNCHRONOUS_RETRIES = 2
"""Lambda's default: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""


@dataclass(frozen=True)
class Function:
    """One `AWS::Lambda::Function`, resolved."""

    logical_id: str
    name: str
    handler: str
    timeout: int
    memory: int
    environment: Environment
    dead_letter_arn: str | None = None
    retries: int = ASYNCHRONOUS_RETRIES
    """How often an asynchronous invocation that failed is tried again."""

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"


class Functions:
    """All functions, by logical id, name or ARN."""

    def __init__(
        self,
        pool: FunctionPool,
        code: CodeWatch,
        template: CodeWatch,
        rebuild: Callable[[], None],
        give_up: Callable[[Function, bytes, Outcome], None],
    ) -> None:
        self._pool, self._code, self._template = pool, code, template
        self._rebuild, self._give_up = rebuild, give_up
        self._functions: dict[str, Function] = {}
        self.closing = threading.Event()

    def add(self, function: Function) -> None:
        """Make a function known."""
        for key in (function.logical_id, function.name, function.arn):
            self._functions[key] = function

    def find(self, key: str) -> Function | None:
        """The function of this logical id, name or ARN, with or without a qualifier."""
        return self._functions.get(key) or self._functions.get(key.removesuffix(":$LATEST"))

    def __getitem__(self, key: str) -> Function:
        function = self.find(key)
        if function is None:
            raise KeyError(key)
        return function

    def invoke(self, function: Function, event: bytes, timeout: float | None = None) -> Outcome:
        """Run an event and wait for its answer; `timeout` in seconds may be shorter than the function's own."""
        if self._code.changed():
            self._rebuild()
            self._pool.renew()
        if self._template.changed():
            log("the template has changed: variables, routes and states are those of the start until you start anew")
        seconds = function.timeout if timeout is None else min(timeout, function.timeout)
        invocation = Invocation(function.name, function.handler, function.environment, function.memory, seconds)
        outcome = self._pool.invoke(invocation, event)
        if len(outcome.payload) > MAX_PAYLOAD_BYTES:
            outcome = failure(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes).",
            )
        if outcome.error and not self.closing.is_set():
            log(f"{function.logical_id} failed: {outcome.describe()} (more in functions.log)")
        return outcome

    def call(self, function: Function, event: Any) -> Outcome:
        """As `invoke`, of an event not yet encoded."""
        return self.invoke(function, json.dumps(event).encode())

    def invoke_later(self, function: Function, event: bytes) -> None:
        """Take an event as an asynchronous invocation does: retries, then the dead-letter queue."""
        threading.Thread(target=self._run_later, args=(function, event), daemon=True).start()

    def _run_later(self, function: Function, event: bytes) -> None:
        for attempt in range(function.retries + 1):
            outcome = self.invoke(function, event)
            if not outcome.error or self.closing.is_set():
                return
            # AWS waits one and two minutes; here nobody would.
            time.sleep(1 + attempt)
        self._give_up(function, event, outcome)
