"""Delete, reassign, restore, undo, delete for good and purge in any order, against a model in memory.

No record is lost, none is there twice, and each answer is what the model says, whatever the clock and its zone do.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.errors import StowageError
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.listing import read_trash
from stowage.trash.purging import purge_tenant
from stowage.trash.restoring import restore_item
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process

DAYS = 30
NAMES = ("ada", "bob", "cyd")
GROUPS = {None: "brd_1", "grp_1": "brd_1", "grp_2": "brd_2"}
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=9, minutes=30))])
NUMBERS = st.integers(0, 11)


@dataclass(frozen=True)
class Record:
    """An account (`parent` None) or a post; `operation` is set in the trash, `along` where it came with its account."""

    id: str
    name: str
    parent: str | None = None
    brand: str | None = None
    group: str | None = None
    operation: str | None = None
    along: bool = False
    purge_at: datetime | None = None

    @property
    def kind(self) -> str:
        return "accounts" if self.parent is None else "posts"


@dataclass
class Done:
    """An operation: what it did to which records, as (id, before, after)."""

    id: str
    kind: str
    entity: str
    changed: list[tuple[str, Record, Record]] = field(default_factory=list)
    undone: bool = False


numbers = count()


def attempt(call: Callable[..., Any], *given: Any) -> tuple[Any, str | None]:
    """What a use case returns, or the code of its refusal."""
    try:
        return call(*given), None
    except StowageError as refusal:
        return None, refusal.code


class Trash(RuleBasedStateMachine):
    office: Office

    def __init__(self) -> None:
        super().__init__()
        self.mark = f"m{next(numbers)}_"
        self.made = 0
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.records: dict[str, Record] = {}
        self.gone: dict[str, Record] = {}
        self.done: list[Done] = []
        for name in NAMES:
            self.make_account(name, None)
        for number, name in enumerate(NAMES):
            self.make_post(number % 2, name)

    def teardown(self) -> None:
        self.office.run("TRUNCATE accounts, posts")

    def pick(self, numbers: list[int], kind: str, *, mostly_trash: bool = False) -> list[str]:
        """Some of the ids of that kind ever made; what lies in the trash where there is any, three times of four."""
        ids = sorted(record.id for record in (*self.records.values(), *self.gone.values()) if record.kind == kind)
        trashed = [record_id for record_id in ids if record_id in self.records and self.records[record_id].operation]
        if mostly_trash and trashed and numbers[0] % 4:
            ids = trashed
        return list(dict.fromkeys(ids[number % len(ids)] for number in numbers)) if ids else []

    def record(self, record_id: str) -> Record:
        return self.records.get(record_id) or self.gone[record_id]

    def live(self, kind: str) -> list[Record]:
        return [record for record in self.records.values() if record.kind == kind and record.operation is None]

    def is_taken(self, record: Record) -> bool:
        return any(other.name == record.name and other.id != record.id for other in self.live(record.kind))

    def companions(self, record: Record) -> list[Record]:
        """The posts that went along with an account of the trash."""
        return [
            post
            for post in self.records.values()
            if post.parent == record.id and post.along and post.operation == record.operation
        ]

    def lacks_parent(self, record: Record) -> bool:
        return record.parent is not None and self.records[record.parent].operation is not None

    # ── Making and editing, by the product's own SQL ─────────────────────────────────────────────────────────────────

    @rule(name=st.sampled_from(NAMES), group=st.sampled_from([None, "grp_1", "grp_2"]))
    def make_account(self, name: str, group: str | None) -> None:
        made = Record(f"{self.mark}a{self.made}", name, brand=GROUPS[group], group=group)
        if not self.is_taken(made):
            self.made += 1
            self.records[made.id] = made
            self.office.run(
                "INSERT INTO accounts (id, username, platform, brand_id, group_id) VALUES (%s, %s, 'x', %s, %s)",
                made.id,
                made.name,
                made.brand,
                made.group,
            )

    @rule(number=NUMBERS, name=st.sampled_from(NAMES))
    def make_post(self, number: int, name: str) -> None:
        parents = sorted(record.id for record in self.live("accounts"))
        if parents:
            made = Record(f"{self.mark}p{self.made}", name, parent=parents[number % len(parents)])
            if not self.is_taken(made):
                self.made += 1
                self.records[made.id] = made
                self.office.run(
                    "INSERT INTO posts (id, account_id, url) VALUES (%s, %s, %s)", made.id, made.parent, made.name
                )

    @rule(number=NUMBERS, group=st.sampled_from([None, "grp_1", "grp_2"]))
    def edit(self, number: int, group: str | None) -> None:
        for record in [record for record in self.live("accounts") if record.group != group][number % 5 :][:1]:
            self.records[record.id] = replace(record, brand=GROUPS[group], group=group)
            self.office.run(
                "UPDATE accounts SET brand_id = %s, group_id = %s WHERE id = %s", GROUPS[group], group, record.id
            )

    @rule(hours=st.sampled_from([-800, -25, 1, 25, 400, 800]), zone=ZONES)
    def let_time_jump(self, hours: int, zone: timezone) -> None:
        self.now = (self.now + timedelta(hours=hours)).astimezone(zone)

    # ── Our own requests ─────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, kept: Any) -> tuple[str, list[str | None]]:
        body = json.loads(kept.body)
        codes = [result.get("code") for result in body["results"]]
        assert kept.status == (207 if any(codes) else 200)
        return body["operationId"], codes

    @rule(chosen=st.lists(NUMBERS, min_size=1, max_size=4), kind=st.sampled_from(["accounts", "posts"]))
    def delete(self, chosen: list[int], kind: str) -> None:
        if not (ids := self.pick(chosen, kind)):
            return
        request = DeleteRequest(ids=ids, dataType=kind)  # type: ignore[arg-type]
        operation, codes = self.answer(bulk_delete(self.office.tenant, "me", request, self.now, None))
        done = Done(operation, "delete", kind)
        for record_id, code in zip(ids, codes, strict=True):
            record = self.record(record_id)
            if record_id in self.gone:
                assert code == "not_found"
            elif record.operation is not None:
                assert code == "already_deleted"
            else:
                assert code is None
                trashed = self.put_in_trash(record, operation, along=False)
                done.changed.append((record_id, record, trashed))
                for post in self.live("posts"):
                    if post.parent == record_id:
                        self.put_in_trash(post, operation, along=True)
        self.remember(done)

    def remember(self, done: Done) -> None:
        if done.changed:
            self.done.append(done)

    def put_in_trash(self, record: Record, operation: str, *, along: bool) -> Record:
        due = self.now + timedelta(days=DAYS)
        self.records[record.id] = replace(record, operation=operation, along=along, purge_at=due)
        return self.records[record.id]

    def take_out(self, record: Record) -> None:
        for each in (record, *self.companions(record)):
            self.records[each.id] = replace(each, operation=None, along=False, purge_at=None)

    @rule(chosen=st.lists(NUMBERS, min_size=1, max_size=4), group=st.sampled_from([None, "grp_1", "grp_2"]))
    def reassign(self, chosen: list[int], group: str | None) -> None:
        if not (ids := self.pick(chosen, "accounts")):
            return
        request = ReassignRequest(ids=ids, targetBrandId=str(GROUPS[group]), targetGroupId=group)
        operation, codes = self.answer(bulk_reassign(self.office.tenant, "me", request, self.now, None))
        done = Done(operation, "reassign", "accounts")
        for record_id, code in zip(ids, codes, strict=True):
            record = self.record(record_id)
            if record_id in self.gone:
                assert code == "not_found"
            elif record.operation is not None:
                assert code == "already_deleted"
            else:
                assert code is None
                changed = replace(record, brand=GROUPS[group], group=group)
                if changed != record:
                    self.records[record_id] = changed
                    done.changed.append((record_id, record, changed))
        self.remember(done)

    @precondition(lambda self: self.done)
    @rule(number=NUMBERS)
    def undo(self, number: int) -> None:
        done = self.done[-1 - number % len(self.done)]
        request = UndoRequest(operationId=done.id)
        if done.undone:
            with pytest.raises(StowageError) as refusal:
                bulk_undo(self.office.tenant, "me", request, self.now, None)
            assert refusal.value.code == "already_undone"
            return
        expected = [self.undo_of(done, *changed) for changed in done.changed]
        _, codes = self.answer(bulk_undo(self.office.tenant, "me", request, self.now, None))
        assert codes == expected
        for (record_id, before, _), code in zip(done.changed, codes, strict=True):
            if code is None and done.kind == "delete":
                self.take_out(self.records[record_id])
            elif code is None:
                record = self.records[record_id]
                self.records[record_id] = replace(record, brand=before.brand, group=before.group)
        done.undone = None in codes

    def undo_of(self, done: Done, record_id: str, _before: Record, after: Record) -> str | None:
        """The code that undoing this change must give."""
        if record_id in self.gone:
            return "purged"
        record = self.records[record_id]
        if done.kind == "reassign":
            same = record.operation is None and (record.brand, record.group) == (after.brand, after.group)
            return None if same else "changed_since"
        if record.operation != done.id:
            return "changed_since"
        if self.lacks_parent(record):
            return "parent_in_trash"
        return "conflict" if any(map(self.is_taken, (record, *self.companions(record)))) else None

    @rule(number=NUMBERS, kind=st.sampled_from(["accounts", "posts"]), rename=st.booleans())
    def restore(self, number: int, kind: str, rename: bool) -> None:
        for record_id in self.pick([number], kind, mostly_trash=True):
            record = self.record(record_id)
            clashes = [each for each in (record, *self.companions(record)) if self.is_taken(each)]
            request = RestoreRequest(onConflict="rename" if rename else "fail")
            kept, code = attempt(restore_item, self.office.tenant, "me", record_id, request, self.now, None)
            if record_id in self.gone:
                expected = "purged"
            elif record.operation is None:
                expected = "not_in_trash"
            elif self.lacks_parent(record):
                expected = "parent_in_trash"
            else:
                expected = "conflict" if clashes and not rename else None
            assert code == expected
            if code is not None:
                return
            self.take_out(record)
            for each in clashes:
                column, table = ("username", "accounts") if each.parent is None else ("url", "posts")
                ((name,),) = self.office.run(f"SELECT {column} FROM {table} WHERE id = %s", each.id)
                assert name.startswith(f"{each.name} (restored")
                assert not any(other.name == name for other in self.live(each.kind))
                self.records[each.id] = replace(self.records[each.id], name=name)
            assert json.loads(kept.body)["item"]["name"] == self.records[record_id].name

    @rule(number=NUMBERS, kind=st.sampled_from(["accounts", "posts"]))
    def delete_for_good(self, number: int, kind: str) -> None:
        for record_id in self.pick([number], kind, mostly_trash=True):
            _, code = attempt(delete_item, self.office.tenant, "me", record_id, kind, self.now)
            if record_id in self.gone:
                assert code == "purged"
            elif self.records[record_id].operation is None:
                assert code == "not_in_trash"
            else:
                assert code is None
                self.forget(record_id)

    def forget(self, record_id: str) -> None:
        for each in [record for record in self.records.values() if record_id in (record.id, record.parent)]:
            self.gone[each.id] = self.records.pop(each.id)

    @rule()
    def purge(self) -> None:
        purged, finished = purge_tenant(self.office.tenant, self.now, lambda: True)
        assert finished
        before = len(self.gone)
        due = [
            record.id
            for record in self.records.values()
            if record.purge_at is not None and record.purge_at <= self.now and not record.along
        ]
        for record_id in due:
            if record_id in self.records:
                self.forget(record_id)
        assert purged == len(self.gone) - before

    # ── What must hold at any time ───────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_tables_hold_what_the_model_holds(self) -> None:
        found = {
            row["id"]: Record(
                row["id"],
                row.get("username") or row["url"],
                parent=row.get("account_id"),
                brand=row.get("brand_id"),
                group=row.get("group_id"),
                operation=row["deleted_operation"],
                along=row["deleted_with"] is not None,
                purge_at=datetime.fromisoformat(row["purge_at"]) if row["purge_at"] else None,
            )
            for table in ("accounts", "posts")
            for row in self.office.rows(table).values()
        }
        assert found == self.records

    @invariant()
    def the_trash_lists_each_once_with_its_days(self) -> None:
        page = read_trash(self.office.tenant, self.now, None, 1, 100)
        expected = {
            record.id: max(0, ceil((record.purge_at - self.now) / timedelta(days=1)))
            for record in self.records.values()
            if record.purge_at is not None and not record.along
        }
        assert [item["id"] for item in page.items] == list(dict.fromkeys(item["id"] for item in page.items))
        assert {item["id"]: item["daysUntilPurge"] for item in page.items} == expected
        assert page.pagination.total == len(expected)
        for item in page.items:
            assert item.get("cascaded", {}).get("posts", 0) == len(self.companions(self.records[item["id"]]))

    @invariant()
    def the_journal_has_no_gap(self) -> None:
        assert self.office.is_gapless()


@pytest.fixture
def here(stack: RunningStack) -> Iterator[None]:
    with in_process(stack):
        yield


@pytest.mark.usefixtures("here")
def test_the_trash_is_what_the_model_says(office: Office) -> None:
    machine = type("TrashOf", (Trash,), {"office": office})
    chosen = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=chosen)
