"""Accounts and posts in memory: what lies in the trash, what each request must answer, and what it leaves behind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

DAY = timedelta(days=1)
GROUPS = {"grp_1": "brd_1", "grp_2": "brd_2"}

type Values = dict[str, Any]
"""Some attributes of a record, by their names."""

CONTENT = ("name", "parent", "brand", "group", "note")
"""What a record's owner sets."""

FIELDS = {
    "accounts": {"name": "username", "note": "displayName", "brand": "brandId", "group": "groupId"},
    "posts": {"name": "url", "note": "caption", "parent": "accountId"},
}
"""The API's names of it."""


@dataclass(frozen=True)
class Record:
    """An account (`parent` None) or a post; in the trash with `deleted_at`, by an `operation` or the adopter's own SQL.

    `along` is the account with which a post came there.
    """

    id: str
    name: str
    parent: str | None = None
    brand: str | None = None
    group: str | None = None
    note: str | None = None
    operation: str | None = None
    along: str | None = None
    deleted_at: datetime | None = None
    purge_at: datetime | None = None

    @property
    def kind(self) -> str:
        return "accounts" if self.parent is None else "posts"

    @property
    def is_live(self) -> bool:
        return self.deleted_at is None

    def values(self, names: Iterable[str] = CONTENT) -> Values:
        return {name: getattr(self, name) for name in names}


@dataclass
class Change:
    """What an operation did to a record; `before` None: made it. `purged`: the journal has only its hashes by now."""

    id: str
    before: Values | None
    after: Values
    purged: bool = False


@dataclass
class Done:
    """An operation that can be undone."""

    id: str
    kind: str
    entity: str
    changes: list[Change] = field(default_factory=list)
    undone: bool = False


