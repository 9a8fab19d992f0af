"""One change of many jobs: retry them or cancel them, each as its own route would (docs/api.md, Jobs)."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stowage.access.identity import Identity, for_role
from stowage.basics.errors import ConflictError, NotFoundError, StowageError
from stowage.basics.moments import Bound
from stowage.jobs.filters import JobStatuses, JobTypes, names_of
from stowage.jobs.pages import count_jobs, wanted_runs
from stowage.runs.actions import Found, is_possible, must_be_able
from stowage.runs.change import cancel_run, retry_run
from stowage.runs.kinds import kind_of
from stowage.runs.listing import look_through
from stowage.runs.record import UNFINISHED, Run, Status
from stowage.runs.store import find_run, tenant_of

MOST_AT_ONCE = 500
SECONDS = 20.0
"""A call begins no further change after so long: the gateway waits for 30 seconds."""


def _each_once(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        raise ValueError("an id is there twice")
    return ids


class BulkFilter(BaseModel):
    """The jobs of a list; of these, a call changes those that its action fits: failed and cancelled, or unfinished."""

    model_config = ConfigDict(extra="forbid")

    project_id: Annotated[str, Field(strict=True)] | None = None
    type: JobTypes | None = None
    status: JobStatuses | None = None
    since: Bound | None = None


class BulkRequest(BaseModel):
    """The body of `POST /api/jobs/bulk`: either `ids` or a `filter`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Literal["retry", "cancel"]
    ids: Annotated[list[str], Field(min_length=1, max_length=MOST_AT_ONCE), AfterValidator(_each_once)] | None = None
    filter: BulkFilter | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "BulkRequest":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("name either ids or a filter")
        return self


class BulkItem(BaseModel):
    """What became of one job; `error` is a sentence, `code` for programs."""

    id: str
    status: Literal["success", "error"]
    error: str | None = None
    code: str | None = None


class BulkJobs(BaseModel):
    """What became of the jobs of a call, in the order of the request or newest first.

    `remaining` counts those that the call did not come to: send it again. With a filter it is null where no count
    tells how many more there are.
    """

    total: int
    succeeded: int
    failed: int
    results: list[BulkItem]
    remaining: int | None


@dataclass(frozen=True)
class _Bulk:
    """How an action changes a run, and the statuses that it fits."""

    change: Callable[[Run, str, datetime], Run]
    fits: tuple[Status, ...]


_BULK = {"cancel": _Bulk(cancel_run, UNFINISHED), "retry": _Bulk(retry_run, ("failed", "cancelled"))}


@for_role("operator")
def change_jobs(
    request: BulkRequest,
    identity: Identity,
    tenants: Sequence[str] | None,
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> BulkJobs:
    """Change at most 500 jobs. `tenants` are those of the filter, None for every one; ids are looked up by themselves.

    A job that cannot be changed, or that the caller may not see (`not_found`), stops no other.
    """
    bulk, deadline = _BULK[request.action], clock() + SECONDS
    chosen, total = _chosen(request, bulk, identity, tenants, now)
    results: list[BulkItem] = []
    for run_id, run in chosen:
        if clock() >= deadline:
            break
        results.append(_changed(request.action, bulk, run_id, run, identity, now))
    failed = sum(item.status == "error" for item in results)
    return BulkJobs(
        total=len(results),
        succeeded=len(results) - failed,
        failed=failed,
        results=results,
        remaining=None if total is None else total - len(results),
    )


def _chosen(
    request: BulkRequest, bulk: _Bulk, identity: Identity, tenants: Sequence[str] | None, now: datetime
) -> tuple[Iterable[tuple[str, Run | None]], int | None]:
    """The runs of a call by their ids, None for one that the caller may not see, and how many there are in all."""
    if request.filter is None:
        ids = request.ids or []
        return ((run_id, _visible(run_id, identity)) for run_id in ids), len(ids)
    asked = names_of(request.filter.status)
    statuses = [status for status in bulk.fits if not asked or status in asked]
    if not statuses:
        return (), 0
    wanted = wanted_runs(now, kinds=names_of(request.filter.type), statuses=statuses, since=request.filter.since)
    rows = look_through(tenants, wanted, now, None, MOST_AT_ONCE)
    # Everything is found before anything is changed: a run that is retried would be found no more.
    found = Found()
    changeable = (
        row for _, row in rows if isinstance(row, Run) and is_possible(request.action, row, identity, now, found)
    )
    runs = list(islice(changeable, MOST_AT_ONCE + 1))
    total = len(runs) if len(runs) <= MOST_AT_ONCE else count_jobs(tenants, wanted, now)
    return [(run.id, run) for run in runs[:MOST_AT_ONCE]], total


def _visible(run_id: str, identity: Identity) -> Run | None:
    tenant = tenant_of(run_id)
    return find_run(tenant, run_id) if tenant is not None and identity.sees(tenant) else None


def _changed(action: str, bulk: _Bulk, run_id: str, run: Run | None, identity: Identity, now: datetime) -> BulkItem:
    try:
        if run is None:
            raise NotFoundError("There is no such run.")
        if action == "retry" and kind_of(run.kind).asks_first:
            raise ConflictError("Retry this one by itself, when you have looked at what it does.", "confirm_required")
        must_be_able(action, run, identity, now)
        bulk.change(run, identity.sub, now)
    except StowageError as error:
        return BulkItem(id=run_id, status="error", error=error.message, code=error.code)
    return BulkItem(id=run_id, status="success")
