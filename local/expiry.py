"""Time to live: an item whose time is over is deleted within a minute or two; DynamoDB takes up to days."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from local.aws_server import Moto
from local.configuration import ACCOUNT, REGION
from local.moto_services import call_dynamodb

type Json = Any
SECONDS = 60
OLDEST = 5 * 365 * 86400
"""What is older than five years is no time to live, as DynamoDB sees it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
"""


class Expiry:
    """Looks through the tables now and then; `written` is told after items were deleted."""

    def __init__(self, moto: Moto, written: Callable[[], None]) -> None:
        self._moto, self._written = moto, written
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            if self.delete(time.time()):
                self._written()

    def delete(self, now: float) -> int:
        """Delete what has expired by `now`, as a client would, so that stream and journal know; how many."""
        with self._moto.locks["dynamodb"]:
            found = list(_expired(now))
        for table, attribute, key in found:
            request = {
                "TableName": table,
                "Key": key,
                "ConditionExpression": "#t < :now",  # its time may have been put off meanwhile
                "ExpressionAttributeNames": {"#t": attribute},
                "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
            }
            call_dynamodb(self._moto.locked("dynamodb"), "DeleteItem", json.dumps(request).encode())
        return len(found)


def _expired(now: float) -> Iterator[tuple[str, str, Json]]:
    """Table, attribute and key of each item that has expired; called with the tables' lock held."""
    from moto.dynamodb.models import dynamodb_backends

    for name, table in dynamodb_backends[ACCOUNT][REGION].tables.items():
        if table.ttl["TimeToLiveStatus"] != "ENABLED":
            continue
        attribute = table.ttl["AttributeName"]
        keys = [key for key in (table.hash_key_attr, table.range_key_attr) if key]
        # `all_items` would sort them first.
        groups = table.items.values() if table.range_key_attr else [table.items]
        for item in (item for group in groups for item in group.values()):
            time_to_live = item.attrs.get(attribute)
            if time_to_live and time_to_live.type == "N" and now - OLDEST < float(time_to_live.value) < int(now):
                yield name, attribute, {key: item.attrs[key].to_json() for key in keys}
