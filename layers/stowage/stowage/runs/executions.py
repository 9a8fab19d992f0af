"""Which attempts an execution carries out.

The list is written when the execution is launched, and each run keeps the execution's name. Do not
derive that name from a run: an execution may carry out one attempt, or those of several runs.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.executions import start_execution
from stowage.aws.table import Put
from stowage.runs.record import Run

KNOWN_FOR = timedelta(days=7)
"""An execution lasts a day at most; reports of its end may come later."""


@dataclass(frozen=True)
class Member:
    """One attempt of one run."""

    tenant: str
    run_id: str
    attempt: int


def member_of(run: Run) -> Member:
    """The current attempt of a run."""
    return Member(run.tenant, run.id, run.attempt)


def name_of(run: Run, attempt: int) -> str:
    """The name of the execution that will carry out this attempt alone; a closed one is unusable for 90 days."""
    return f"{run.id}-{attempt}"


def write_members(execution: str, members: Iterable[Member], now: datetime) -> Put:
    """The write that records which attempts an execution carries out."""
    return Put(
        {
            "pk": f"EXECUTION#{execution}",
            "sk": "MEMBERS",
            "members": [asdict(member) for member in members],
            "ttl": int((now + KNOWN_FOR).timestamp()),
        }
    )


def members_of(execution: str) -> list[Member]:
    """The attempts that an execution carries out; none for one that was started by hand."""
    item = table.get(f"EXECUTION#{execution}", "MEMBERS")
    return [Member(**member) for member in item["members"]] if item else []


def start_attempt(run: Run) -> None:
    """Start the execution of a run's current attempt. Further calls start no second one."""
    assert run.execution is not None, "it has been launched"
    start_execution(run.execution, asdict(member_of(run)))
