"""SQS's event source mappings: messages go to functions in batches; failed ones come again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.batch_answers import failed_identifiers
from local.configuration import REGION
from local.functions import Function, Functions
from local.known_properties import Known

type Json = Any
LOOK_SECONDS = 1.0
"""How often a queue is looked at without a send: for delayed messages and those that become visible again."""


EVENT: Known = {
    "BatchSize": ...,
    "FunctionResponseTypes": ...,
    "MaximumBatchingWindowInSeconds": ...,
    "Queue": ...,
    "ScalingConfig": {"MaximumConcurrency": "one batch of a queue is in work at a time"},
}
"""What of an event of type SQS is used here, and what is not."""


@dataclass
class Consumer:
    """One mapping of a queue to a function."""

    function: Function
    queue_arn: str
    queue_name: str
    batch_size: int
    window_seconds: float
    partial: bool
    sent: threading.Event = field(default_factory=threading.Event)


class Queues:
    """Runs the consumers; `receive` and `delete` are moto's queue, by queue name."""

    def __init__(
        self,
        functions: Functions,
        receive: Callable[[str, int], list[Json]],
        delete: Callable[[str, str], None],
    ) -> None:
        self._functions, self._receive, self._delete = functions, receive, delete
        self._consumers: list[Consumer] = []
        self._stop = threading.Event()

    def add(self, properties: Json) -> None:
        """Consume as an event source mapping says."""
        queue_arn = properties["EventSourceArn"]
        self._consumers.append(
            Consumer(
                function=self._functions[properties["FunctionName"]],
                queue_arn=queue_arn,
                queue_name=queue_arn.rpartition(":")[2],
                batch_size=int(properties.get("BatchSize", 10)),
                window_seconds=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
                partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
            )
        )

    def start(self) -> None:
        """Begin to consume."""
        for consumer in self._consumers:
            threading.Thread(target=self._consume, args=(consumer,), daemon=True).start()

    def sent(self) -> None:
        """A message may have been sent."""
        for consumer in self._consumers:
            consumer.sent.set()

    def stop(self) -> None:
        """Consume no more."""
        self._stop.set()
        self.sent()

    def _consume(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            consumer.sent.wait(LOOK_SECONDS)
            consumer.sent.clear()
            if consumer.window_seconds:
                self._stop.wait(consumer.window_seconds)
            while not self._stop.is_set():
                messages = self._receive(consumer.queue_name, min(consumer.batch_size, 10))
                if not messages:
                    break
                self._deliver(consumer, messages)

    def _deliver(self, consumer: Consumer, messages: list[Json]) -> None:
        records = [
            message | {"eventSource": "aws:sqs", "eventSourceARN": consumer.queue_arn, "awsRegion": REGION}
            for message in messages
        ]
        outcome = self._functions.call(consumer.function, {"Records": records})
        failed = failed_identifiers(outcome) if consumer.partial or outcome.error else set()
        # An identifier that is none of theirs makes AWS take the whole batch as failed.
        if failed is None or failed - {message["messageId"] for message in messages}:
            return
        for message in messages:
            if message["messageId"] not in failed:
                self._delete(consumer.queue_name, message["receiptHandle"])
