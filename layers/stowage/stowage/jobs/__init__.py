"""Runs of every kind, as jobs (docs/api.md)."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate, chain
from typing import Any

from pydantic import BaseModel

from stowage.access.identity import Identity
from stowage.access.links import Link, link_url
from stowage.aws.table import Item
from stowage.basics.ids import rfc3339
from stowage.runs.actions import Found, possible_actions
from stowage.runs.counters import Counts, read_counts
from stowage.runs.kinds import result_of
from stowage.runs.listing import MISSED, MissedSlot
from stowage.runs.manifest import read_manifest
from stowage.runs.record import ACTIVE_LIST, FINAL, UNFINISHED, Lane, Run, StageMoment
from stowage.runs.store import stages_of, with_progress
from stowage.settings import settings

# On-demand prices in us-east-1, in USD: https://aws.amazon.com/fargate/pricing/, https://aws.amazon.com/lambda/pricing/
FARGATE_CPU_HOUR, FARGATE_GB_HOUR = 0.04048, 0.004445
LAMBDA_SECOND = 1.769 * 0.0000166667
"""Of `RunInlineFunction`, by its memory in the template."""


class JobProgress(BaseModel):
    """How far a job is."""

    stage: str
    percent: float
    bytes: int
    rows: int
    message: str


class Job(BaseModel):
    """One run, whatever its kind."""

    id: str
    type: str
    project_id: str
    status: str
    progress: JobProgress
    attempts: int
    max_attempts: int
    last_error: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    result: dict[str, Any] | None
    trigger: str
    error_code: str | None
    request: dict[str, Any] | None
    """The request as it was sent, without values of over 4,000 characters; null for who may not send such a one, and
    where a schedule made the run.
    """
    verification: dict[str, Any] | None
    """The last verification of a backup: `{level, at, ok}`."""
    actions: list[str]
    """What this caller may do with the run now."""


class AttemptEntry(BaseModel):
    """One attempt in a timeline."""

    n: int
    started_at: str | None
    ended_at: str | None
    error: str | None


class StageEntry(BaseModel):
    """One moment in a timeline, and the attempt that it belongs to."""

    stage: str
    at: str
    attempt: int | None = None


class Timeline(BaseModel):
    """What a run did and when, the manifest of what it left, and roughly what it cost.

    `stages` are in the order of time. The run's own are `created`, `retried`, `expired` and how it ended; an attempt's
    are `planning`, `starting`, `checking`, `copying`, `storing`, `recording` and how it ended. The last of `attempts`
    has no end while it goes on. Attempts are numbered from 1 without gaps; one that was put back into the queue does
    not count.
    """

    stages: list[StageEntry]
    attempts: list[AttemptEntry]
    manifest: dict[str, Any] | None
    cost_usd: float


class Day(BaseModel):
    """A day's runs by outcome, the bytes they stored and how long the median one took."""

    day: str
    completed: int
    failed: int
    cancelled: int
    unfinished: int
    bytes: int
    median_ms: int | None


class JobStats(BaseModel):
    """Runs per day; `success_rate` is of those that completed or failed, null when there were none."""

    days: list[Day]
    total: int
    completed: int
    failed: int
    cancelled: int
    bytes: int
    median_ms: int | None
    success_rate: float | None


def job(
    run: Run,
    identity: Identity,
    now: datetime,
    base_url: str | None = None,
    progress: Item | None = None,
    found: Found | None = None,
) -> Job:
    """A run as a job, as this caller may see it. `progress` is read if it is not given and the run has not completed.

    With `base_url` the result of an import has links to its files, for who may fetch them.
    """
    run, progress = with_progress(run, progress)
    may_fetch = identity.may(run.file_role)
    return Job(
        id=run.id,
        type=run.kind,
        project_id=run.tenant,
        status=run.status,
        progress=_progress(run, progress),
        attempts=run.tries,
        max_attempts=settings().max_attempts,
        last_error=run.error.message if run.error else None,
        created_at=run.created_at,
        started_at=run.started_at,
        completed_at=run.completed_at,
        result=_result(run, now, base_url if may_fetch else None),
        trigger=run.trigger,
        error_code=run.error.code if run.error else None,
        request=json.loads(run.request) if run.request and may_fetch else None,
        verification=run.verification,
        actions=possible_actions(run, identity, now, found or Found()),
    )


def missed_job(slot: MissedSlot) -> Job:
    """A missed time of a schedule among jobs: there is no such run, and nothing can be done with it."""
    message = "No backup was made at this time of the schedule."
    return Job(
        id=slot.id,
        type=slot.kind,
        project_id=slot.tenant,
        status=MISSED,
        progress=JobProgress(stage=MISSED, percent=0, bytes=0, rows=0, message=message),
        attempts=0,
        max_attempts=settings().max_attempts,
        last_error=message,
        created_at=slot.at,
        started_at=None,
        completed_at=None,
        result=None,
        trigger="schedule",
        error_code=MISSED,
        request=None,
        verification=None,
        actions=[],
    )


