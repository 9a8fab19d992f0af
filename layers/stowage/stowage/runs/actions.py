"""What may be done with a run: one row for each action, which routes and lists both use.

A kind of run names its actions (`stowage.runs.kinds`). A row says which role an action needs and in which state of the
run it is possible. A route asks `must_be_able`, a list asks `possible_actions`; so an action that a list offers works.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType

from stowage.access.identity import Identity, Role, for_role, refuse_below
from stowage.aws.table import Item
from stowage.basics.errors import ConflictError, ForbiddenError, GoneError
from stowage.basics.ids import rfc3339
from stowage.runs.kinds import kind_of
from stowage.runs.record import FINAL, Run
from stowage.runs.store import find_run
from stowage.runs.summary import read_summary


class Found:
    """What an action depends on beside the run itself. One object reads each item once."""

    def __init__(self) -> None:
        self.summary: Callable[[str], Item] = cache(read_summary)
        """The summary of a tenant."""
        self.run: Callable[[str, str], Run | None] = cache(find_run)
        """A run by its tenant and id, or None."""


type Check = Callable[[Run, datetime, Found], None]
"""Raises the refusal of an action that the state of the run forbids."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing to do with a run. `check` looks at the run's state, `role` is the lowest that may do it."""

    name: str
    role: Callable[[Run], Role]
    own_only: bool = False
    """Whether an operator may do it only to runs that they asked for."""
    check: Check


def must_be_unfinished(run: Run, _now: datetime, _found: Found) -> None:
    """ConflictError `already_finished` for a run that has ended."""
    if run.status in FINAL:
        raise ConflictError(f"The run is already {run.status}.", "already_finished")


def must_be_retryable(run: Run, now: datetime, found: Found) -> None:
    """ConflictError `not_retryable` for a run that has not failed and was not cancelled; GoneError where the file is
    gone that it would use.
    """
    if run.status not in ("failed", "cancelled"):
        raise ConflictError(f"The run is {run.status}; only failed and cancelled ones can be retried.", "not_retryable")
    if run.uses is None:
        return
    used = found.run(run.tenant, run.uses)
    if used is None or not used.may_be_used(now):
        raise GoneError("What the run would use is no longer there.", "expired")


def must_have_files(run: Run, now: datetime, _found: Found) -> None:
    """ConflictError where a run has left no file (yet), GoneError where its files have expired."""
    if run.outcome is None or not run.outcome.files:
        raise ConflictError(f"The run is {run.status}: there is no file.", "not_completed")
    if run.is_expired(now):
        raise GoneError("The file has expired.", "expired")


def must_be_usable(run: Run, now: datetime, found: Found) -> None:
    """The same for a run that is to use its files: those whose time is over stay only for whoever uses them already."""
    must_have_files(run, now, found)
    if not (run.may_be_used(now) or run.status == "failed"):
        raise GoneError("The file has expired.", "expired")


def must_be_pinnable(run: Run, now: datetime, found: Found) -> None:
    """ConflictError `pinned` for a backup that is pinned already; otherwise as for one that is to be used."""
    must_be_usable(run, now, found)
    must_not_be_pinned(run)


def must_be_pinned(run: Run, _now: datetime, _found: Found) -> None:
    """ConflictError `not_pinned` for a backup that is not pinned."""
    if not run.pinned_at:
        raise ConflictError("The backup is not pinned.", "not_pinned")


def must_not_be_pinned(run: Run) -> None:
    """ConflictError `pinned` for a backup that is."""
    if run.pinned_at:
        raise ConflictError("The backup is pinned, so it is kept; unpin it first.", "pinned")


def must_be_idle(run: Run) -> None:
    """ConflictError `still_running` for a run that has not ended, `in_use` where another run uses its files."""
    if run.status not in FINAL:
        raise ConflictError("The run has not ended; cancel it first.", "still_running")
    if run.users > 0:
        raise ConflictError("Another run is using its file; wait until that has ended, or cancel it.", "in_use")