class Model:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.days = 30
        self.records: dict[str, Record] = {}
        self.gone: dict[str, str] = {}
        """The kinds of those that were deleted for good, by id."""
        self.done: list[Done] = []

    # ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def ids(self, kind: str) -> list[str]:
        """Those ever made, the newest first."""
        there = [record.id for record in self.records.values() if record.kind == kind]
        return (there + [record_id for record_id in self.gone if self.gone[record_id] == kind])[::-1]

    def live(self, kind: str) -> list[Record]:
        return [record for record in self.records.values() if record.kind == kind and record.is_live]

    def trash(self) -> list[Record]:
        """What the trash lists, whatever its order."""
        return [record for record in self.records.values() if not record.is_live and record.along is None]

    def is_in_trash(self, record_id: str) -> bool:
        return record_id in self.records and not self.records[record_id].is_live

    def is_live(self, record_id: str | None) -> bool:
        return record_id in self.records and self.records[record_id].is_live

    def is_taken(self, record: Record) -> bool:
        return any(other.name == record.name and other.id != record.id for other in self.live(record.kind))

    def is_sound(self, record: Record) -> bool:
        """Whether all that it refers to is there, and fits."""
        if record.parent is not None:
            return self.is_live(record.parent)
        if record.group is not None:
            return GROUPS.get(record.group) == record.brand
        return record.brand in GROUPS.values()

    def companions(self, record: Record) -> list[Record]:
        """The posts that went along with an account of the trash."""
        return [
            post
            for post in self.records.values()
            if not post.is_live and post.parent == post.along == record.id and post.operation == record.operation
        ]

    def lacks_parent(self, record: Record) -> bool:
        return record.parent is not None and not self.is_live(record.parent)

    def days_left(self, record: Record) -> int | None:
        return None if record.purge_at is None else max(0, ceil((record.purge_at - self.now) / DAY))

    # ── What requests must answer ────────────────────────────────────────────────────────────────────────────────────

    def import_failures(self, items: Sequence[Record | None]) -> list[set[str]]:
        """The codes that each item may get, none for those that come in; None is an item that is none."""
        ids: set[str] = set()
        names: set[str] = set()
        failures: list[set[str]] = []
        for item in items:
            codes = self._import_failure(item)
            if item is not None and not codes:
                if item.id in ids or item.name in names:
                    codes = {"conflict"}
                else:
                    ids.add(item.id)
                    names.add(item.name)
            failures.append(codes)
        return failures

    def _import_failure(self, item: Record | None) -> set[str]:
        if item is None:
            return {"invalid"}
        codes = set() if item.name else {"invalid"}
        if item.id in self.records or self.is_taken(item):
            codes.add("conflict")
        if not self.is_sound(item):
            codes.add("invalid_reference")
        return codes

    def update_failure(self, record_id: str, values: Values) -> set[str]:
        """The codes of what a change of a record breaks by itself; what the declaration refuses is told first."""
        if values.get("name") == "":
            return {"invalid"}
        if not self.is_live(record_id):
            return {"not_found"}
        old = self.records[record_id]
        new = replace(old, **values)
        codes: set[str] = set()
        if new.name != old.name and self.is_taken(new):
            codes.add("conflict")
        references = ("parent", "brand", "group")
        if new.values(references) != old.values(references) and not self.is_sound(new):
            codes.add("invalid_reference")
        return codes

    def delete_failure(self, record_id: str) -> str | None:
        if record_id not in self.records:
            return "not_found"
        return None if self.is_live(record_id) else "already_deleted"

    def undo_failures(self, done: Done) -> dict[str, str | None]:
        """The code of each change that cannot be undone. Who took a name from another of them gives it back with it."""
        codes = {change.id: self.undo_failure(done, change) for change in done.changes}
        formers = {
            change.id: replace(self.records[change.id], **change.before)
            for change in done.changes
            if codes[change.id] is None and change.before is not None and done.kind != "delete"
        }
        moving = {name: each for name, each in formers.items() if each.name != self.records[name].name}
        first: dict[str, str] = {}
        for each in moving.values():
            if first.setdefault(each.name, each.id) != each.id:
                codes[each.id] = "conflict"
        while stuck := [each.id for each in moving.values() if self._waits_in_vain(each, moving, codes)]:
            codes |= dict.fromkeys(stuck, "conflict")
        return codes

    def _waits_in_vain(self, former: Record, moving: dict[str, Record], codes: dict[str, str | None]) -> bool:
        holders = [each.id for each in self.live(former.kind) if each.name == former.name and each.id != former.id]
        return codes[former.id] is None and any(each not in moving or codes[each] is not None for each in holders)

    def undo_failure(self, done: Done, change: Change) -> str | None:
        if change.purged:
            return "purged"
        record = self.records[change.id]
        if done.kind == "delete":
            return self._undelete_failure(change, record)
        if not record.is_live or record.values(change.after) != change.after:
            return "changed_since"
        if change.before is None:
            return "has_children" if any(post.parent == record.id for post in self.live("posts")) else None
        return None if self.is_sound(replace(record, **change.before)) else "conflict"

    def _undelete_failure(self, change: Change, record: Record) -> str | None:
        if record.is_live or record.values(change.after) != change.after:
            return "changed_since"
        if self.lacks_parent(record):
            return "parent_in_trash"
        return "conflict" if any(map(self.is_taken, (record, *self.companions(record)))) else None

    # ── What they leave behind ───────────────────────────────────────────────────────────────────────────────────────

    def add(self, record: Record) -> None:
        self.records[record.id] = record
        self.gone.pop(record.id, None)

    def change(self, record_id: str, values: Values) -> Change | None:
        """Give a record these values; None where it has them already."""
        old = self.records[record_id]
        self.records[record_id] = replace(old, **values)
        named = [name for name, value in values.items() if old.values()[name] != value]
        return Change(record_id, old.values(named), self.records[record_id].values(named)) if named else None

    def delete(self, record_id: str, operation: str) -> Change:
        for post in self.live("posts"):
            if post.parent == record_id:
                self._put_in_trash(post, operation, record_id)
        trashed = self._put_in_trash(self.records[record_id], operation, None)
        return Change(record_id, {}, trashed.values(("operation", "deleted_at", "purge_at")))

    def _put_in_trash(self, record: Record, operation: str | None, along: str | None) -> Record:
        trashed = replace(
            record, operation=operation, along=along, deleted_at=self.now, purge_at=self.now + self.days * DAY
        )
        self.records[record.id] = trashed
        return trashed

    def restore(self, record_id: str) -> None:
        record = self.records[record_id]
        for each in (record, *self.companions(record)):
            self.records[each.id] = replace(each, operation=None, along=None, deleted_at=None, purge_at=None)

    def meddle(self, record_id: str) -> bool:
        """The adopter's own SQL puts a record into the trash, or takes it out, and nothing else; whether it may."""
        record = self.records[record_id]
        if record.is_live:
            if any(post.parent == record_id for post in self.live("posts")):
                return False
            self.now += timedelta(microseconds=1)  # at a moment of its own
            self.records[record_id] = replace(record, deleted_at=self.now)
        elif self.is_taken(record) or not self.is_sound(record):
            return False
        else:
            self.records[record_id] = replace(record, operation=None, along=None, deleted_at=None, purge_at=None)
        return True

    def undo(self, done: Done, change: Change, operation: str) -> None:
        """Undo one change of an operation, as `operation`."""
        if done.kind == "delete":
            self.restore(change.id)
        elif change.before is None:
            self.delete(change.id, operation)
        else:
            self.change(change.id, change.before)

    def purge(self, record_id: str) -> int:
        """Delete a record of the trash for good, with all that belongs to it; how many that are."""
        going = [each for each in self.records.values() if record_id in (each.id, each.parent)]
        for each in going:
            del self.records[each.id]
            self.gone[each.id] = each.kind
        for done in self.done:
            for change in done.changes:
                change.purged = change.purged or change.id in self.gone
        return len(going)

    def purge_due(self) -> int:
        """Delete what is past its time, and list by itself what has lost its account; how many are gone."""
        due = [each.id for each in self.trash() if each.purge_at is not None and each.purge_at <= self.now]
        count = sum(self.purge(record_id) for record_id in due)
        for post in self.records.values():
            parent = self.records.get(post.parent or "")
            if parent and post.along and (parent.is_live or post not in self.companions(parent)):
                self.records[post.id] = replace(post, along=None)
        return count
