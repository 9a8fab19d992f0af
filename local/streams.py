"""The table's stream: each write reaches the functions that listen, in order, within milliseconds."""

import collections
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.batch_answers import failed_identifiers
from local.console import log
from local.event_patterns import matches
from local.function_pool import Outcome
from local.functions import Function, Functions
from local.known_properties import Known

type Json = Any
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0


EVENT: Known = {
    "BatchSize": ...,
    "BisectBatchOnFunctionError": ...,
    "DestinationConfig": {
        "OnFailure": {"Destination": ..., "Type": "for the policy of the function's role", "QueueLogicalId": "the same"}
    },
    "FilterCriteria": {"Filters": [{"Pattern": ...}]},
    "FunctionResponseTypes": ...,
    "MaximumRetryAttempts": ...,
    "StartingPosition": "the local stream begins with its table",
    "Stream": ...,
}
"""What of an event of type DynamoDB is used here, and what is not."""


@dataclass
class Listener:
    """One `AWS::Lambda::EventSourceMapping` on a table's stream, and the records it has not taken yet."""

    function: Function
    stream_arn: str
    table_name: str
    batch_size: int
    patterns: list[Json]
    retries: int
    partial: bool
    bisects: bool
    failure_queue_arn: str | None
    records: collections.deque[Json] = field(default_factory=collections.deque)
    arrived: threading.Condition = field(default_factory=threading.Condition)


class Streams:
    """Moves records from moto's tables to the listeners whenever something was written."""

    def __init__(
        self,
        functions: Functions,
        drain: Callable[[str], list[Json]],
        send: Callable[[str, str], None],
    ) -> None:
        """`drain` takes a table's new records; `send` puts a message into a queue by ARN."""
        self._functions, self._drain, self._send = functions, drain, send
        self._listeners: list[Listener] = []
        self._written = threading.Event()
        self._stopping = False

    def add(self, properties: Json, table_name: str) -> None:
        """Listen as an event source mapping says."""
        filters = properties.get("FilterCriteria", {}).get("Filters", [])
        on_failure = properties.get("DestinationConfig", {}).get("OnFailure", {})
        self._listeners.append(
            Listener(
                function=self._functions[properties["FunctionName"]],
                stream_arn=properties["EventSourceArn"],
                table_name=table_name,
                batch_size=int(properties.get("BatchSize", 100)),
                patterns=[json.loads(each["Pattern"]) for each in filters],
                retries=int(properties.get("MaximumRetryAttempts", -1)),
                partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
                bisects=bool(properties.get("BisectBatchOnFunctionError")),
                failure_queue_arn=on_failure.get("Destination"),
            )
        )

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._distribute, daemon=True).start()
        for listener in self._listeners:
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def written(self) -> None:
        """Something may have been written."""
        self._written.set()

    def stop(self) -> None:
        """Deliver no more."""
        self._stopping = True
        self._written.set()
        for listener in self._listeners:
            with listener.arrived:
                listener.arrived.notify_all()

    def _distribute(self) -> None:
        tables = {listener.table_name for listener in self._listeners}
        while not self._stopping:
            self._written.wait()
            self._written.clear()
            for table in tables:
                for record in self._drain(table):
                    self._offer(table, record)

    def _offer(self, table: str, record: Json) -> None:
        for listener in self._listeners:
            wanted = not listener.patterns or any(matches(pattern, record) for pattern in listener.patterns)
            if listener.table_name == table and wanted:
                with listener.arrived:
                    listener.records.append(record | {"eventSourceARN": listener.stream_arn})
                    listener.arrived.notify()

    def _listen(self, listener: Listener) -> None:
        while not self._stopping:
            with listener.arrived:
                while not listener.records and not self._stopping:
                    listener.arrived.wait()
                batch = [listener.records.popleft() for _ in range(min(listener.batch_size, len(listener.records)))]
            if batch and not self._stopping:
                self._deliver(listener, batch)

    def _deliver(self, listener: Listener, batch: list[Json]) -> None:
        """Invoke with a batch until it is taken or its retries are used up; then it goes to the failure queue.

        https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
        """
        attempt, wait = 0, FIRST_WAIT_SECONDS
        while batch and not self._stopping:
            outcome = self._functions.call(listener.function, {"Records": batch})
            left = _unprocessed(listener, batch, outcome)
            if not left:
                return
            if len(left) < len(batch):
                # Progress: what failed starts anew, as AWS's checkpoint does.
                batch, attempt, wait = left, 0, FIRST_WAIT_SECONDS
                continue
            if listener.bisects and outcome.error and len(batch) > 1:
                # Splitting counts as no retry; each half has its own.
                middle = len(batch) // 2
                self._deliver(listener, batch[:middle])
                self._deliver(listener, batch[middle:])
                return
            if attempt == listener.retries:
                self._give_up(listener, batch, outcome)
                return
            attempt += 1
            threading.Event().wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _give_up(self, listener: Listener, batch: list[Json], outcome: Outcome) -> None:
        log(f"{listener.function.logical_id}: gave up on {len(batch)} records of the stream")
        if listener.failure_queue_arn:
            numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
            message = {
                "requestContext": {"functionArn": listener.function.arn, "condition": "RetryAttemptsExhausted"},
                "responseContext": {"statusCode": 200, "functionError": outcome.error or None},
                "version": "1.0",
                "DDBStreamBatchInfo": {
                    "streamArn": listener.stream_arn,
                    "startSequenceNumber": numbers[0],
                    "endSequenceNumber": numbers[-1],
                    "batchSize": len(batch),
                },
            }
            self._send(listener.failure_queue_arn, json.dumps(message))


def _unprocessed(listener: Listener, batch: list[Json], outcome: Outcome) -> list[Json]:
    """The records from the first failed one on, where the mapping lets the function name them; all where it failed.

    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    failed = failed_identifiers(outcome) if listener.partial or outcome.error else set()
    if failed is None:
        return batch
    for index, record in enumerate(batch):
        if record["dynamodb"]["SequenceNumber"] in failed:
            return batch[index:]
    return batch if failed else []
