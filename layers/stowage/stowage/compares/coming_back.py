"""How records come back: missing ones are inserted, changed ones updated, those in the trash come out of it first.

The record is the one of the backup, in every column that both tables have. Each comes back whole or not at all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from stowage.basics.ids import encode_id
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES
from stowage.postgres.compares.differences import Sides
from stowage.postgres.compares.items import Item
from stowage.postgres.compares.present import kept_in_trash
from stowage.postgres.edits.inserts import Row, insert_problems, insert_records, with_ids
from stowage.postgres.edits.updates import lock_followed
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.savepoints import Refused, Rollback
from stowage.postgres.trash.restores import restore_records
from stowage.records import Changing
from stowage.records.failures import Failure, explain, find_duplicates
from stowage.records.splitting import Found, Numbered, write_what_can_be

MOST_NAMES = 20
"""So many labels are tried where one is taken."""

type Numbers = dict[int, Item]
"""Records by their place in the request."""


@dataclass
class Returning:
    """Records of one entity on their way back. `failures` are told by place; `cascaded` counts what came along."""

    connection: Connection
    edit: Edit
    sides: Sides
    renames: bool
    failures: dict[int, Failure] = field(default_factory=dict)
    cascaded: dict[str, int] = field(default_factory=dict)

    @property
    def entity(self) -> Entity:
        """Theirs."""
        return self.sides.entity

    def insert(self, records: Numbers) -> None:
        """Insert records that are nowhere, under the ids that they had."""
        self._with_other_names(records, self._insert_all)

    def update(self, records: Numbers, *, whole: bool) -> None:
        """Change records that are live. `whole`: also when they were last changed."""
        self._with_other_names(records, partial(self._update_all, whole=whole))

    def restore(self, records: Numbers) -> None:
        """Take records out of the trash, with what went with them, and give them what they had in the backup."""
        key = self.entity.column("id")
        while records:
            ids = [item[key] for item in records.values()]
            kept = kept_in_trash(self.connection, self.edit.tenant, self.entity, ids)
            for place in [place for place, item in records.items() if item[key] in kept]:
                code = kept[records[place][key]]
                if not (self.renames and code == "conflict"):
                    self.failures[place] = Failure(code, "", "")
                    records.pop(place)
            ids, failed = [item[key] for item in records.values()], set[int]()
            before = set(self.failures)
            with self.connection.transaction() as attempt:
                came = restore_records(self.connection, self.edit, self.entity, ids, rename=self.renames) if ids else {}
                self.update(dict(records), whole=True)
                failed = self.failures.keys() - before
                if failed:
                    raise Rollback(attempt)
            if not failed:
                self.cascaded |= came
                return
            records = {place: item for place, item in records.items() if place not in failed}

    def _with_other_names(self, records: Numbers, write: Callable[[Numbers], dict[int, Failure]]) -> None:
        """Write records, under other labels where theirs are taken; once more those whose parent was among them."""
        pending, label = dict(records), self.entity.column(self.entity.label)
        refers_to_itself = any(each.entity == self.entity.name for each in self.entity.references)
        for n in range(1, MOST_NAMES + 1):
            found = write(pending)
            while refers_to_itself and found and len(found) < len(pending):
                pending = {place: pending[place] for place in found}
                found = write(pending)
            taken = [
                place
                for place, failure in found.items()
                if failure.code == "conflict" and failure.field != "id" and isinstance(records[place].get(label), str)
            ]
            again = taken if self.renames and label != self.entity.column("id") else []
            self.failures |= {
                place: failure for place, failure in found.items() if place not in again or n == MOST_NAMES
            }
            ending = " (restored)" if n == 1 else f" (restored {n})"
            pending = {place: records[place] | {label: records[place][label] + ending} for place in again}
            if not pending:
                return

    def _insert_all(self, records: Numbers) -> dict[int, Failure]:
        places = list(records)
        rows = with_ids(self.connection, self.edit, self.entity, [records[place] for place in places])
        numbered = list(zip(places, rows, strict=True))
        return _first(write_what_can_be(numbered, self._insert, self._judge))

    def _insert(self, records: Numbered[Row], _are_all: bool) -> Refused | None:
        rows = [row for _, row in records]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        told = insert_records(
            self.connection,
            self.edit,
            self.entity,
            rows,
            places=[place for place, _ in records],
            columns=columns,
        )
        return told if isinstance(told, Refused) else None

    def _judge(self, records: Numbered[Row]) -> Found | None:
        rows = [row for _, row in records]
        problems = insert_problems(self.connection, self.edit.schema, self.entity, rows)
        if problems is None:
            return None
        found: Found = {}
        for problem in problems:
            place, row = records[problem.n - 1]
            failure = explain(self.entity, problem)
            found.setdefault(place, []).append(self._named(failure, row))
        others = [(place, row) for place, row in records if place not in found]
        return found | {place: [each] for place, each in find_duplicates(self.entity, others, "results").items()}

    def _update_all(self, records: Numbers, *, whole: bool) -> dict[int, Failure]:
        updates = list(records.items())
        lock_followed(self.connection, self.edit.schema, self.entity, [item for _, item in updates])
        changing = Changing(self.connection, self.edit, self.entity, "bring_back", len(updates), stamps_given=whole)
        found = write_what_can_be(
            updates, lambda part, _: changing.save(part, None, [place for place, _ in part]), changing.judge
        )
        return {place: self._named(failure, records[place]) for place, failure in _first(found | changing.left).items()}

    def _named(self, failure: Failure, item: Item) -> Failure:
        """The failure of a record whose parent is not there names the parent."""
        reference = next((each for each in self.entity.references if each.field == failure.field), None)
        if failure.code != "invalid_reference" or reference is None or reference.entity not in ENTITIES:
            return failure
        singular, parent = ENTITIES[reference.entity].singular, item.get(self.entity.column(reference.field))
        told = f"The {singular} {encode_id(str(parent))} of this {self.entity.singular} is not there"
        if failure.error.startswith("There is no"):
            return Failure("parent_missing", failure.field, f"{told}; bring it back first.")
        return failure


def _first(found: Found) -> dict[int, Failure]:
    return {place: failures[0] for place, failures in found.items()}


def columns_back(sides: Sides, fields: Sequence[str] | None) -> list[str]:
    """The columns that an update brings back: those of these fields, or of all that are compared."""
    wanted: Iterable[str] = fields if fields is not None else [each.name for each in sides.fields]
    stamps = sides.entity.stamps if fields is None else ()
    return [*(sides.entity.column(name) for name in wanted), *(each for each in stamps if each in sides.staged)]
