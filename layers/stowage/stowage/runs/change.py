"""What people do to a run: cancel it, retry it, delete it."""

from datetime import datetime

from stowage.aws import objects, table
from stowage.aws.table import ABSENT, ConditionFailedError, Delete, Update, Write
from stowage.basics.errors import ConflictError, GoneError, UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.actions import Found, must_be_idle, must_be_retryable, must_be_unfinished, must_not_be_pinned
from stowage.runs.audit_notes import audit_note
from stowage.runs.counters import as_counted, counting
from stowage.runs.keeping import record_until
from stowage.runs.manifest import bucket_of, erase
from stowage.runs.record import SWEEP_LIST, Run, StageMoment, cancelled, queue_place, waiting_list
from stowage.runs.settle import SWEEP_AFTER
from stowage.runs.store import progress_key, read_run
from stowage.runs.summary import summing_up
from stowage.runs.using import IN_NO_USE, let_go, take_into_use

_TRIES = 5
_USED = 3
"""The place of the run that is used among the writes of a retry."""


def cancel_run(run: Run, actor: str, now: datetime) -> Run:
    """Stop a run. One that waits is cancelled at once; one that runs is asked to stop, and is `cancelled` when it has.

    ConflictError `already_finished` when there is nothing to stop.
    """
    for _ in range(_TRIES):
        must_be_unfinished(run, now, Found())
        if run.cancel_requested:
            return run
        try:
            table.transact(_cancelling(run, actor, now))
        except ConditionFailedError:
            run = read_run(run.tenant, run.id)
            continue
        return read_run(run.tenant, run.id)
    raise UnavailableError("The run changes too quickly; try again.", retry_after=1)


def _cancelling(run: Run, actor: str, now: datetime) -> list[Write]:
    pk, sk = progress_key(run.id)
    waits = run.due_list == waiting_list(run.pool)
    expected = {**as_counted(run), "due_list": run.due_list}
    note = audit_note(run, "cancel_requested", actor, now)
    if waits:
        failure = cancelled(run)
        ended = {
            "status": "cancelled",
            "completed_at": rfc3339(now),
            "error": failure.model_dump(),
            "cancel_requested": True,
            "counted": True,
            "due_list": SWEEP_LIST,
            "due_at": rfc3339(now + SWEEP_AFTER),
        }
        after = run.model_copy(update={"status": "cancelled", "completed_at": ended["completed_at"]})
        return [
            Update(run.pk, run.sk, ended, when=expected),
            Update(
                pk, sk, {"status": "cancelled", "stage": "cancelled", "message": failure.message}, add={"sequence": 1}
            ),
            note,
            audit_note(run, "cancelled", "stowage", now, {"attempts": run.tries, "error": failure.code}),
            *let_go(run),
            *counting(run, after),
        ]
    return [
        Update(run.pk, run.sk, {"cancel_requested": True}, when=expected),
        Update(pk, sk, {"cancel_requested": True, "message": "Cancelling."}, add={"sequence": 1}),
        note,
    ]


def retry_run(run: Run, actor: str, now: datetime) -> Run:
    """Start a failed or cancelled run anew, as a new attempt. ConflictError and GoneError as `must_be_retryable`."""
    must_be_retryable(run, now, Found())
    pk, sk = progress_key(run.id)
    assert run.completed_at is not None, "it has ended"
    earlier = [
        *run.earlier,
        StageMoment(stage=run.status, at=run.completed_at),
        StageMoment(stage="retried", at=rfc3339(now)),
    ]
    anew = {
        "status": "pending",
        "tries": 0,
        "may_share": False,
        "counted": True,
        "earlier": [moment.model_dump() for moment in earlier],
        "cancel_requested": False,
        "due_list": waiting_list(run.pool),
        "due_at": queue_place(run),
        "ttl": record_until(run, now),
    }
    try:
        table.transact(
            [
                Update(
                    run.pk,
                    run.sk,
                    anew,
                    remove=(
                        "started_at",
                        "completed_at",
                        "error",
                        "not_before",
                        "upload",
                        "outcome",
                        "verification",
                        "artifact",
                        "expires_at",
                        "expired_at",
                    ),
                    when=as_counted(run),
                ),
                Update(
                    pk,
                    sk,
                    {
                        "status": "pending",
                        "stage": "waiting",
                        "message": "Waiting for a free slot.",
                        "ttl": anew["ttl"],
                    },
                    remove=("cancel_requested", "expires_at", "expired_at"),
                    add={"sequence": 1},
                ),
                audit_note(run, "retried", actor, now),
                *take_into_use(run),
                *counting(run, run.model_copy(update={"status": "pending", "outcome": None, "expired_at": None})),
            ]
        )
    except ConditionFailedError as error:
        if _USED in error.failed:
            raise GoneError("What the run would use is no longer there.", "expired") from None
        raise ConflictError("The run has just changed.", "not_retryable") from None
    return read_run(run.tenant, run.id)


def forget_run(run: Run, actor: str, now: datetime) -> None:
    """Delete an ended run: its files, then its record. What was broken off goes on when it is asked for again.

    ConflictError `still_running`, `in_use` where another run uses its files, `pinned`, `locked` where the bucket keeps
    them;
    NotFoundError where somebody else has just deleted it.
    """
    for _ in range(_TRIES):
        must_be_idle(run)
        must_not_be_pinned(run)
        try:
            _forget(run, actor, now)
        except ConditionFailedError:
            run = read_run(run.tenant, run.id)
        else:
            return
    raise UnavailableError("The run changes too quickly; try again.", retry_after=1)


def _forget(run: Run, actor: str, now: datetime) -> None:
    bucket, files = bucket_of(run), run.outcome.files.values() if run.outcome else ()
    if bucket and any(objects.is_locked(bucket, file.key, now) for file in files):
        raise ConflictError("The bucket's object lock keeps the file; delete it once that has ended.", "locked")
    # Marked first: nobody can begin to use the files then.
    mark = {"expired_at": run.expired_at or rfc3339(now), "counted": True}
    marked = run.model_copy(update=mark)
    table.transact(
        [
            Update(run.pk, run.sk, mark, when={**as_counted(run), "users": IN_NO_USE, "pinned_at": ABSENT}),
            *counting(run, marked),
            *summing_up(run, marked),
        ]
    )
    for attempt in range(1, run.attempt + 1):
        erase(run, attempt)
    table.transact(
        [
            Delete(run.pk, run.sk, when=as_counted(marked)),
            Delete(*progress_key(run.id)),
            audit_note(run, "deleted", actor, now),
            *counting(marked, None),
        ]
    )
