"""A trigger: an event of AWS's, handled record by record where it has records."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from stowage.aws.table import Image, Item, decode
from stowage.basics.telemetry import logger


def trigger(work: Callable[[dict[str, Any], datetime], object]) -> Callable[[dict[str, Any], object], None]:
    """Make a function of one whole event a Lambda handler."""

    def app(event: dict[str, Any], _context: object) -> None:
        outcome = work(event, datetime.now(UTC))
        logger.info("trigger done", trigger=work.__name__, outcome=outcome)

    return app


type Batch = dict[str, list[dict[str, str]]]


def queue_trigger(work: Callable[[str, datetime], object]) -> Callable[[dict[str, Any], object], Batch]:
    """Make a function of one message's body a Lambda handler; a message whose call fails comes again."""

    def app(event: dict[str, Any], _context: object) -> Batch:
        failed = []
        for record in event["Records"]:
            try:
                work(record["body"], datetime.now(UTC))
            except Exception:
                logger.exception("message failed", trigger=work.__name__, message_id=record["messageId"])
                failed.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failed}

    return app


type Images = list[Image]


def table_trigger(work: Callable[[Images, datetime], object]) -> Callable[[dict[str, Any], object], None]:
    """Make a function of changed items, each as (before, after), a Lambda handler. The order is the stream's.

    A batch that fails comes again, and is halved until the failing record stands alone
    (BisectBatchOnFunctionError). So the function must be safe to repeat.
    """

    def app(event: dict[str, Any], _context: object) -> None:
        images = [(_image(record, "OldImage"), _image(record, "NewImage")) for record in event["Records"]]
        outcome = work(images, datetime.now(UTC))
        logger.info("changes done", trigger=work.__name__, records=len(images), outcome=outcome)

    return app


def _image(record: dict[str, Any], name: str) -> Item | None:
    image = record["dynamodb"].get(name)
    return {attribute: decode(value) for attribute, value in image.items()} if image else None
