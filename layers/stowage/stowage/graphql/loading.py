"""Records as a GraphQL answer takes them: those that were read together load what they refer to together."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from stowage import records
from stowage.basics.errors import TooLargeError, UnavailableError
from stowage.basics.json_numbers import read_json
from stowage.entities.declaration import Entity, Reference
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.edit import Edit
from stowage.records.models import holds_exact
from stowage.records.queries import MOST_LIMIT

LEAST_SECONDS = 1.0
"""What could not have as long as this is not begun."""

type Values = dict[str, Any]


@dataclass(frozen=True)
class Asking:
    """A request at work: for whom, and until when."""

    edit: Edit
    deadline: float

    def edit_of(self, place: str) -> Edit:
        """What one change is done under: an operation of its own, and a key of its own where the request has one."""
        key = self.edit.key and f"{self.edit.key} {place}"
        return replace(self.edit.anew(), key=key, seconds=self.seconds())

    def seconds(self) -> float:
        """The seconds that are left. UnavailableError where too few are."""
        left = self.deadline - time.monotonic()
        if left < LEAST_SECONDS:
            raise UnavailableError("The request has taken its time: ask for the rest by itself.", retry_after=1)
        return left

    def list_of(self, entity: Entity, query: Mapping[str, Any]) -> "tuple[Batch, dict[str, Any]]":
        """A page of records, and where it lies among the others."""
        self.seconds()
        answer = records.read_list(self.edit.tenant, entity, query)
        if answer.is_cut:
            raise TooLargeError(f"These {entity.name} are too large for one answer: ask for fewer, with `limit`.")
        return Batch(self, _read(entity)(answer.data)), from_json(answer.pagination)

    def one(self, entity: Entity, data: str) -> "Row":
        """A record by its JSON."""
        return Batch(self, [_read(entity)(data)]).rows[0]


class Batch:
    """Records that were read together."""

    def __init__(self, asking: Asking, values: list[Values]) -> None:
        self.asking = asking
        self.rows = [Row(self, each) for each in values]
        self._seen: dict[str, dict[str, Row]] = {}

    def named_by(self, reference: Reference, value: str | None) -> "Row | None":
        """The record that a value of a referring field names, outside the trash; read once for all of the batch."""
        if value is None:
            return None
        if reference.field not in self._seen:
            ids = sorted({row.values[reference.field] for row in self.rows} - {None})
            found: dict[str, Row] = {}
            # A filter takes ids in both forms, so one that looks encoded may find two records.
            at_once = MOST_LIMIT // 2 if any(each.startswith("~") for each in ids) else MOST_LIMIT
            for start in range(0, len(ids), at_once):
                query = {"ids": ids[start : start + at_once], "limit": str(MOST_LIMIT), "sort": "id"}
                batch, _ = self.asking.list_of(ENTITIES[reference.entity], query)
                found |= {row.values["id"]: row for row in batch.rows}
            self._seen[reference.field] = found
        return self._seen[reference.field].get(value)


@dataclass(frozen=True)
class Row:
    """A record's values by the names of its fields, and those that were read with it."""

    batch: Batch = field(repr=False)
    values: Values


def _read(entity: Entity) -> Callable[[str], Any]:
    return read_json if holds_exact(entity) else from_json
