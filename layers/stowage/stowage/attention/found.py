"""What the last comparison of the declarations with tenants' tables found, as it is kept in the table."""

from typing import Any

from stowage.aws import table

RESULT = ("CHECK#declarations", "LAST")
"""The item that holds it."""


def read_findings() -> list[dict[str, Any]]:
    """What was found last: `severity`, `entity`, `sentence`, `count` (tenants; None: all), `tenants` (ids), `since`."""
    item = table.get(*RESULT)
    return list(item["findings"]) if item else []


def fits() -> bool:
    """Whether the last comparison found no error; true before the first."""
    item = table.get(*RESULT)
    return item is None or item["errors"] == 0
