"""Runs in the table: make, read, list."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Item, Put, Write
from stowage.basics.errors import NotFoundError
from stowage.basics.ids import is_run_id
from stowage.runs.audit_notes import audit_note
from stowage.runs.counters import counting
from stowage.runs.keeping import record_until
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run, StageMoment, new_item
from stowage.runs.using import take_into_use


def progress_key(run_id: str) -> tuple[str, str]:
    """The key of the one small item that a poll reads."""
    return f"RUN#{run_id}", "PROGRESS"


WAITING: Item = {
    "status": "pending", "stage": "waiting", "percent": 0, "bytes": 0, "rows": 0,
    "message": "Waiting for a free slot.",
}  # fmt: skip
"""The progress of a run that has just been asked for."""


def create_run(run: Run, now: datetime, together_with: list[Write]) -> None:
    """Put a pending run, its progress and its audit note into the table, in one transaction with the writes
    `together_with`.

    In `ConditionFailedError.failed` the places of `together_with` come first.
    """
    run = run.model_copy(update={"counted": True})
    pk, sk = progress_key(run.id)
    ttl = record_until(run, now)
    progress: Item = {
        **WAITING,
        "pk": pk,
        "sk": sk,
        "tenant": run.tenant,
        "kind": run.kind,
        "file_role": run.file_role,
        "sequence": 0,
        "ttl": ttl,
    }
    table.transact(
        [
            *together_with,
            Put(new_item(run, ttl), when={"pk": ABSENT}),
            Put(progress, when={"pk": ABSENT}),
            audit_note(run, "requested", run.requested_by, now, run.spec),
            *take_into_use(run),
            *counting(None, run),
        ]
    )


def find_run(tenant: str, run_id: str) -> Run | None:
    """A tenant's run, or None."""
    if not is_run_id(run_id):
        return None
    item = table.get(f"T#{tenant}", f"RUN#{run_id}")
    return Run.model_validate(item) if item else None


def read_run(tenant: str, run_id: str, history: str | None = None) -> Run:
    """A tenant's run; with `history`, only one that this history shows. NotFoundError."""
    run = find_run(tenant, run_id)
    if run is None or (history is not None and kind_of(run.kind).history != history):
        raise NotFoundError("There is no such run.")
    return run


def read_progress(run_id: str) -> Item | None:
    """The progress item of a run of any tenant. It names its tenant, and the caller must compare that."""
    return table.get(*progress_key(run_id)) if is_run_id(run_id) else None


def stages_of(run: Run, progress: Item | None = None) -> list[StageMoment]:
    """The stages that the current attempt has reached. Its progress is read if it is not given."""
    progress = progress or read_progress(run.id) or {}
    if progress.get("attempt") != run.attempt:
        return []
    return [StageMoment.model_validate(moment) for moment in progress.get("stages", [])]


def with_progress(run: Run, progress: Item | None = None) -> tuple[Run, Item | None]:
    """A run and its progress, both of one moment: one that has just changed is read again. None for a completed run,
    whose record tells all; one that failed or was cancelled keeps how far it came.
    """
    if run.status == "completed":
        return run, None
    progress = progress or read_progress(run.id)
    if progress and progress["status"] != run.status:
        progress = read_progress(run.id)
        run = find_run(run.tenant, run.id) or run
    return run, None if run.status == "completed" else progress


def tenant_of(run_id: str) -> str | None:
    """Whose run it is."""
    progress = read_progress(run_id)
    return progress["tenant"] if progress else None


def list_history(tenant: str, history: str, where: dict[str, object], most: int) -> Iterator[Run]:
    """A tenant's runs of one history, newest first, read as the caller takes them. The caller takes at most `most`."""
    items = table.query(
        f"T#{tenant}",
        prefix=f"{history}#",
        index="by_kind",
        newest_first=True,
        where=where,
        page_size=_page_size(where, most),
    )
    return map(Run.model_validate, items)


def _page_size(where: dict[str, object], most: int) -> int | None:
    """How many records to read at once to find `most`; None if it is not known how many of them pass the filter."""
    return None if where else most


def change_run(run: Run, changes: Item, *, remove: tuple[str, ...] = (), when: dict[str, Any]) -> Run | None:
    """Change a run's record if it still is as `when` says. Returns the changed run, or None."""
    try:
        return Run.model_validate(table.update(run.pk, run.sk, changes, remove=remove, when=when))
    except ConditionFailedError:
        return None