def _progress(run: Run, item: Item | None) -> JobProgress:
    if item is None:
        left = run.outcome
        return JobProgress(
            stage=run.status,
            percent=100 if run.status == "completed" else 0,
            bytes=left.size_bytes if left else 0,
            rows=(left.rows or 0) if left else 0,
            message=run.error.message if run.error else f"{run.status.capitalize()}.",
        )
    return JobProgress(
        stage=item["stage"], percent=item["percent"], bytes=item["bytes"], rows=item["rows"], message=item["message"]
    )


def _result(run: Run, now: datetime, base_url: str | None) -> dict[str, Any] | None:
    if run.outcome is None:
        return None

    def link(file: str) -> str | None:
        """A link to one of the files, good as long as they live."""
        if base_url is None or run.expires_at is None or run.is_expired(now):
            return None
        return link_url(Link(run.tenant, run.id, run.expires_at, file), base_url)

    return result_of(run.kind)(run, now, link)


def read_timeline(run: Run, now: datetime) -> Timeline:
    """A run's timeline."""
    run, progress = with_progress(run)
    attempts = [
        AttemptEntry(n=n, started_at=entry.started_at, ended_at=entry.ended_at, error=entry.error)
        for n, entry in enumerate(run.attempts, 1)
    ]
    stages = _stages(run, now)
    cost = sum(_cost(entry.lane, entry.started_at, entry.ended_at) / entry.sharers for entry in run.attempts)
    if run.status in UNFINISHED and run.due_list == ACTIVE_LIST:
        n = len(attempts) + 1
        attempts.append(AttemptEntry(n=n, started_at=run.attempt_started_at, ended_at=None, error=None))
        stages += _entries(stages_of(run, progress), n)
        cost += _cost(run.lane, run.attempt_started_at, rfc3339(now)) / run.sharers
    manifest = read_manifest(run) if run.outcome and not run.is_expired(now) else None
    stages.sort(key=lambda entry: entry.at)
    return Timeline(stages=stages, attempts=attempts, manifest=manifest, cost_usd=round(cost, 6))


def _stages(run: Run, now: datetime) -> list[StageEntry]:
    """The moments of a run and of its attempts that have ended."""
    stages = [StageEntry(stage="created", at=run.created_at)]
    for n, attempt in enumerate(run.attempts, 1):
        stages += _entries(attempt.stages, n)
        if attempt.outcome:
            stages.append(StageEntry(stage=attempt.outcome, at=attempt.ended_at, attempt=n))
    endings = list(run.earlier)
    if run.completed_at and run.status in FINAL:
        endings.append(StageMoment(stage=run.status, at=run.completed_at))
    # A run that was cancelled while it waited ended without an attempt.
    told = {(entry.stage, entry.at) for entry in stages}
    stages += _entries(moment for moment in endings if (moment.stage, moment.at) not in told)
    if run.expires_at and run.is_expired(now):
        stages.append(StageEntry(stage="expired", at=run.expired_at or run.expires_at))
    return stages


def _entries(moments: Iterable[StageMoment], attempt: int | None = None) -> list[StageEntry]:
    return [StageEntry(stage=moment.stage, at=moment.at, attempt=attempt) for moment in moments]


def _cost(lane: Lane | None, started_at: str | None, ended_at: str) -> float:
    if not started_at:
        return 0.0
    ran = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return ran.total_seconds() * (_worker_second() if lane == "worker" else LAMBDA_SECOND)


def _worker_second() -> float:
    cpus, gigabytes = settings().worker_cpu / 1024, settings().worker_memory / 1024
    return (cpus * FARGATE_CPU_HOUR + gigabytes * FARGATE_GB_HOUR) / 3600


def read_stats(tenants: Iterable[str] | None, now: datetime, days: int) -> JobStats:
    """The outcomes of these tenants' runs that were requested in the last `days` days, today included."""
    begin = now.date() - timedelta(days=days - 1)
    by_day: dict[str, list[Counts]] = defaultdict(list)
    for counts in read_counts(tenants, begin):
        by_day[counts.day].append(counts)
    whole = _day("", list(chain(*by_day.values())))
    judged = whole.completed + whole.failed
    return JobStats(
        days=[_day(day, by_day[day]) for day in ((begin + timedelta(n)).isoformat() for n in range(days))],
        total=whole.completed + whole.failed + whole.cancelled + whole.unfinished,
        completed=whole.completed,
        failed=whole.failed,
        cancelled=whole.cancelled,
        bytes=whole.bytes,
        median_ms=whole.median_ms,
        success_rate=round(whole.completed / judged, 4) if judged else None,
    )


def _day(day: str, counts: list[Counts]) -> Day:
    def total(status: str) -> int:
        return sum(each.count(status) for each in counts)

    return Day(
        day=day,
        completed=total("completed") + total("expired"),
        failed=total("failed"),
        cancelled=total("cancelled"),
        unfinished=total("unfinished"),
        bytes=total("bytes") + total("expired_bytes"),
        median_ms=_median(sum((each.durations for each in counts), Counter())),
    )


def _median(durations: Counter[int]) -> int | None:
    """The median of values, each given with how often it occurs; of an even number, halfway between the two in the
    middle.
    """
    many = durations.total()
    if many <= 0:
        return None
    places = accumulate(durations[value] for value in sorted(durations))
    reached = list(zip(places, sorted(durations), strict=True))
    low, high = (next(value for place, value in reached if place > middle) for middle in ((many - 1) // 2, many // 2))
    return round((low + high) / 2)
