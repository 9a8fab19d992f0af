"""The state machine of the trash: each rule asks the product for something, and holds its answer against the model."""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from psycopg import sql
from psycopg.rows import dict_row

from stowage.basics.errors import BadRequestError, StowageError
from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo, read_operations
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.postgres.session.connection import _kept
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.records import change_record, change_records
from stowage.records.deleting import RecordIds, delete_record
from stowage.records.deleting import bulk_delete as bulk_delete_records
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.listing import read_trash
from stowage.trash.purging import purge_tenant
from stowage.trash.restoring import restore_item
from tests.stack.journal_story import holds_what_it_should, read_story
from tests.stack.office import Office
from tests.stack.trash_model import DAY, FIELDS, GROUPS, Change, Done, Model, Record, Values

NAMES = ("ada", "bob", "cyd", "dee", "eli", "fay", "gus", "hal")
KINDS = st.sampled_from(["accounts", "posts"])
NUMBERS = st.integers(0, 23)
SEVERAL = st.lists(NUMBERS, min_size=1, max_size=4, unique=True)
PLACES = st.sampled_from([None, *GROUPS])
ZONES = st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/St_Johns", "Europe/London"])
JUMPS = st.one_of(
    st.sampled_from([timedelta(hours=hours) for hours in (-800, -25, 0, 1, 23, 24, 25, 400)]),
    st.tuples(NUMBERS, st.integers(0, 2), st.integers(-1, 1)),
)
"""By so long, or to so many days and microseconds before something is purged."""


ITEMS = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, ""]),
        "number": NUMBERS,
        "place": st.sampled_from([None, None, "grp_1", "grp_1", "grp_2", "bad"]),
        "id": st.one_of(st.none(), st.none(), NUMBERS),
        "is_none": st.sampled_from([False] * 7 + [True]),
    }
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*NAMES, "ivy", ""]),
        "note": st.sampled_from([None, "one", "two"]),
        "parent": NUMBERS,
        "place": st.sampled_from(
            [{"group": None}, *({"group": group} for group in GROUPS), *({"brand": brand} for brand in GROUPS.values())]
            + [{"brand": brand, "group": group} for group, brand in GROUPS.items()]
            + [{"brand": "brd_9"}, {"group": "grp_9"}]
        ),
    },
)

ROWS = """
SELECT id, name, parent, brand, "group", note, deleted_operation, deleted_with, mark, purge_at
FROM (
    SELECT id, username AS name, NULL AS parent, brand_id AS brand, group_id AS "group", display_name AS note,
           deleted_at AS mark
    FROM {schema}.accounts
    UNION ALL
    SELECT id, url, account_id, NULL, NULL, caption, deleted_at FROM {schema}.posts
) AS record
LEFT JOIN (SELECT * FROM stowage.trash_entries WHERE tenant = {tenant}) AS entry USING (id, mark)
"""
JOURNAL: LiteralString = """
SELECT seq, entity, id, type, operation, before, after FROM stowage.changes WHERE tenant = %s AND seq > %s ORDER BY seq
"""
LAST: LiteralString = "SELECT coalesce(max(seq), 0) FROM stowage.changes WHERE tenant = %s"

machines = count()