def must_be_replaced(run: Run, found: Found) -> None:
    """ConflictError `last_verified` for the newest verified backup of its tenant."""
    if not run.verification or not run.verification["ok"]:
        return
    newest = found.summary(run.tenant).get("last_verified")
    if newest and newest["id"] == run.id:
        raise ConflictError(
            "This is the tenant's newest verified backup. Verify a newer one first, or delete it with force=true.",
            "last_verified",
        )


def _must_be_deletable(run: Run, _now: datetime, found: Found) -> None:
    must_be_idle(run)
    must_not_be_pinned(run)
    must_be_replaced(run, found)


def must_be_revertible(run: Run, now: datetime, _found: Found) -> None:
    """ConflictError where a restore has replaced nothing, GoneError where what it replaced is not kept any more."""
    left = run.outcome.facts if run.outcome else {}
    if "kept_until" not in left:
        raise ConflictError("That restore has replaced nothing, so there is nothing to take back.", "not_revertible")
    if run.reverted_by is not None:
        raise ConflictError("That restore has been taken back already.", "not_revertible")
    if left["kept_until"] <= rfc3339(now):
        raise GoneError("The schema as it was before is not kept any more.", "kept_gone")


def _operator(_run: Run) -> Role:
    return "operator"


def _admin(_run: Run) -> Role:
    return "admin"


def _deleter(run: Run) -> Role:
    return "admin" if kind_of(run.kind).bucket == "backups" else "operator"


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        action.name: action
        for action in (
            Action(name="download", role=lambda run: run.file_role, check=must_have_files),
            Action(name="cancel", role=_operator, own_only=True, check=must_be_unfinished),
            Action(name="retry", role=lambda run: run.file_role, own_only=True, check=must_be_retryable),
            Action(name="verify", role=_admin, check=must_be_usable),
            Action(name="restore", role=_admin, check=must_be_usable),
            Action(name="revert", role=_admin, check=must_be_revertible),
            Action(name="compare", role=_admin, check=must_be_usable),
            Action(name="pin", role=_admin, check=must_be_pinnable),
            Action(name="unpin", role=_admin, check=must_be_pinned),
            Action(name="delete", role=_deleter, own_only=True, check=_must_be_deletable),
        )
    }
)
"""Every action by its name. `delete` cannot know whether the bucket's object lock keeps the file: the route says so."""


@for_role("operator")
def must_be_able(action: str, run: Run, identity: Identity, now: datetime) -> None:
    """Raise the refusal if this caller may not do it with this run now: ForbiddenError, ConflictError, GoneError."""
    _must_be_able(action, run, identity, now, Found())


@for_role("operator")
def must_have_right(action: str, run: Run, identity: Identity) -> None:
    """ForbiddenError if this caller may never do it with this run; ConflictError if its kind has no such action."""
    _must_have_right(action, run, identity)


def possible_actions(run: Run, identity: Identity, now: datetime, found: Found) -> list[str]:
    """What this caller may do with this run now, in the order of the table."""
    return [name for name in ACTIONS if is_possible(name, run, identity, now, found)]


def is_possible(action: str, run: Run, identity: Identity, now: datetime, found: Found) -> bool:
    """Whether this caller may do it with this run now."""
    try:
        _must_be_able(action, run, identity, now, found)
    except (ForbiddenError, ConflictError, GoneError):
        return False
    return True


def _must_be_able(action: str, run: Run, identity: Identity, now: datetime, found: Found) -> None:
    _must_have_right(action, run, identity)
    ACTIONS[action].check(run, now, found)


def _must_have_right(action: str, run: Run, identity: Identity) -> None:
    row = ACTIONS[action]
    refuse_below(identity.role, row.role(run))
    is_own = run.trigger == "manual" and run.requested_by == identity.sub
    if row.own_only and not is_own and not identity.may("admin"):
        raise ForbiddenError("Operators cancel, retry and delete their own runs only.", "not_your_run")
    if action not in kind_of(run.kind).actions:
        raise ConflictError("This cannot be done with a run of this type.", "not_supported")
