"""The end of an attempt, however it came: believe the manifest, then complete, try again, or end the run.

The state machine's last steps, the rule for stopped executions and the clock all come here; whoever is first settles,
the others change nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stowage.aws import objects, table
from stowage.aws.queues import wake, wake_later
from stowage.aws.table import ConditionFailedError, Item, Put, Update, Write
from stowage.basics.errors import UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.audit_notes import audit_note
from stowage.runs.counters import as_counted, counting
from stowage.runs.dispatch import free_place, read_leases, release
from stowage.runs.executions import Member, members_of
from stowage.runs.keeping import expires_at, record_until
from stowage.runs.kinds import kind_of
from stowage.runs.manifest import bucket_of, take_away, verified_outcome
from stowage.runs.record import (
    SWEEP_LIST,
    UNFINISHED,
    Failure,
    Outcome,
    PastAttempt,
    Run,
    StageMoment,
    cancelled,
    queue_place,
    waiting_list,
)
from stowage.runs.store import find_run, progress_key, stages_of
from stowage.runs.summary import summing_up
from stowage.runs.using import let_go
from stowage.settings import settings

SWEEP_AFTER = timedelta(minutes=15)
"""When the objects of attempts without an outcome are deleted a second time: a process of a lost attempt may have
written after the first time.
"""

_TRIES = 20


@dataclass(frozen=True)
class Ending:
    """What is known of how an execution ended: the state machine's error name and cause."""

    error: str = ""
    cause: str = ""


def settle(
    tenant: str, run_id: str, attempt: int, now: datetime, ending: Ending | None = None, *, execution: str | None = None
) -> Run | None:
    """End an attempt. `execution` is the execution that reports the end, None if the clock does.

    Returns the run afterwards, or None if this execution has no say over the attempt.
    """
    for _ in range(_TRIES):
        run = find_run(tenant, run_id)
        if run is None or run.attempt != attempt or run.status not in UNFINISHED:
            return None
        if run.due_list == waiting_list(run.pool) or execution not in (None, run.execution):
            return None
        dropped = run.cancel_requested and not kind_of(run.kind).ends_itself
        outcome = None if dropped else verified_outcome(run)
        failure = None if outcome and not outcome.failure else _failure(run, outcome, ending or Ending())
        settled = _settled(run, outcome, failure, stages_of(run), now)
        try:
            table.transact(_writes(run, settled, failure, now))
        except ConditionFailedError:
            continue
        if settled.status == "pending":
            wake_later(run.pool, retry_wait(run.tries))
        if settled.outcome is None:
            clean_up(run, run.attempt)
        return settled
    raise UnavailableError("The run changes too quickly; try again.", retry_after=1)


def retry_wait(tries: int) -> int:
    """Seconds before the next attempt: the setting, then three times as long each time."""
    return int(settings().retry_seconds * 3 ** (tries - 1))


def clean_up(run: Run, attempt: int) -> None:
    """Delete everything that an attempt has stored: its unfinished upload and its objects."""
    bucket = bucket_of(run)
    if bucket:
        objects.abort_uploads(bucket, run.prefix(attempt))
    take_away(run, attempt)


def _settled(
    run: Run, outcome: Outcome | None, failure: Failure | None, stages: list[StageMoment], now: datetime
) -> Run:
    ended = max(rfc3339(now), run.attempt_started_at or "")  # Plan may have begun after this call had
    changes: dict[str, object] = {"error": failure}
    if outcome:
        changes |= {"outcome": outcome, "expires_at": expires_at(run, now)}
        if kind_of(run.kind).protects:
            changes["verification"] = outcome.facts.get("verification")
    if outcome and not failure:
        changes |= {"status": "completed", "completed_at": ended, "error": None}
    elif run.cancel_requested:
        changes |= {"status": "cancelled", "completed_at": ended}
    elif outcome is None and failure and failure.retryable and run.tries < settings().max_attempts:
        changes |= {"status": "pending", "not_before": rfc3339(now + timedelta(seconds=retry_wait(run.tries)))}
    else:
        changes |= {"status": "failed", "completed_at": ended}
    settled = run.model_copy(update=changes)
    entry = PastAttempt(
        n=run.attempt,
        lane=run.lane,
        started_at=run.attempt_started_at,
        ended_at=ended,
        sharers=run.sharers,
        outcome="failed" if settled.status in UNFINISHED else settled.status,
        error=failure.message if failure else None,
        stages=stages,
    )
    return settled.model_copy(update={"attempts": [*run.attempts, entry]})