class Trash(RuleBasedStateMachine):
    office: Office
    journal: psycopg.Connection
    """A connection that may read it."""

    def __init__(self) -> None:
        super().__init__()
        self.mark = f"m{next(machines)}_"
        self.numbers = count()
        self.model = Model()
        self.zone = "UTC"
        self.meddled: set[str] = set()
        self.last: tuple[Callable[..., KeptAnswer], tuple[Any, ...], KeptAnswer] | None = None
        ((self.began,),) = self.journal.execute(LAST, (self.office.id,)).fetchall()

    def teardown(self) -> None:
        try:
            self.the_journal_tells_the_same()
            self.the_operations_are_listed()
        finally:
            self.office.run("TRUNCATE accounts, posts")

    # ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def tenant(self) -> Any:
        return replace(self.office.tenant, trash_days=self.model.days)

    @property
    def now(self) -> Any:
        return self.model.now.astimezone(ZoneInfo(self.zone))

    def new_id(self) -> str:
        return f"{self.mark}{next(self.numbers)}"

    def pick(self, numbers: Iterable[int], kind: str, *, mostly_trash: bool = False) -> list[str]:
        """Some of the ids of that kind ever made; what lies in the trash where there is any, three times of four."""
        chosen: dict[str, None] = {}
        for number in numbers:
            ids = self.model.ids(kind)
            trashed = [record_id for record_id in ids if self.model.is_in_trash(record_id)]
            if mostly_trash and trashed and number % 4:
                ids = trashed
            if ids:
                chosen[ids[number % len(ids)]] = None
        return list(chosen)

    def pick_one(self, number: int, kind: str) -> str:
        return next(iter(self.pick([number], kind)), "nobody")

    def attempt(self, call: Callable[..., Any], *given: Any) -> tuple[Any, str | None]:
        """What a use case returns, or the code of its refusal."""
        try:
            answer = call(*given)
        except StowageError as refusal:
            return None, refusal.code
        if isinstance(answer, KeptAnswer):
            self.last = (call, given, answer)
        return answer, None

    def ask(self, call: Callable[..., KeptAnswer], *given: Any) -> Any:
        """The body of an answer that is no refusal; its status says whether anything failed."""
        answer, code = self.attempt(call, *given)
        assert code is None, code
        body = json.loads(answer.body)
        body = body.get("data", body)
        assert answer.status in (201, 207 if body.get("failed") else 200)
        return body

    def by_me(self) -> Edit:
        return Edit(self.tenant, "me", "admin", self.now, self.new_id())

    def remember(self, done: Done) -> None:
        if done.changes:
            self.model.done.append(done)

    def sent(self, kind: str, values: Values) -> dict[str, str | None]:
        """Values as the API names them."""
        return {FIELDS[kind][name]: value for name, value in values.items() if name in FIELDS[kind]}

    # ── The adopter's own SQL, and time ──────────────────────────────────────────────────────────────────────────────

    @initialize()
    def begin(self) -> None:
        for kind in FIELDS:
            for number, name in enumerate(NAMES[:3]):
                self.make(kind, name, "grp_1", number // 2)

    @rule(kind=KINDS, name=st.sampled_from(NAMES), place=PLACES, number=NUMBERS)
    def make(self, kind: str, name: str, place: str | None, number: int) -> None:
        if kind == "accounts":
            self.insert(Record(self.new_id(), name, brand=GROUPS.get(place or "grp_1"), group=place))
        else:
            self.insert(Record(self.new_id(), name, parent=self.pick_one(number, "accounts")))

    def insert(self, made: Record) -> None:
        if self.model.is_taken(made) or not self.model.is_sound(made):
            return
        self.model.add(made)
        if made.parent is None:
            statement = "INSERT INTO accounts (id, username, platform, brand_id, group_id) VALUES (%s, %s, 'x', %s, %s)"
            self.office.run(statement, made.id, made.name, made.brand, made.group)
        else:
            statement = "INSERT INTO posts (id, account_id, url) VALUES (%s, %s, %s)"
            self.office.run(statement, made.id, made.parent, made.name)

    @rule(number=NUMBERS, kind=KINDS, given=CHANGES)
    def edit(self, number: int, kind: str, given: dict[str, Any]) -> None:
        """The adopter changes a record behind our back."""
        self.edit_one(kind, self.pick_one(number, kind), given)

    def edit_one(self, kind: str, record_id: str, given: dict[str, Any]) -> None:
        values = self.values(kind, given)
        if values and not self.model.update_failure(record_id, values):
            self.model.change(record_id, values)
            columns = [ENTITIES[kind].column(FIELDS[kind][name]) for name in values]
            assignments = ", ".join(f"{column} = %s" for column in columns)
            self.office.run(f"UPDATE {kind} SET {assignments} WHERE id = %s", *values.values(), record_id)

    @rule(number=NUMBERS, kind=KINDS)
    def meddle(self, number: int, kind: str) -> None:
        """The adopter takes a record out of the trash, or puts it there, and knows nothing of operations."""
        record_id = next(iter(self.pick([number], kind, mostly_trash=True)), "nobody")
        if record_id in self.model.records and self.model.meddle(record_id):
            self.meddled.add(record_id)
            record = self.model.records[record_id]
            self.office.run(f"UPDATE {kind} SET deleted_at = %s WHERE id = %s", record.deleted_at, record_id)

    def values(self, kind: str, given: dict[str, Any]) -> Values:
        """Drawn values of a change, as far as records of that kind have them."""
        values = {name: value for name, value in (given | given.get("place", {})).items() if name in FIELDS[kind]}
        if "parent" in values:
            values["parent"] = self.pick_one(values["parent"], "accounts")
        return values

    @rule(jump=JUMPS, days=st.sampled_from([1, 7, 30]), zone=ZONES)
    def let_time_jump(self, jump: timedelta | tuple[int, int, int], days: int, zone: str) -> None:
        """The clock jumps; from now on the trash keeps things for so many days, and all is in another zone."""
        if isinstance(jump, timedelta):
            self.model.now += jump
        elif due := [record.purge_at for record in self.model.trash() if record.purge_at]:
            number, before, microseconds = jump
            self.model.now = due[number % len(due)] - before * DAY + timedelta(microseconds=microseconds)
        self.model.days, self.zone = days, zone
        os.environ["TZ"] = zone
        time.tzset()
        for connection in _kept.values():
            connection.execute(sql.SQL("SET timezone = {}").format(sql.Literal(zone)))

    # ── Edits through the product ────────────────────────────────────────────────────────────────────────────────────

    @rule(chosen=SEVERAL, kind=KINDS, route=st.sampled_from(["dashboard", "records", "record"]))
    def delete(self, chosen: list[int], kind: str, route: str) -> None:
        ids = self.pick(chosen[: 1 if route == "record" else None], kind)
        if not ids:
            return
        if route == "record":
            self.delete_one(kind, ids[0])
            return
        codes: list[str | None]
        if route == "dashboard":
            request = DeleteRequest(ids=ids, dataType=kind)  # type: ignore[arg-type]
            body = self.ask(bulk_delete, self.by_me(), request)
            assert [result["id"] for result in body["results"]] == ids
            codes = [result.get("code") for result in body["results"]]
        else:
            given = RecordIds(ids=ids)
            body = self.ask(bulk_delete_records, self.by_me(), ENTITIES[kind], given)
            failures = {failure["id"]: failure["code"] for failure in body.get("failures", [])}
            codes = [failures.get(record_id) for record_id in ids]
        done = Done(body["operationId"], "delete", kind)
        for record_id, code in zip(ids, codes, strict=True):
            assert code == self.model.delete_failure(record_id)
            if code is None:
                done.changes.append(self.model.delete(record_id, done.id))
        self.remember(done)

    def delete_one(self, kind: str, record_id: str) -> None:
        """Delete a record by itself, which nobody can undo but by restoring it."""
        _, code = self.attempt(delete_record, self.by_me(), ENTITIES[kind], record_id, None)
        assert code == ("record_not_found" if self.model.delete_failure(record_id) else None)
        if code is None:
            self.model.delete(record_id, self.office.kept(kind)[record_id]["deleted_operation"])

    @rule(chosen=SEVERAL, place=PLACES)
    def reassign(self, chosen: list[int], place: str | None) -> None:
        if not (ids := self.pick(chosen, "accounts")):
            return
        target: Values = {"brand": GROUPS.get(place or "grp_1"), "group": place}
        request = ReassignRequest(ids=ids, targetBrandId=str(target["brand"]), targetGroupId=place)
        body = self.ask(bulk_reassign, self.by_me(), request)
        done = Done(body["operationId"], "reassign", "accounts")
        for record_id, result in zip(ids, body["results"], strict=True):
            assert (result["id"], result.get("code")) == (record_id, self.model.delete_failure(record_id))
            if "code" not in result:
                before = self.model.records[record_id].values(target)
                if self.model.change(record_id, target):
                    done.changes.append(Change(record_id, before, target))
        self.remember(done)

    @rule(chosen=SEVERAL, kind=KINDS, data=st.data())
    def update(self, chosen: list[int], kind: str, data: st.DataObject) -> None:
        if not (ids := self.pick(chosen, kind)):
            return
        wanted = {record_id: self.values(kind, data.draw(CHANGES)) for record_id in ids}
        updates = [{"id": record_id} | self.sent(kind, values) for record_id, values in wanted.items()]
        request = json.dumps({"updates": updates}).encode()
        possible = [self.update_failures(record_id, wanted) for record_id in ids]
        body = self.ask(change_records, self.by_me(), ENTITIES[kind], request)
        failures = {failure["index"]: failure["code"] for failure in body["failures"]}
        assert body["updated"] == len(ids) - len(failures) == len(body["items"])
        done = Done(body["operationId"], "update", kind)
        for index, record_id in enumerate(ids):
            assert failures.get(index) in possible[index]
            if index not in failures and (change := self.model.change(record_id, wanted[record_id])):
                done.changes.append(change)
        self.remember(done)

    def update_failures(self, record_id: str, wanted: dict[str, Values]) -> set[str | None]:
        """The codes that one update of several may get; None where it may be made.

        Names that others of the request take or give up stand in its way or do not, whichever was changed first.
        """
        possible: set[str | None] = {*self.model.update_failure(record_id, wanted[record_id])}
        name = wanted[record_id].get("name")
        rivals = [other for other in wanted if other != record_id and "name" in wanted[other]]
        held = [self.model.records[other].name for other in rivals if self.model.is_live(other)]
        if name is not None and name in [*held, *(wanted[other]["name"] for other in rivals)]:
            possible |= {"conflict", None} if possible <= {"conflict"} else {"conflict"}
        return possible or {None}

    @rule(number=NUMBERS, kind=KINDS, given=CHANGES)
    def update_one(self, number: int, kind: str, given: dict[str, Any]) -> None:
        """Change a record by itself."""
        values, record_id = self.values(kind, given), self.pick_one(number, kind)
        body = json.dumps(self.sent(kind, values)).encode()
        _, code = self.attempt(change_record, self.by_me(), ENTITIES[kind], record_id, body, None)
        names = {"not_found": "record_not_found", "invalid": "invalid_request"}
        expected = {names.get(code, code) for code in self.model.update_failure(record_id, values)}
        assert code in (expected or {None})
        if code is None:
            self.model.change(record_id, values)

    @rule(kind=KINDS, drawn=st.lists(ITEMS, min_size=1, max_size=4), skips=st.booleans())
    def bring_in(self, kind: str, drawn: list[dict[str, Any]], skips: bool) -> None:
        """Import records: new ones, ids that were there before, names that are taken, and items that are none."""
        items = [None if each["is_none"] else self.item(kind, each) for each in drawn]
        names = ["name", "note", "brand", "group"] if kind == "accounts" else ["name", "note", "parent"]
        sent: list[dict[str, Any]] = [
            {"nothing": 1} if item is None else self.sent(kind, item.values(names)) for item in items
        ]
        for item, each, body in zip(items, drawn, sent, strict=True):
            if item is not None and kind == "accounts":
                body["platform"] = "x"
            if item is not None and each["id"] is not None:
                body["id"] = item.id
        options = {"skipInvalid": skips, "returnFailures": True}
        request = json.dumps({"items": sent, "options": options}).encode()
        failures = self.model.import_failures(items)
        if any(failures) and not skips:
            with pytest.raises(BadRequestError) as refusal:
                import_items(self.by_me(), ENTITIES[kind], request)
            named = {detail["field"].partition("]")[0] for detail in refusal.value.details or []}
            assert named == {f"items[{index}" for index, codes in enumerate(failures) if codes}
            return
        body = self.ask(import_items, self.by_me(), ENTITIES[kind], request)
        found = {failure["index"]: failure["code"] for failure in body["failures"]}
        assert found.keys() == {index for index, codes in enumerate(failures) if codes}
        assert all(code in failures[index] for index, code in found.items())
        good = [item for item, codes in zip(items, failures, strict=True) if item is not None and not codes]
        assert (body["created"], body["failed"]) == (len(good), len(items) - len(good))
        done = Done(body["operationId"], "import", kind)
        for item, made in zip(good, body["items"], strict=True):
            record = replace(item, id=made["id"])
            self.model.add(record)
            done.changes.append(Change(record.id, None, record.values()))
        self.remember(done)

    def item(self, kind: str, drawn: dict[str, Any]) -> Record:
        record_id = self.new_id() if drawn["id"] is None else self.pick_one(drawn["id"], kind)
        if kind == "posts":
            return Record(record_id, drawn["name"], parent=self.pick_one(drawn["number"], "accounts"))
        place = drawn["place"]
        group = "grp_2" if place == "bad" else place
        return Record(record_id, drawn["name"], brand=GROUPS.get(place, "brd_1"), group=group, note="imported")

    # ── Undo and the trash ───────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.model.done)
    @rule(meanwhile=CHANGES)
    def undo_the_last(self, meanwhile: dict[str, Any]) -> None:
        self.undo(0, meanwhile)

    @precondition(lambda self: self.model.done)
    @rule(number=NUMBERS, meanwhile=st.none())
    def undo(self, number: int, meanwhile: dict[str, Any] | None) -> None:
        """Undo one of the last operations; `meanwhile` the adopter may have changed what it left."""
        done = self.model.done[-1 - number % len(self.model.done)]
        if meanwhile:
            self.edit_one(done.entity, done.changes[number % len(done.changes)].id, meanwhile)
        given = (self.by_me(), UndoRequest(operationId=done.id))
        if done.undone:
            assert self.attempt(bulk_undo, *given) == (None, "already_undone")
            return
        expected = self.model.undo_failures(done)
        body = self.ask(bulk_undo, *given)
        ids = [result["id"] for result in body["results"]]
        assert {result["id"]: result.get("code") for result in body["results"]} == expected
        assert len(ids) == len(done.changes)
        if done.kind in ("delete", "reassign"):
            assert ids == list(expected), "in the order in which they were asked for"
        for change in done.changes:
            if expected[change.id] is None:
                self.model.undo(done, change, body["operationId"])
        done.undone = None in expected.values()

    @rule(number=NUMBERS, kind=KINDS, rename=st.booleans())
    def restore(self, number: int, kind: str, rename: bool) -> None:
        for record_id in self.pick([number], kind, mostly_trash=True):
            clashes: list[Record] = []
            if self.model.is_in_trash(record_id):
                record = self.model.records[record_id]
                clashes = [each for each in (record, *self.model.companions(record)) if self.model.is_taken(each)]
            expected = self.trash_failure(record_id)
            if expected is None and self.model.lacks_parent(record):
                expected = "parent_in_trash"
            elif expected is None and clashes and not rename:
                expected = "conflict"
            request = RestoreRequest(onConflict="rename" if rename else "fail")
            given = (self.by_me(), record_id, request)
            kept, code = self.attempt(restore_item, *given)
            assert code == expected
            if code is not None:
                return
            item = json.loads(kept.body)["item"]
            assert item["daysUntilPurge"] == self.model.days_left(record)
            assert item.get("cascaded", {}).get("posts", 0) == len(self.model.companions(record))
            self.model.restore(record_id)
            self.rename(clashes)
            assert item["name"] == self.model.records[record_id].name

    def rename(self, clashes: list[Record]) -> None:
        """Give what came back the names that it got; free ones."""
        for each in clashes:
            column, table = ("username", "accounts") if each.parent is None else ("url", "posts")
            ((name,),) = self.office.run(f"SELECT {column} FROM {table} WHERE id = %s", each.id)
            assert name.startswith(f"{each.name} (restored")
            assert name not in [other.name for other in self.model.live(each.kind)]
            self.model.change(each.id, {"name": name})

    def trash_failure(self, record_id: str) -> str | None:
        """The code for what is not in the trash."""
        if self.model.is_in_trash(record_id):
            return None
        return "not_in_trash" if record_id in self.model.records else "purged"

    @rule(number=NUMBERS, kind=KINDS)
    def delete_for_good(self, number: int, kind: str) -> None:
        for record_id in self.pick([number], kind):
            _, code = self.attempt(delete_item, self.by_me(), record_id, kind)
            assert code == self.trash_failure(record_id)
            if code is None:
                self.model.purge(record_id)

    @rule()
    def purge(self) -> None:
        assert purge_tenant(self.tenant, self.now, lambda: True) == (self.model.purge_due(), True)

    @precondition(lambda self: self.last)
    @rule()
    def repeat_the_last_request(self) -> None:
        """The same key again gets the same answer, and changes nothing."""
        assert self.last
        call, given, answer = self.last
        assert call(*given) == answer

    # ── What must hold at any time ───────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_tables_hold_what_the_model_holds(self) -> None:
        statement = sql.SQL(ROWS).format(schema=sql.Identifier(self.office.schema), tenant=sql.Literal(self.office.id))
        assert {row[0]: Record(*row) for row in self.office.database.execute(statement)} == self.model.records

    @invariant()
    def the_trash_lists_each_once_with_its_days(self) -> None:
        page = read_trash(self.tenant, self.now, None, 1, 100)
        listed = self.model.trash()
        assert page.pagination.total == len(page.items) == len(listed)
        assert {item["id"]: item["daysUntilPurge"] for item in page.items} == {
            record.id: self.model.days_left(record) for record in listed
        }
        times = [self.model.records[item["id"]].deleted_at for item in page.items]
        assert times == sorted(times, reverse=True)
        for item in page.items:
            record = self.model.records[item["id"]]
            assert item.get("cascaded", {}).get("posts", 0) == len(self.model.companions(record))

    @invariant()
    def what_is_live_fits_together(self) -> None:
        for kind in FIELDS:
            assert all(map(self.model.is_sound, self.model.live(kind)))

    # ── What must hold at the end ────────────────────────────────────────────────────────────────────────────────────

    def the_journal_tells_the_same(self) -> None:
        """Its numbers have no gap, its entries follow from one another, and end where the records are."""
        with self.journal.cursor(row_factory=dict_row) as cursor:
            entries = cursor.execute(JOURNAL, (self.office.id, self.began)).fetchall()
        assert [entry["seq"] for entry in entries] == list(range(self.began + 1, self.began + 1 + len(entries)))
        for entry in entries:
            holds_what_it_should(entry)
            del entry["before"], entry["after"]  # the adopter's own SQL comes between them
        told = [entry for entry in entries if entry["id"] not in self.meddled]
        for (_, record_id), end in read_story(told).items():
            is_there = "trash" if self.model.is_in_trash(record_id) else "live"
            assert end.state == (is_there if record_id in self.model.records else "nowhere"), record_id

    def the_operations_are_listed(self) -> None:
        listed = {each["id"]: each for each in read_operations(self.tenant, 1, 100).operations}
        for done in self.model.done:
            told = listed[done.id]
            assert (told["kind"], told["dataType"]) == (done.kind, done.entity)
            assert (told["undoneAt"] is not None) == done.undone
