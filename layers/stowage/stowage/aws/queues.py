"""Messages: for later, and for whoever looks after what was given up."""

import json
from collections.abc import Iterable, Mapping

from stowage.aws.clients import sqs
from stowage.settings import settings

LONGEST_DELAY = 900
"""Seconds that SQS can hold a message back."""


def give_up(item: Mapping[str, object]) -> None:
    """Tell the dead-letter queue of an item of the table that nobody can use: its keys, whose it is, and why."""
    told = {name: item[name] for name in ("pk", "sk", "tenant", "error")}
    sqs().send_message(QueueUrl=settings().dead_letter_queue, MessageBody=json.dumps(told))


def wake(pool: str, written: Iterable[tuple[str, str]]) -> None:
    """Have the pool's waiting runs looked at, those among them that were just written (tenant and id) for sure."""
    _send({"database": pool, "written": list(written)})


def stop(execution: str) -> None:
    """Have the execution of a cancelled run stopped."""
    _send({"stop": execution})


def wake_later(pool: str, seconds: int) -> None:
    """Have the pool's waiting runs looked at again in so many seconds; beyond SQS's limit the clock does it."""
    if seconds <= LONGEST_DELAY:
        _send({"database": pool}, seconds)


def _send(message: Mapping[str, object], seconds: int = 0) -> None:
    sqs().send_message(QueueUrl=settings().wake_queue, MessageBody=json.dumps(message), DelaySeconds=seconds)


def tell_ended(message: Mapping[str, object]) -> None:
    """Have done what follows from the end of a run, or is due for one."""
    sqs().send_message(QueueUrl=settings().ended_queue, MessageBody=json.dumps(message))
