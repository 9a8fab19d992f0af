"""Writes a prepared batch into the database and says for each row what happened to it, and why."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stowage.basics.errors import UnavailableError
from stowage.entities.declaration import Entity
from stowage.imports.files.preparing import Prepared
from stowage.imports.files.records import OnConflict
from stowage.postgres.edits.file_batches import BatchOutcome, ImportSession
from stowage.postgres.edits.rules import Problem
from stowage.postgres.session.savepoints import Refused
from stowage.records.failures import Failure, explain, explain_left, explain_refusal

_TRIES = 6
_WAIT_SECONDS = 0.1


def write_batch(session: ImportSession, entity: Entity, on_conflict: OnConflict, prepared: Prepared) -> BatchOutcome:
    """Write a batch in one transaction of its own. Tries again when another transaction is in the way.

    UnavailableError after the last try; TransientRunError and RunError as `ImportSession` says.
    """
    for attempt in range(_TRIES):
        try:
            return _BatchWriting(session, entity, on_conflict, prepared).write()
        except UnavailableError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(_WAIT_SECONDS * 2**attempt)
    raise AssertionError("the last try returns or raises")


class _BatchWriting:
    """One try. Rows are counted from 1; `_outcomes` has each one's letter: created, updated, skipped, failed."""

    def __init__(self, session: ImportSession, entity: Entity, on_conflict: OnConflict, prepared: Prepared) -> None:
        self._session, self._entity, self._on_conflict, self._prepared = session, entity, on_conflict, prepared
        self._outcomes: dict[int, str] = dict.fromkeys(prepared.failures, "f")
        self._failures = dict(prepared.failures)

    def write(self) -> BatchOutcome:
        """Write the batch, with its outcome in the same transaction."""
        prepared, session = self._prepared, self._session
        with session.batch():
            if prepared.records:
                self._load(list(prepared.records), prepared.text)
            if self._on_conflict == "update" and prepared.lacks_ids and self._entity.unique:
                session.find_ids(self._entity.unique[0])
            session.fill_in(prepared.filled)
            made = session.make_ids() if prepared.records and self._entity.key.made_by == "database" else {}
            for part in prepared.parts:
                self._write_part([number for number in part if number not in self._failures])
            batch = prepared.batch
            outcome = BatchOutcome(
                batch.first_row,
                "".join(self._outcomes[number] for number in range(1, len(batch.rows) + 1)),
                [(batch.first_row + number - 1, *self._failures[number]) for number in sorted(self._failures)],
                {batch.first_row + number - 1: made_id for number, made_id in made.items()},
            )
            session.finish_batch(outcome, batch.position, batch.line)
        return outcome

    def _load(self, rows: list[int], text: str) -> None:
        """Copy rows into the temporary table. If Postgres refuses them, retry without those whose values do not fit;
        if that is not it, split them in half.
        """
        refused = self._session.load(self._prepared.columns, text)
        if refused is None:
            return
        misfits = _by_row(self._session.misfits([self._columns_of(number) for number in rows]))
        if misfits:
            for place, problems in misfits.items():
                self._fail(rows[place - 1], explain(self._entity, problems[0]))
            if left := [number for place, number in enumerate(rows, 1) if place not in misfits]:
                self._load(left, self._prepared.text_of(left))
            return
        if len(rows) == 1:
            self._fail(rows[0], explain_refusal(refused))
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self._load(half, self._prepared.text_of(half))

    def _write_part(self, part: list[int]) -> None:
        there = self._session.existing(part) if part and self._on_conflict == "update" else {}
        self._insert([number for number in part if number not in there])
        updates: dict[str, int] = {}
        for number, record_id in there.items():
            if record_id in updates:
                self._update(updates)
                updates = {}
            updates[record_id] = number
        self._update(updates)

    # New records

    def _insert(self, rows: list[int]) -> None:
        if not rows:
            return
        missing = self._session.insert(rows)
        if isinstance(missing, Refused):
            self._one_by_one(rows, missing, self._judge, self._insert)
            return
        for number in rows:
            self._outcomes[number] = "c"
        if left := self._judge(missing):
            why = explain_refusal(self._session.taken(rows, left))
            for number in left:
                (self._stand_back if why.code == "conflict" else self._fail)(number, why)

    def _judge(self, rows: Sequence[int]) -> list[int]:
        """Ask why rows cannot be inserted and note it. Returns the rows for which no reason was found."""
        if not rows:
            return []
        found = _by_row(self._session.insert_problems(rows))
        for number, problems in found.items():
            conflict = next((problem for problem in problems if problem.kind in ("id", "unique", "rule")), None)
            if conflict:
                self._stand_back(number, explain(self._entity, conflict))
            else:
                self._fail(number, explain(self._entity, problems[0]))
        return [number for number in rows if number not in found]

    def _stand_back(self, number: int, why: Failure) -> None:
        """Skip or fail a row whose record exists already, as the import asked."""
        if self._on_conflict == "skip":
            self._outcomes[number] = "s"
        else:
            self._fail(number, why)

    # Records that are there

    def _update(self, numbers: dict[str, int]) -> None:
        """Update records. `numbers` gives the row of each record's id."""
        if not numbers:
            return
        updates = [self._changes(record_id, number) for record_id, number in numbers.items()]
        rows = list(numbers.values())
        updated = self._session.update(updates, rows)
        if isinstance(updated, Refused):
            ids = {number: record_id for record_id, number in numbers.items()}
            self._one_by_one(
                rows,
                updated,
                lambda wanted: self._judge_updates({ids[number]: number for number in wanted}),
                lambda wanted: self._update({ids[number]: number for number in wanted}),
            )
            return
        for number in rows:
            self._outcomes[number] = "u"
        missing = [rows[n - 1] for n in updated.missing]
        ids = {number: record_id for record_id, number in numbers.items()}
        for number in self._judge_updates({ids[number]: number for number in missing}):
            self._fail(number, explain_left(self._session.skipped()))

    def _judge_updates(self, numbers: dict[str, int]) -> list[int]:
        if not numbers:
            return []
        updates = [self._changes(record_id, number) for record_id, number in numbers.items()]
        rows = list(numbers.values())
        found = _by_row(self._session.update_problems(updates))
        for place, problems in found.items():
            self._fail(rows[place - 1], explain(self._entity, problems[0]))
        return [number for place, number in enumerate(rows, 1) if place not in found]

    def _changes(self, record_id: str, number: int) -> dict[str, Any]:
        return {self._entity.column("id"): record_id, **self._columns_of(number)}

    def _columns_of(self, number: int) -> dict[str, Any]:
        record = self._prepared.records[number]
        return {field.column: record[field.name] for field in self._entity.own if field.name in record}

    # Both

    def _one_by_one(
        self,
        rows: list[int],
        refused: Refused,
        judge: Callable[[list[int]], list[int]],
        again: Callable[[list[int]], None],
    ) -> None:
        """Postgres refused these rows. Drop the rows with a known error, or split them in half and retry."""
        left = judge(rows)
        if len(left) < len(rows):
            again(left)
        elif len(rows) == 1:
            self._fail(rows[0], explain_refusal(refused))
        else:
            half = len(rows) // 2
            again(rows[:half])
            again(rows[half:])

    def _fail(self, number: int, why: Failure) -> None:
        self._outcomes[number] = "f"
        message = f"{why.field}: {why.error[:1].lower()}{why.error[1:]}" if why.field else why.error
        self._failures[number] = (why.code, message)


def _by_row(problems: Iterable[Problem]) -> dict[int, list[Problem]]:
    found: dict[int, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.n, []).append(problem)
    return found
