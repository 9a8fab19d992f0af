"""Pages of jobs, filtered, and how many there are in all (docs/api.md, Jobs)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel

from stowage.access.identity import Identity
from stowage.basics.errors import BadRequestError
from stowage.basics.ids import is_run_id
from stowage.jobs import Job, job, missed_job
from stowage.runs.actions import Found
from stowage.runs.counters import first_day, read_counts
from stowage.runs.keeping import oldest_record
from stowage.runs.listing import MissedSlot, Wanted, look_through
from stowage.runs.record import FINAL, UNFINISHED, Run

MOST_COUNTED_TENANTS = 20
"""A list over more tenants than this has no total, because the counts of each tenant would have to be read."""
MOST_LOOKED_AT, MOST_SEARCHED = 10_000, 1_000
"""So many records are looked at for a page, and so many where a text is looked for or missed times are shown."""


class JobPage(BaseModel):
    """A page of jobs; `next_cursor` is null on the last, `total` where no count fits the filters.

    A page may have fewer jobs than `limit`, or none, and a `next_cursor` all the same: so many records were looked at.
    """

    data: list[Job]
    next_cursor: str | None
    total: int | None


def wanted_runs(
    now: datetime,
    *,
    kinds: Iterable[str] = (),
    statuses: Iterable[str] = (),
    trigger: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    text: str | None = None,
    with_missed: bool = False,
) -> Wanted:
    """The runs that a list shows, none of them older than records are kept."""
    oldest = oldest_record(now)
    return Wanted(
        kinds=frozenset(kinds),
        statuses=frozenset(statuses),
        trigger=trigger,
        text=text,
        since=oldest if since is None else max(oldest, since),
        until=until,
        with_missed=with_missed,
    )


def list_jobs(
    tenants: Sequence[str] | None,
    identity: Identity,
    wanted: Wanted,
    now: datetime,
    *,
    cursor: str | None,
    limit: int,
    base_url: str | None = None,
) -> JobPage:
    """A page of these tenants' runs (None: every tenant's), newest first; BadRequestError for a cursor that is none."""
    if cursor is not None and not is_run_id(cursor):
        raise BadRequestError(
            "That cursor is none of ours; take next_cursor of the page before.",
            "invalid_cursor",
            details=[{"field": "cursor", "message": "not a cursor"}],
        )
    rows, next_cursor = _take(tenants, wanted, now, cursor, limit)
    found = Found()
    data = [
        missed_job(row) if isinstance(row, MissedSlot) else job(row, identity, now, base_url, found=found)
        for row in rows
    ]
    is_all = cursor is None and next_cursor is None
    return JobPage(data=data, next_cursor=next_cursor, total=len(data) if is_all else count_jobs(tenants, wanted, now))


def _take(
    tenants: Sequence[str] | None, wanted: Wanted, now: datetime, cursor: str | None, limit: int
) -> tuple[list[Run | MissedSlot], str | None]:
    """The first `limit` wanted rows behind the cursor, and the next page's cursor."""
    most = MOST_SEARCHED if wanted.text or wanted.with_missed else MOST_LOOKED_AT
    rows: list[Run | MissedSlot] = []
    for place, (run_id, row) in enumerate(look_through(tenants, wanted, now, cursor, limit + 2), 1):
        if row and len(rows) == limit:
            return rows, rows[-1].id
        if row:
            rows.append(row)
        if place == most:
            return rows, run_id
    return rows, None


def count_jobs(tenants: Sequence[str] | None, wanted: Wanted, now: datetime) -> int | None:
    """How many jobs a list has in all.

    None if the counts do not say: with a text, a trigger, a time or missed times, for more than
    `MOST_COUNTED_TENANTS` tenants, and for either the pending or the running jobs of all tenants.
    """
    many = MOST_COUNTED_TENANTS if tenants is None else len(tenants)
    uncounted = wanted.text or wanted.trigger or wanted.until or wanted.with_missed
    if uncounted or wanted.since > oldest_record(now) or many > MOST_COUNTED_TENANTS:
        return None
    statuses = set(wanted.statuses or (*FINAL, *UNFINISHED))
    if len(statuses & set(UNFINISHED)) == 1 and tenants is None:
        return None
    if statuses >= set(UNFINISHED):
        statuses = statuses - set(UNFINISHED) | {"unfinished"}
    if "completed" in statuses:
        statuses.add("expired")
    return sum(
        each.count(status)
        for each in read_counts(tenants, oldest_record(now).date())
        if (not wanted.kinds or each.kind in wanted.kinds) and each.day >= first_day(each.kind, now)
        for status in statuses
    )
