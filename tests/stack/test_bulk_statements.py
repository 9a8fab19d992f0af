"""How many statements a bulk request takes, and its limits, on the functions that run them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.entities import ENTITIES
from stowage.ids import new_operation_id
from stowage.postgres.bulk import Outcome, Stamp, delete_records
from stowage.postgres.idempotency import KeptAnswer
from tests.stack.office import Office, in_process

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
    execute = psycopg.Connection.execute

    def note(connection: psycopg.Connection, query: Any, *given: Any, **options: Any) -> Any:
        sent.append(query.as_string(connection) if hasattr(query, "as_string") else str(query))
        return execute(connection, query, *given, **options)

    with in_process(office.stack):
        monkeypatch.setattr(psycopg.Connection, "execute", note)
        yield sent
        monkeypatch.undo()


def test_the_number_of_statements_does_not_depend_on_the_number_of_ids(office: Office, statements: list[str]) -> None:
    numbers = count()
    seen: dict[str, set[int]] = {}

    def counted(what: str, answer: KeptAnswer) -> str:
        # Asking a kept connection whether it lives is none of the request's statements.
        number = sum(statement != "SELECT 1" for statement in statements)
        assert 0 < number <= 10, statements
        seen.setdefault(what, set()).add(number)
        statements.clear()
        assert answer.status == 200, answer.body[:300]
        return answer.body[16:].partition('"')[0]

    for size in (10, 10_000):
        accounts = office.accounts(*(f"a{next(numbers)}" for _ in range(size)))
        office.run(
            "INSERT INTO posts (id, account_id, url) SELECT 'p' || id, id, 'u' || id FROM accounts WHERE id = ANY(%s)",
            accounts,
        )
        statements.clear()
        move = ReassignRequest(ids=accounts, targetBrandId="brd_2", targetGroupId="grp_2")
        moved = counted("reassign", bulk_reassign(office.tenant, "me", move, NOW, f"key {size}"))
        counted("undo reassign", bulk_undo(office.tenant, "me", UndoRequest(operationId=moved), NOW, None))
        delete = DeleteRequest(ids=accounts, dataType="accounts")
        gone = counted("delete", bulk_delete(office.tenant, "me", delete, NOW, None))
        counted("undo delete", bulk_undo(office.tenant, "me", UndoRequest(operationId=gone), NOW, None))
        delete = DeleteRequest(ids=[f"p{record_id}" for record_id in accounts], dataType="posts")
        counted("delete posts", bulk_delete(office.tenant, "me", delete, NOW, None))
    assert all(len(numbers_of) == 1 for numbers_of in seen.values()), seen
    assert office.is_gapless()


def delete(app: psycopg.Connection, office: Office, entity: str, *ids: str, most: int = 100) -> Outcome:
    stamp = Stamp(new_operation_id(NOW), "me", NOW, NOW + timedelta(days=30))
    with app.transaction():
        return delete_records(app, office.tenant, ENTITIES[entity], ids, stamp, most_children=most)


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
