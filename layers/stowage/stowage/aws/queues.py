"""Messages for later."""

import json

from stowage.aws.clients import sqs
from stowage.settings import settings

LONGEST_DELAY = 900
"""Seconds that SQS can hold a message back."""


def wake_later(database: str, seconds: int) -> None:
    """Have the database's waiting runs looked at again in so many seconds; beyond SQS's limit the clock does it."""
    if seconds <= LONGEST_DELAY:
        sqs().send_message(
            QueueUrl=settings().wake_queue, MessageBody=json.dumps({"database": database}), DelaySeconds=seconds
        )