def _failure(run: Run, outcome: Outcome | None, ending: Ending) -> Failure:
    """Why the attempt failed: the error that the lane wrote on the run, else the manifest's, else the one that AWS
    gives for the execution.
    """
    if run.cancel_requested:
        return cancelled(run)
    if run.error and run.error.attempt == run.attempt:
        return run.error
    if outcome and outcome.failure:
        return outcome.failure
    for sign, code, message in (
        ("States.Timeout", "timed_out", "The run took longer than it may."),
        ("TIMED_OUT", "timed_out", "The run took longer than it may."),
        ("OutOfMemory", "out_of_memory", "The worker ran out of memory."),
        ('"ExitCode":137', "out_of_memory", "The worker was killed, probably for want of memory."),
        ("CannotPullContainer", "worker_not_started", "The worker's image could not be pulled."),
        ("ResourceInitializationError", "worker_not_started", "The worker could not reach what it needs to start."),
        ("RESOURCE:", "worker_not_started", "There was no capacity to start the worker."),
        ("ECS.", "worker_not_started", "The worker could not be started."),
    ):
        if sign in ending.error or sign in ending.cause.replace(" ", ""):
            return Failure(code=code, message=message, retryable=True, attempt=run.attempt)
    return Failure(code="run_interrupted", message="The run broke off.", retryable=True, attempt=run.attempt)


def _writes(run: Run, settled: Run, failure: Failure | None, now: datetime) -> list[Write]:
    record = settled.model_dump(
        include={"status", "attempts", "error", "completed_at", "outcome", "expires_at", "not_before", "verification"},
        exclude_none=True,
    )
    pk, sk = progress_key(run.id)
    progress: Item = {"status": settled.status}
    writes: list[Write] = []
    removed = {"upload"} if settled.error else {"upload", "error"}
    record["counted"] = True
    writes += counting(run, settled)
    if settled.status == "pending":
        record |= {"due_list": waiting_list(run.pool), "due_at": queue_place(run)}
        progress |= {"stage": "waiting", "message": f"Another attempt follows: {failure.message if failure else ''}"}
    else:
        swept = rfc3339(now + SWEEP_AFTER)
        if settled.is_planned and run.attempt == 1:
            removed |= {"due_list", "due_at"}
        else:
            record["due_list"] = SWEEP_LIST
            record["due_at"] = settled.expires_at if settled.expires_at and run.attempt == 1 else swept
        progress["stage"] = settled.status
        progress["message"] = failure.message if failure else "Done."
        after = {"attempts": run.tries, "error": failure.code if failure else None}
        if settled.outcome:
            if settled.status == "completed":
                progress["percent"] = 100
            progress |= {
                "rows": settled.outcome.rows or 0,
                "bytes": settled.outcome.size_bytes,
                "expires_at": settled.expires_at,
            }
            if settled.is_planned:  # its record lives as long as its file
                removed.add("ttl")
            else:
                record["ttl"] = progress["ttl"] = record_until(settled, now)
            after |= {"size_bytes": settled.outcome.size_bytes} if settled.outcome.files else settled.outcome.facts
            if settled.file:
                after["sha256"] = settled.file.sha256
        writes += [audit_note(run, settled.status, "stowage", now, after), *let_go(settled), *summing_up(run, settled)]
        if settled.status == "completed" and (due_list := kind_of(run.kind).leads_to):
            place = {"pk": run.pk, "sk": due_list, "due_list": due_list, "due_at": rfc3339(now)}
            writes.append(Put(place | {"run_id": run.id}))
    expected = {**as_counted(run), "due_list": run.due_list, "cancel_requested": run.cancel_requested}
    writes.append(Update(run.pk, run.sk, record, remove=tuple(sorted(removed)), when=expected))
    writes.append(Update(pk, sk, progress, remove=("stages", *removed & {"ttl"}), add={"sequence": 1}))
    if run.is_shared:
        return writes  # the place is freed once all have ended (`settle_execution`)
    freed = release(read_leases(run.pool), run.id)
    return [*writes, freed] if freed else writes


def settle_execution(execution: str, given: Member, now: datetime, ending: Ending | None = None) -> dict[str, str]:
    """`settle` each attempt for which an execution speaks; the states of those runs by id.

    `given` is the attempt that the execution's input names: executions started before 0.2 are known by it alone. An
    execution that is not a run's own, started by hand, has no say over it. A run that cannot be settled holds up no
    other.
    """
    settled: dict[str, str] = {}
    failures: list[Exception] = []
    pool = None
    members = members_of(execution) or [given]
    for member in members:
        try:
            run = settle(member.tenant, member.run_id, member.attempt, now, ending, execution=execution)
        except Exception as error:
            failures.append(error)
        else:
            settled |= {run.id: run.status} if run else {}
            pool = run.pool if run else pool
    if pool and len(members) > 1:
        free_place(pool, execution)
        wake(pool, [])
    if failures:
        raise failures[0] if len(failures) == 1 else ExceptionGroup("Not every run could be settled.", failures)
    return settled
