"""Which of a tenant's destinations and channels fail, since when, and why (`GET /api/v1/attention`)."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Item
from stowage.basics.ids import rfc3339

FAILING = "ATTENTION#destinations"
"""The partition of the table that holds an item for each that fails."""
_PAGE = 500


def note_failing(tenant: str, name: str, code: str, sentence: str, now: datetime) -> None:
    """Keep that a destination has failed; since its first failure in a row."""
    key = _key(tenant, name)
    with suppress(ConditionFailedError):
        table.update(*key, {"tenant": tenant, "since": rfc3339(now)}, when={"since": ABSENT})
    table.update(*key, {"name": name, "code": code, "sentence": sentence})


def note_working(tenant: str, name: str) -> None:
    """Keep that a destination works."""
    key = _key(tenant, name)
    if table.get(*key):
        table.delete(*key)


def read_failing(sees: Callable[[str], bool]) -> Iterator[Item]:
    """`{tenant, name, since, code, sentence}` of each that fails, for the tenants that the caller sees."""
    return (item for item in table.query(FAILING, page_size=_PAGE) if sees(item["tenant"]))


def _key(tenant: str, name: str) -> tuple[str, str]:
    return FAILING, f"{tenant}#{name}"
