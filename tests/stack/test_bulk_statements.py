"""How many statements a bulk request takes, and its limits, on the functions that run them."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql
from pydantic_core import to_json

from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.postgres.edits.deletes import delete_records
from stowage.postgres.edits.locks import Outcome
from stowage.postgres.session.connection import borrowed
from stowage.postgres.session.idempotency import KeptAnswer
from stowage.postgres.session.own_rules import qualified
from stowage.postgres.session.search_path import follow_search_path
from stowage.records import change_records, deleting
from stowage.records.deleting import RecordIds
from tests.stack.office import Json, Office, codes, in_process

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def app(office: Office) -> Iterator[psycopg.Connection]:
    """A connection as the functions have it."""
    with psycopg.connect(office.app_url, autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture
def statements(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that Postgres is sent by this process, BEGIN and COMMIT apart."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def note(cursor: psycopg.Cursor, query: Any, *given: Any, **options: Any) -> Any:
        sent.append(query.as_string(cursor) if hasattr(query, "as_string") else str(query))
        return execute(cursor, query, *given, **options)

    with in_process(office.stack):
        # What a new connection is told is none of a request's statements.
        with borrowed("main"):
            pass
        monkeypatch.setattr(psycopg.Cursor, "execute", note)
        yield sent
        monkeypatch.undo()


@dataclass
class Counting:
    """The use cases on one office, and how many statements each has taken, by what it was asked."""

    office: Office
    sent: list[str]
    seen: dict[str, set[int]] = field(default_factory=dict)

    def note(self, what: str, work: Callable[[], KeptAnswer], status: int) -> Json:
        self.sent.clear()
        answer = work()
        # Asking a kept connection whether it lives is none of the request's statements.
        number = sum(statement != "SELECT 1" for statement in self.sent)
        assert 0 < number <= 14, self.sent
        self.seen.setdefault(what, set()).add(number)
        assert answer.status == status, answer.body[:300]
        body = json.loads(answer.body)
        return body.get("data", body)

    def reassign(self, ids: list[str], key: str, status: int = 200) -> Json:
        request = ReassignRequest(ids=ids, targetBrandId="brd_2", targetGroupId="grp_2")
        return self.note("reassign", partial(bulk_reassign, self.office.edit(NOW, key), request), status)

    def delete(self, entity: Literal["accounts", "posts"], ids: list[str], status: int = 200) -> Json:
        request = DeleteRequest(ids=ids, dataType=entity)
        work = partial(bulk_delete, self.office.edit(NOW), request)
        return self.note(f"delete {entity}", work, status)

    def delete_records(self, entity: str, ids: list[str], status: int = 200) -> Json:
        request, declared = RecordIds(ids=ids), ENTITIES[entity]
        work = partial(deleting.bulk_delete, self.office.edit(NOW), declared, request)
        return self.note(f"delete {entity}", work, status)

    def update(self, updates: list[Json], status: int = 200) -> Json:
        body = to_json({"updates": updates})
        return self.note("update", partial(change_records, self.office.edit(NOW), ENTITIES["accounts"], body), status)

    def make(self, items: list[Json]) -> Json:
        body = to_json({"items": items})
        return self.note("import", partial(import_items, self.office.edit(NOW), ENTITIES["accounts"], body), 201)

    def undo(self, what: str, done: Json, status: int = 200) -> Json:
        request = UndoRequest(operationId=done["operationId"])
        return self.note(f"undo {what}", partial(bulk_undo, self.office.edit(NOW), request), status)


def test_the_number_of_statements_does_not_depend_on_the_number_of_ids(office: Office, statements: list[str]) -> None:
    counting, numbers = Counting(office, statements), count()
    for size in (10, 2_000):
        accounts = office.accounts(*(f"a{next(numbers)}" for _ in range(size)))
        office.run(
            "INSERT INTO posts (id, account_id, url) SELECT 'p' || id, id, 'u' || id FROM accounts WHERE id = ANY(%s)",
            accounts,
        )
        # Autovacuum may have looked while these were loaded, and found next to none: then every join is a slow one.
        office.run("ANALYZE accounts, posts")
        counting.undo("reassign", counting.reassign(accounts, f"key {size}"))
        counting.undo("update", counting.update([{"id": each, "username": f"new {each}"} for each in accounts]))
        counting.undo("delete", counting.delete("accounts", accounts))
        counting.delete("posts", [f"p{each}" for each in accounts])
        made = [{"username": f"made {each}", "platform": "x", "brandId": "brd_1"} for each in accounts]
        counting.undo("import", counting.make(made))
    assert all(len(numbers_of) == 1 for numbers_of in counting.seen.values()), counting.seen
    assert office.is_gapless()


def load_before_analyze(office: Office, count: int) -> list[str]:
    """Accounts of which ANALYZE saw the pages, and no row, because they were not committed yet."""
    ids = [f"loaded_{n}" for n in range(count)]
    office.run("ALTER TABLE accounts SET (autovacuum_enabled = false)")
    with psycopg.connect(office.stack.database_url) as loading:
        loading.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(office.schema)))
        loading.execute(
            "INSERT INTO accounts (id, username, platform, brand_id, group_id) "
            "SELECT id, 'user ' || id, 'x', 'brd_1', 'grp_1' FROM unnest(%s::text[]) AS id",
            (ids,),
        )
        office.run("ANALYZE accounts")
    assert office.run("SELECT reltuples, relpages > 0 FROM pg_class WHERE oid = 'accounts'::regclass") == [(0, True)]
    return ids


def test_a_table_whose_rows_analyze_did_not_see_is_hashed(office: Office, app: psycopg.Connection) -> None:
    def nested_loops() -> str:
        with app.transaction():
            follow_search_path(app, office.schema, [qualified(office.schema, each) for each in ENTITIES.values()])
            return str(app.execute("SHOW enable_nestloop").fetchall()[0][0])

    assert nested_loops() == "on"
    load_before_analyze(office, 300)
    assert nested_loops() == "off"
    assert app.execute("SHOW enable_nestloop").fetchone() == ("on",)
    office.run("ANALYZE accounts")
    assert nested_loops() == "on"


@pytest.mark.long
def test_nor_is_it_read_once_for_each_record(office: Office) -> None:
    ids = load_before_analyze(office, 10_000)
    with in_process(office.stack):
        request = ReassignRequest(ids=ids, targetBrandId="brd_2", targetGroupId="grp_2")
        done = json.loads(bulk_reassign(office.edit(NOW), request).body)
        undone = json.loads(bulk_undo(office.edit(NOW), UndoRequest(operationId=done["operationId"])).body)
    assert (done["succeeded"], undone["succeeded"]) == (10_000, 10_000)
    assert {row["brand_id"] for row in office.rows("accounts").values()} == {"brd_1"}


def test_nor_on_how_many_of_them_fail(office: Office, statements: list[str]) -> None:
    counting, numbers = Counting(office, statements), count()
    for size in (10, 2_000):
        fifth = size // 5
        mark = f"n{next(numbers)}_"
        accounts = office.accounts(*(f"{mark}{n}" for n in range(size)))
        office.run("ANALYZE accounts, posts")
        absent, gone, taken, edited, rest = (accounts[n * fifth : (n + 1) * fifth] for n in range(5))
        office.run("DELETE FROM accounts WHERE id = ANY(%s)", absent)
        trash = "UPDATE accounts SET deleted_at = now() WHERE id = ANY(%s)"
        office.run(trash, gone)
        failed = dict.fromkeys(absent, "not_found") | dict.fromkeys(gone, "already_deleted")
        blocked = dict.fromkeys(taken, "conflict") | dict.fromkeys(edited, "changed_since") | dict.fromkeys(rest)

        office.run("INSERT INTO groups (id, brand_id, label) VALUES (%s, 'brd_1', %s)", mark, mark)
        office.run("UPDATE accounts SET group_id = %s WHERE id = ANY(%s)", mark, taken)
        moved = counting.reassign(accounts, mark, 207)
        assert codes(moved) == failed | dict.fromkeys(taken + edited + rest)
        office.run("UPDATE groups SET brand_id = 'brd_2' WHERE id = %s", mark)
        office.run("UPDATE accounts SET group_id = NULL WHERE id = ANY(%s)", edited)
        assert codes(counting.undo("reassign", moved, 207)) == blocked

        renamed = counting.update([{"id": each, "username": f"new {each}"} for each in accounts], 207)
        assert renamed["failed"] == 2 * fifth
        take = (
            "INSERT INTO accounts (id, username, platform, brand_id) "
            "SELECT %s || id, 'user ' || id, 'x', 'brd_1' FROM unnest(%s::text[]) AS id"
        )
        office.run(take, "updated ", taken)
        office.run("UPDATE accounts SET username = 'mine ' || id WHERE id = ANY(%s)", edited)
        assert codes(counting.undo("update", renamed, 207)) == blocked

        deleted = counting.delete("accounts", accounts, 207)
        assert codes(deleted) == failed | dict.fromkeys(taken + edited + rest)
        office.run(
            "INSERT INTO accounts (id, username, platform, brand_id) SELECT 'deleted ' || id, username, platform, "
            "brand_id FROM accounts WHERE id = ANY(%s)",
            taken,
        )
        office.run("UPDATE accounts SET deleted_at = NULL WHERE id = ANY(%s)", edited)
        assert codes(counting.undo("delete", deleted, 207)) == blocked

        office.run(
            "INSERT INTO groups (id, brand_id, label) SELECT 'g' || id, 'brd_2', id FROM unnest(%s::text[]) AS id",
            accounts,
        )
        office.run("UPDATE accounts SET brand_id = 'brd_2', group_id = 'g' || id WHERE id = ANY(%s)", rest)
        groups = counting.delete_records("groups", [f"g{each}" for each in accounts], 207)
        assert {failure["code"] for failure in groups["failures"]} == {"has_children"}
        assert groups["failed"] == fifth
        office.run("UPDATE accounts SET brand_id = 'brd_1', group_id = NULL WHERE id = ANY(%s)", rest)

        items = [{"username": f"made {each}", "platform": "x", "brandId": "brd_1"} for each in accounts]
        made = counting.make(items)
        ids = [item["id"] for item in made["items"]]
        office.run("UPDATE accounts SET status = 'mine' WHERE id = ANY(%s)", ids[:fifth])
        office.run(
            "INSERT INTO posts (id, account_id, url) SELECT id, id, id FROM unnest(%s::text[]) AS id",
            ids[fifth : 2 * fifth],
        )
        expected = dict.fromkeys(ids) | dict.fromkeys(ids[:fifth], "changed_since")
        expected |= dict.fromkeys(ids[fifth : 2 * fifth], "has_children")
        assert codes(counting.undo("import", made, 207)) == expected
    assert all(len(numbers_of) == 1 for numbers_of in counting.seen.values()), counting.seen
    assert office.is_gapless()


def test_what_comes_back_is_not_looked_for_anew_for_each_record(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[str] = []
    execute = psycopg.Connection.execute

    def explain(connection: psycopg.Connection, query: Any, *given: Any, **options: Any) -> Any:
        text = query.as_string(connection) if hasattr(query, "as_string") else str(query)
        if "'restored'" in text:
            plan = execute(connection, f"EXPLAIN {text}".encode(), *given).fetchall()
            plans.append("\n".join(line for (line,) in plan))
        return execute(connection, query, *given, **options)

    accounts = office.accounts(*(f"a{n}" for n in range(5_000)))
    office.run("INSERT INTO posts (id, account_id, url) SELECT 'p' || id, id, 'u' || id FROM accounts")
    operation = office.delete(*accounts)["operationId"]
    with in_process(office.stack):
        monkeypatch.setattr(psycopg.Connection, "execute", explain)
        undone = bulk_undo(office.edit(NOW), UndoRequest(operationId=operation))
        monkeypatch.undo()
    assert undone.status == 200
    assert plans
    for plan in plans:
        assert not re.search(r"Join Filter: .*\baccount_id\b", plan), plan


def delete(app: psycopg.Connection, office: Office, entity: str, *ids: str, most: int = 100) -> Outcome:
    purge_at = NOW + timedelta(days=30)
    with app.transaction():
        return delete_records(app, office.edit(NOW), ENTITIES[entity], ids, purge_at, most_children=most)


def test_what_would_take_too_much_along_stays(office: Office, app: psycopg.Connection) -> None:
    office.accounts("one", "ten", "none", "two", "three")
    for account, posts in (("one", 1), ("ten", 10), ("two", 2), ("three", 3)):
        office.posts(account, *(f"{account}{n}" for n in range(posts)))
    outcome = delete(app, office, "accounts", "one", "ten", "none", "two", "three", most=5)
    assert outcome.codes == [None, "too_large", None, None, "too_large"]
    assert outcome.cascaded == {"posts": 3}
    assert office.live("accounts") == {"ten", "three"}
    assert len(office.live("posts")) == 13


def test_a_brand_or_a_group_that_has_accounts_stays(office: Office, app: psycopg.Connection) -> None:
    office.accounts("a", brand="brd_1", group="grp_1")
    assert delete(app, office, "groups", "grp_1", "grp_2").codes == ["has_children", None]
    assert delete(app, office, "brands", "brd_1", "brd_2").codes == ["has_children", None]
    assert delete(app, office, "accounts", "a").codes == [None]
    assert delete(app, office, "brands", "brd_1").codes == ["has_children"]
    assert delete(app, office, "groups", "grp_1").codes == [None]
    assert delete(app, office, "brands", "brd_1").codes == [None]


def test_a_task_keeps_the_user_it_was_given_to(office: Office, app: psycopg.Connection) -> None:
    office.run("INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@x.example')")
    office.run("INSERT INTO tasks (id, title, assignee) VALUES ('t', 'Do', 'u')")
    assert delete(app, office, "users", "u").codes == [None]
    assert office.rows("tasks")["t"]["assignee"] == "u"


def test_what_is_made_while_its_parent_is_being_deleted_goes_along(office: Office, app: psycopg.Connection) -> None:
    office.accounts("a")
    with psycopg.connect(office.app_url) as other, ThreadPoolExecutor(1) as pool:
        table = f'"{office.schema}".posts'
        other.execute(f"INSERT INTO {table} (id, account_id, url) VALUES ('p', 'a', 'u')".encode())
        deleting = pool.submit(delete, app, office, "accounts", "a")
        wait_for_a_lock(office)
        other.commit()
        assert deleting.result().cascaded == {"posts": 1}
    assert office.live("posts") == set()


def wait_for_a_lock(office: Office) -> None:
    """Wait until somebody waits for a lock in this database."""
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        row = office.database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        if row and row[0]:
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")
