"""A restore's attempt in the worker: checked with names, loaded beside the live schema, left there or swapped in."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from stowage.aws import table
from stowage.aws.table import PRESENT, ConditionFailedError
from stowage.basics.errors import ProcessStopped, RunError, StowageError, TransientRunError
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.postgres.dumps.portable import Form
from stowage.postgres.restores.copies import (
    analyze,
    beside,
    close_to_others,
    copy_of,
    drop_schema,
    kept_by,
    must_hold_rows,
)
from stowage.postgres.restores.feed import Feed
from stowage.postgres.restores.following import KEPT_FOR
from stowage.postgres.restores.loading import load
from stowage.postgres.restores.preflight import (
    has_schema,
    must_be_droppable,
    must_be_restorable,
    must_be_swappable,
    names_kept,
)
from stowage.postgres.restores.session import session
from stowage.postgres.restores.swapping import Swap, must_exist_as_kept, read_note, swap, wait_for_old_snapshots
from stowage.postgres.session.connection import RESTORE, Connection, child_login
from stowage.restores.artifact import Artifact, program
from stowage.restores.following import follow
from stowage.restores.leftovers import LOOK_AGAIN, forget, watch_over
from stowage.runs.attempt import Attempt
from stowage.runs.progress import FencedError
from stowage.runs.record import UNFINISHED, Outcome, Run
from stowage.runs.store import find_run

NAMED = 50
"""How many names a result lists before it only counts."""


def restore(attempt: Attempt) -> None:
    """Do what the run is for. RunError with names, before anything is done, where it cannot be done exactly; whatever
    is raised before the swap, the live schema is as it was.
    """
    attempt.reporter.report("checking", "Checking what the restore needs.")
    work = {"new_schema": _new_schema, "in_place": _in_place, "revert": _revert, "drop": _drop}
    facts = work[attempt.run.spec["mode"]](attempt)
    rows = facts.pop("rows", 0)
    attempt.finish({"mode": attempt.run.spec["mode"], **facts}, rows=rows)


@contextmanager
def _no_rest(run: Run) -> Iterator[None]:
    """Drop the copy where the restore does not come to its end."""
    try:
        yield
    except FencedError:
        raise  # the attempt that has taken over has a copy of the same name
    except BaseException:
        with suppress(StowageError), session(run.database) as connection:
            drop_schema(connection, copy_of(run.id))
        raise


def _new_schema(attempt: Attempt) -> dict[str, Any]:
    run, artifact = attempt.run, Artifact(attempt.run, attempt.reporter)
    watch_over(run, attempt.clock())
    with _no_rest(run):
        _load(run, artifact)
        with session(run.database) as connection:
            told = _check(connection, run, artifact)
            copies = artifact.copies(run.id)
            kept = [told for copy in copies.values() for name in copies for told in names_kept(connection, copy, name)]
            closed = {name: None for copy in copies.values() for name in close_to_others(connection, copy)}
    return {
        "backup_id": run.uses,
        "schema": copy_of(run.id),
        **({"included": beside(copy_of(run.id), artifact.included)} if artifact.included else {}),
        **told,
        "keeps_old_name": kept[:NAMED],
        "keeps_old_name_count": len(kept),
        "closed_to": list(closed),
        "left_out": artifact.left_out[:NAMED],
    }


def _load(run: Run, artifact: Artifact, check: Callable[[Connection], None] | None = None) -> None:
    """Check what the restore needs, then load the backup as `copy_of(run.id)`. What an earlier attempt left goes."""
    contents = artifact.contents
    with session(run.database) as connection:
        drop_schema(connection, copy_of(run.id))
        must_be_restorable(connection, contents)
        if check:
            check(connection)
        is_live = has_schema(connection, contents.schema_name)
        included = {name: has_schema(connection, name) for name in artifact.included}
        login = child_login(run.database, RESTORE, beside=connection)
    form = Form(
        keep_owners=True, keep_grants=True, keep_restrictions=False, schema=contents.schema_name, needs=contents
    )
    with closing(Feed(login, program("psql"), artifact.waiting)) as feed:
        load(
            feed,
            artifact.script(),
            form,
            run.id,
            is_live=is_live,
            before_commit=lambda: artifact.reporter.report("loading", "Everything is loaded."),
            watch=artifact.watch,
            included=included,
        )


def _check(connection: Connection, run: Run, artifact: Artifact) -> dict[str, Any]:
    artifact.reporter.report("checking_rows", "Counting the rows.")
    artifact.reporter.moved()
    rows = tables = 0
    for name, copy in artifact.copies(run.id).items():
        rows += must_hold_rows(connection, copy, artifact.expected(name))
        artifact.reporter.moved()
        tables += analyze(connection, copy)
        artifact.reporter.moved()
    return {"tables": tables, "rows": rows}


def _in_place(attempt: Attempt) -> dict[str, Any]:
    run, live = attempt.run, str(attempt.run.spec["schema"])
    facts = _swapped_before(run)
    if facts is None:
        artifact = Artifact(run, attempt.reporter)
        if artifact.contents.schema_name != live:
            raise RunError(
                f"The backup is of the schema {artifact.contents.schema_name}, the tenant's is {live}.", "other_schema"
            )
        watch_over(run, attempt.clock())
        with _no_rest(run):
            _load(run, artifact, lambda connection: must_be_swappable(connection, live, artifact.included))
            with session(run.database) as connection:
                told = _check(connection, run, artifact)
                attempt.reporter.report("swapping", "Waiting for older transactions.")
                wait_for_old_snapshots(connection, copy_of(run.id), artifact.waiting)
                must_be_swappable(connection, live, artifact.included)
            facts = {"backup_id": run.uses, "schema": live, **told, "state_of": artifact.made_at}
            facts = _swap(attempt, copy_of(run.id), artifact.included, facts, artifact.waiting)
    return _followed(attempt, facts)


def _revert(attempt: Attempt) -> dict[str, Any]:
    run, live = attempt.run, str(attempt.run.spec["schema"])
    facts = _swapped_before(run)
    if facts is None:
        incoming = kept_by(run.spec["of"])
        with session(run.database) as connection:
            must_exist_as_kept(connection, incoming)
            note = read_note(connection, incoming) or {}
            included = note.get("included", [])
            must_be_swappable(connection, live, included)
        watch_over(run, attempt.clock())

        def waiting() -> None:
            attempt.reporter.watch(0, 0, 0)

        facts = {"reverted": run.spec["of"], "schema": live, "state_of": note["at"]}
        facts = _swap(attempt, incoming, included, facts, waiting)
    facts = _followed(attempt, facts)
    with suppress(ConditionFailedError):  # its record has gone
        table.update(run.pk, f"RUN#{run.spec['of']}", {"reverted_by": run.id}, when={"status": PRESENT})
    return facts


def _swapped_before(run: Run) -> dict[str, Any] | None:
    """The facts of a swap that an earlier attempt has done, which then only did not say so."""
    with session(run.database) as connection:
        note = read_note(connection, kept_by(run.id))
    return note["facts"] if note else None


def _swap(
    attempt: Attempt, incoming: str, included: Sequence[str], facts: Mapping[str, Any], waiting: Callable[[], None]
) -> dict[str, Any]:
    """Swap; from here on the run ends well, whoever wants it to stop."""
    run, now = attempt.run, attempt.clock()
    kept = kept_by(run.id)
    whole = {**facts, "kept_schema": kept, "kept_until": rfc3339(now + KEPT_FOR)}
    attempt.reporter.report("swapping", "Waiting for locks.")
    note = {"run": run.id, "tenant": run.tenant, "at": rfc3339(now), "facts": whole}
    try:
        with session(run.database) as connection:
            swap(connection, Swap(str(run.spec["schema"]), incoming, kept, note, tuple(included)), waiting)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except ProcessStopped:
        if _swapped_before(run) is None:
            raise
    return whole


def _followed(attempt: Attempt, facts: dict[str, Any]) -> dict[str, Any]:
    """Let journal and trash follow. TransientRunError where they cannot: another attempt goes on from here."""
    run = attempt.run
    try:
        follow(run, attempt.clock(), made_at=parse_rfc3339(facts["state_of"]))
    except StowageError as error:
        raise TransientRunError(
            f"The schema was replaced, but journal and trash have not followed yet: {error.message}", "not_followed"
        ) from error
    watch_over(run, parse_rfc3339(facts["kept_until"]))
    return facts


def _drop(attempt: Attempt) -> dict[str, Any]:
    """Drop what a restore has left, unless it is to stay after all: the restore may have been retried since this was
    asked for, and what a swap put aside is kept for its time however the run ended.
    """
    run, of, now = attempt.run, attempt.run.spec["of"], attempt.clock()
    source = find_run(run.tenant, of)
    watched = run.model_copy(update={"id": of})
    with session(run.database) as connection:
        note = read_note(connection, kept_by(of))
        until = str(note["facts"]["kept_until"]) if note else ""
        if (source and source.status in UNFINISHED) or until > rfc3339(now):
            watch_over(watched, parse_rfc3339(until) if until > rfc3339(now) else now + LOOK_AGAIN)
            return {"schema": kept_by(of), "dropped": False}
        if source and source.status == "completed" and "kept_schema" not in (source.outcome or Outcome()).facts:
            forget(watched)
            return {"schema": copy_of(of), "dropped": False}
        drop_schema(connection, copy_of(of))
        must_be_droppable(connection, kept_by(of))
        drop_schema(connection, kept_by(of))
    forget(watched)
    return {"schema": kept_by(of), "dropped": True}
