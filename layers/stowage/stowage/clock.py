"""The one clock: a table of duties, and one tick a minute that does them. A late or doubled tick does no harm.

A duty names the function that does it (`module:function`), which needs nothing but the table and the time. To have
something done at its time, put an item on a due list of the table (`due_list`, `due_at`) and add a row here.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.functions import invoke_later
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.ids import rfc3339
from stowage.basics.lazy import load
from stowage.settings import settings

BUDGET_SECONDS = 40.0
"""A tick ends before its function's time-out; the next one goes on."""
_PAGE = 100
"""Due items read at once."""

type HasTime = Callable[[], bool]


@dataclass(frozen=True)
class DueList:
    """The items of one due list, oldest first: `by(item, now)` handles one item, then moves it on or takes it off the
    list.
    """

    name: str
    by: str

    def look_after(self, now: datetime, has_time: HasTime) -> int:
        """Handle the items that are due while there is time. An item that fails does not stop the others."""
        look_after = load(self.by)
        done = 0
        failures: list[Exception] = []
        for item in table.query(self.name, index="due", up_to=rfc3339(now), page_size=_PAGE):
            if not has_time():
                break
            try:
                look_after(item, now)
            except Exception as error:
                error.add_note(f"{item['pk']} {item['sk']}")
                failures.append(error)
            else:
                done += 1
        if failures:
            raise ExceptionGroup(f"{len(failures)} of {len(failures) + done} items", failures)
        return done


@dataclass(frozen=True)
class Chore:
    """Work that every tick does: `by(now, has_time)` returns how many things it did."""

    name: str
    by: str

    def look_after(self, now: datetime, has_time: HasTime) -> int:
        """Do it."""
        done: int = load(self.by)(now, has_time)
        return done


@dataclass(frozen=True)
class Call:
    """A function that is invoked when it is due. The item (`CLOCK`, `name`) of the table says when that is.

    The function may set the next time there; if it does not, it is due again after `again`.
    """

    name: str
    function: Callable[[], str]
    again: timedelta

    def look_after(self, now: datetime, _has_time: HasTime) -> int:
        """Invoke it if it is due; returns 1 if it was, else 0."""
        try:
            table.update(
                "CLOCK", self.name, {"due_at": rfc3339(now + self.again)}, when={"due_at": Below(rfc3339(now))}
            )
        except ConditionFailedError:
            return 0
        invoke_later(self.function())
        return 1


type Duty = DueList | Chore | Call

DUTIES: tuple[Duty, ...] = (
    DueList("ACTIVE", "stowage.runs.clock:look_after"),
    DueList("SWEEP", "stowage.runs.clock:sweep"),
    Chore("notes", "stowage.runs.audit_notes:touch_old_notes"),
    Chore("leases", "stowage.runs.clock:free_places"),
    Chore("recount", "stowage.runs.counters:recount"),
    DueList("NEW_TENANTS", "stowage.schedules:begin"),
    DueList("SCHEDULES", "stowage.schedules:look_after"),
    DueList("TRIALS", "stowage.verifications.policy:look_after"),
    DueList("EXPIRING", "stowage.notices.expiring:look_after"),
    DueList("RETENTION", "stowage.schedules.keeping:look_after"),
    DueList("RESTORES", "stowage.restores.leftovers:look_after"),
    Chore("waiting", "stowage.runs.clock:start_waiting"),
    Call("PURGE", lambda: settings().purge_function, timedelta(minutes=10)),
    Call("KEYS", lambda: settings().keys_function, timedelta(hours=1)),
    Call("REGISTRY", lambda: settings().registry_function, timedelta(hours=1)),
    Call("CHECK", lambda: settings().check_function, timedelta(hours=1)),
)


def tick(now: datetime, duties: Iterable[Duty] = DUTIES, clock: Callable[[], float] = time.monotonic) -> dict[str, int]:
    """One minute's work. Returns how much was done, by the names of the duties.

    Each duty has its share of the time that is left, so none takes the others'. Those that fail are named in what is
    raised once all have had their turn.
    """
    duties = tuple(duties)
    deadline = clock() + BUDGET_SECONDS
    done: dict[str, int] = {}
    failures: list[Exception] = []
    failed: list[str] = []
    for place, duty in enumerate(duties):
        until = clock() + max(0.0, deadline - clock()) / (len(duties) - place)
        try:
            done[duty.name] = duty.look_after(now, lambda until=until: clock() < until)  # type: ignore[misc]
        except Exception as error:
            error.add_note(f"The clock was looking after {duty.name}.")
            failures.append(error)
            failed.append(duty.name)
    if failures:
        raise ExceptionGroup(f"The clock could not look after: {', '.join(failed)}.", failures)
    return done
