"""Records of one request into the database: all at once, and where it refuses, without those that it will not have.

Postgres names none of a statement's rows in its errors. What the declaration and the checks say of a record can be
asked (`judge`); any other rule, a trigger or a unique index of the adopter's own, refuses a whole statement. Then the
records are split in four, and those again, until each refusal is that of one: the number of statements grows with the
records refused, not with those that are good.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from stowage.entities.declaration import Entity
from stowage.postgres.journal.changes import append_staged, prepare_staging
from stowage.postgres.journal.operations import Kind
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.savepoints import Refused
from stowage.records.failures import NOT_TRIED, Failure, explain_refusal

SPLITTING_SECONDS = 12
"""How long records are split for: an answer has to come within the gateway's half minute."""

_PARTS = 4

type Numbered[R] = Sequence[tuple[int, R]]
"""Records, each with its index in the request."""

type Told = dict[str, Any]
"""What an operation's summary in the journal says."""

type Found = dict[int, list[Failure]]
"""Why records cannot be saved, by index."""


def write_what_can_be[R](
    records: Numbered[R],
    write: Callable[[Numbered[R], bool], Refused | None],
    judge: Callable[[Numbered[R]], Found | None],
) -> Found:
    """Write records, and say of those that could not be written why.

    `write` takes all that it is given or leaves nothing of them and says why; it is also told whether they are all that
    will be written. `judge` gives what is known to be wrong with which; None where that cannot be found out while they
    are together.
    """
    has_written = False
    failures: Found = {}
    pending = [(records, True)]
    ends: float | None = None
    while pending:
        part, asks = pending.pop()
        if not part:
            continue
        if ends is not None and time.monotonic() > ends:
            failures |= {index: [NOT_TRIED] for index, _ in part}
            continue
        refused = write(part, not pending and not has_written)
        if refused is None:
            has_written = True
            continue
        known = judge(part) if asks else {}
        found = known or {part[n - 1][0]: [explain_refusal(refused)] for n in refused.numbers}
        if found:
            failures |= found
            pending.append(([each for each in part if each[0] not in found], asks))
        elif len(part) == 1:
            failures[part[0][0]] = [explain_refusal(refused)]
        else:
            ends = ends or time.monotonic() + SPLITTING_SECONDS
            size = -(-len(part) // _PARTS)
            starts = range(0, len(part), size)
            pending += [(part[start : start + size], known is None) for start in reversed(starts)]
    return failures


class Writing[R](ABC):
    """The records of a request on their way into the table, as one operation of the journal.

    Where the database takes them together, one statement writes them with their entries. Else they go in parts whose
    entries wait until the last statement appends them all, so that the tenant's other writers do not wait meanwhile.
    """

    def __init__(self, connection: Connection, edit: Edit, entity: Entity, kind: Kind, total: int) -> None:
        self.connection, self.edit, self.entity = connection, edit, entity
        self._kind, self._total = kind, total
        self._is_told = False
        self.left: Found = {}
        """Why some of the records that were written together were left out after all."""

    @abstractmethod
    def save(self, records: Numbered[R], told: Told | None, places: list[int] | None) -> Refused | None:
        """Write all of these or none: with the summary that is told, or their entries staged in these places."""

    @abstractmethod
    def judge(self, records: Numbered[R]) -> Found | None:
        """As in `write_what_can_be`."""

    def write(self, records: Numbered[R]) -> Found:
        """Write what can be written; why the rest could not be, by index."""
        found = write_what_can_be(records, self._save, self.judge) | self.left
        if not self._is_told:
            prepare_staging(self.connection)
            append_staged(self.connection, self.edit, self.entity.name, self._told(len(records) - len(found)))
        return found

    def _save(self, records: Numbered[R], are_all: bool) -> Refused | None:
        if not are_all:
            prepare_staging(self.connection)
            return self.save(records, None, [index for index, _ in records])
        refused = self.save(records, self._told(len(records)), None)
        self._is_told = refused is None
        return refused

    def _told(self, succeeded: int) -> Told:
        return {
            "kind": self._kind,
            "total": self._total,
            "succeeded": succeeded,
            "failed": self._total - succeeded,
        }
