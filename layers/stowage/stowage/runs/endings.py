"""Marks of the runs that failed or were cancelled: such runs are few, and a list of them reads their marks only.

A mark is an item beside the run's record; whoever changes the counts of runs writes it in the same transaction. The
index by day shows the marks of all tenants, by status and month.
"""

from collections.abc import Iterator
from datetime import date, timedelta

from stowage.aws import table
from stowage.aws.table import Delete, Item, Put, Write
from stowage.basics.ids import parse_rfc3339
from stowage.runs.record import Run, Status

PAGE = 100
"""Marks read at once."""
_MARKS_LIVE = timedelta(days=3 * 366)
"""As the counts; a mark whose record has gone is passed over."""
MARKED: tuple[Status, ...] = ("failed", "cancelled")


def marking(before: Run | None, after: Run | None) -> list[Write]:
    """The writes that keep the marks in step with one change of a run; None stands for no run."""
    was, becomes = (run.status if run and run.status in MARKED else None for run in (before, after))
    if was == becomes:
        return []
    writes: list[Write] = []
    if before and was:
        writes.append(Delete(before.pk, f"{_prefix(was)}{before.id}"))
    if after and becomes:
        writes.append(Put(_mark(after)))
    return writes


def _mark(run: Run) -> Item:
    return {
        "pk": run.pk,
        "sk": f"{_prefix(run.status)}{run.id}",
        "day": month_of(run.status, parse_rfc3339(run.created_at).date()),
        "id": run.id,
        "tenant": run.tenant,
        "kind": run.kind,
        "status": run.status,
        "trigger": run.trigger,
        "created_at": run.created_at,
        "ttl": int((parse_rfc3339(run.created_at) + _MARKS_LIVE).timestamp()),
    }


def marks_of(tenant: str | None, status: str, since: date, today: date, before: str | None) -> Iterator[Item]:
    """The marks of a tenant's runs (None: of all tenants') of one status, newest first, before a run's id."""
    if tenant is not None:
        prefix = _prefix(status)
        end = f"{prefix}{before}" if before else None
        yield from table.query(f"T#{tenant}", prefix=prefix, newest_first=True, before=end, page_size=PAGE)
    else:
        yield from by_month(status, since, today, before)


def by_month(name: str, since: date, today: date, before: str | None) -> Iterator[Item]:
    """The items of all tenants that the index by day has under a name and a month, newest first."""
    first = today.replace(day=1)
    while first >= since.replace(day=1):
        month = month_of(name, first)
        yield from table.query(month, index="by_day", newest_first=True, before=before, page_size=PAGE)
        first = (first - timedelta(days=1)).replace(day=1)


def _prefix(status: str) -> str:
    return f"ENDED#{status}#"


def month_of(name: str, day: date) -> str:
    """The partition of the index by day that holds what `by_month` finds."""
    return f"{name}#{day:%Y-%m}"
