"""A function that dies between two statements of an edit leaves all of it undone, or none of it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from stowage.entities.declared import ENTITIES
from stowage.postgres.trash.spans import recount_trash
from tests.conftest import RunningStack
from tests.faults.edits import ACTOR, CHANGED, KEY, NEW, carry_out, edits
from tests.stack.journal_story import adds_up
from tests.stack.office import Office, in_process, open_office
from tests.stack.route_surface import ended_job, start_backup

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.edits"])

WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND application_name = 'stowage' AND datname = current_database()
"""


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    made.accounts("a", "b", "c")
    made.posts("c", "p", "q")
    with in_process(stack):
        yield made
    made.close()


# ── Somebody else, in the way of one statement or another ────────────────────────────────────────────────────────────

LOCKS = {
    "parent": "SELECT FROM {schema}.groups WHERE id = %(group)s FOR UPDATE",
    "record": "SELECT FROM {schema}.accounts WHERE id = %(record)s FOR UPDATE",
    "child": "SELECT FROM {schema}.posts WHERE id = 'q' FOR UPDATE",
    "name": "INSERT INTO {schema}.accounts (id, username, platform, brand_id) VALUES ('new', %(name)s, 'x', 'brd_1')",
    "journal": "SELECT FROM stowage.positions WHERE tenant = %(tenant)s FOR UPDATE",
    "undo": "SELECT pg_advisory_xact_lock_shared(hashtextextended(concat_ws(E'\\x1f', 'forget', %(tenant)s::text), 0))",
    "entry": "SELECT FROM stowage.changes WHERE tenant = %(tenant)s AND id = 'c' FOR UPDATE",
    "answer": (
        "INSERT INTO stowage.idempotency_answers (tenant, caller, method, route, key, body_sha256, status, body) "
        "VALUES (%(tenant)s, %(actor)s, %(method)s, %(route)s, %(key)s, sha256(''), 200, '')"
    ),
}
"""What an edit waits for, in the order of its statements: the answer is the last, when all else has been done."""


@contextmanager
def held(office: Office, lock: str, **given: str) -> Iterator[None]:
    """Somebody else's transaction, in the way until it is over."""
    values = {"tenant": office.id, "group": "grp_1", "record": "c", "name": "user c"}
    values |= {"actor": ACTOR, "method": "POST", "key": KEY}
    with psycopg.connect(office.stack.database_url) as other:
        if " stowage." in LOCKS[lock]:
            other.execute("SET LOCAL ROLE stowage_owner")
        other.execute(LOCKS[lock].replace("{schema}", f'"{office.schema}"').encode(), values | given)
        yield
        other.rollback()


def kill_while_it_waits(office: Office, name: str, operation: str = "") -> None:
    """Start the edit in a process of its own, wait until it waits for a lock, and kill it."""
    function = PROCESSES.Process(target=carry_out, args=(dict(os.environ), name, office.tenant, operation))
    function.start()
    deadline = time.monotonic() + 15
    while not office.database.execute(WAITING).fetchall():
        assert function.exitcode is None, "it ends without waiting"
        assert time.monotonic() < deadline, "it does not wait"
        time.sleep(0.01)
    function.kill()
    function.join()
    assert function.exitcode == -signal.SIGKILL


def wait_until_nobody_waits(office: Office) -> None:
    deadline = time.monotonic() + 5
    while office.database.execute(WAITING).fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count_trash_anew(office: Office) -> None:
    """What the clock's own purge of the running stack writes of a tenant, at any moment, is there already."""
    with psycopg.connect(office.app_url, autocommit=True) as connection, connection.transaction():
        recount_trash(connection, office.tenant, list(ENTITIES.values()))


def snapshot(office: Office) -> tuple[object, ...]:
    """Everything of the tenant, its journal, its counts and its kept answers."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        kept = tuple(
            connection.execute(
                f"SELECT to_jsonb(kept) FROM stowage.{table} AS kept WHERE tenant = %s".encode(), (office.id,)
            ).fetchall()
            for table in ("changes", "trash_counts", "trash_spans", "idempotency_answers", "positions")
        )
    return office.rows("accounts"), office.rows("posts"), kept


# ── What was done before, so that there is something to edit ─────────────────────────────────────────────────────────


def nothing(office: Office) -> str:
    office.delete("b")  # so that the tenant has a journal
    return ""


def deleted(office: Office) -> str:
    return str(office.delete("a", "c")["operationId"])


def sent(office: Office, method: str, path: str, body: Any) -> str:
    response = office.caller().request(method, path, json=body)
    assert response.status_code < 300, response.text
    body = response.json()
    return str(body.get("data", body)["operationId"])


def reassigned(office: Office) -> str:
    body = {"ids": ["a", "c"], "targetBrandId": "brd_2"}
    return sent(office, "POST", office.path("bulk/reassign"), body)


def updated(office: Office) -> str:
    updates = [{"id": "c", **CHANGED}, {"id": "a", "followers": 5}]
    return sent(office, "PATCH", "/api/v1/bulk/accounts", {"updates": updates})


def imported(office: Office) -> str:
    items = [{"id": name, **NEW, "username": name} for name in ("d", "e")]
    return sent(office, "POST", "/api/v1/import/accounts", {"items": items})


def compared(office: Office) -> str:
    """A comparison with a backup since which `a` went to the trash and `c` was changed."""
    admin = office.caller("admin")
    backup = start_backup(admin, office.id)
    assert ended_job(admin, backup)["status"] == "completed"
    office.delete("a")
    sent(office, "PATCH", "/api/v1/bulk/accounts", {"updates": [{"id": "c", **CHANGED}]})
    job = admin.post(f"/api/backup/{backup}/compare", json={"entities": ["accounts"]}).json()["data"]
    assert ended_job(admin, job["id"])["status"] == "completed"
    return str(job["id"])


TARGET = {"group": "grp_2"}
FRESH = {"group": "grp_2", "name": "fresh"}


@pytest.mark.long(
    but=[
        "delete-nothing-record child journal answer-given0",
        "undo-updated-parent record name journal answer-given6",
        "purge-deleted-record child journal-given11",
        "update_records-nothing-parent record name journal answer-given14",
        "import-nothing-parent name journal answer-given15",
        "bring_back-compared-parent record name journal-given8",
    ]
)
@pytest.mark.parametrize(
    ("name", "before", "locks", "given"),
    [
        ("delete", nothing, "record child journal answer", {"route": "bulk/delete"}),
        ("delete_records", nothing, "record child journal answer", {"route": "bulk/accounts/delete"}),
        ("delete_record", nothing, "record child journal", {}),
        ("reassign", nothing, "parent record journal answer", TARGET | {"route": "bulk/reassign"}),
        ("undo", deleted, "parent record child name journal answer", {"route": "bulk/undo"}),
        ("undo", reassigned, "parent record journal answer", {"route": "bulk/undo"}),
        ("undo", updated, "parent record name journal answer", {"route": "bulk/undo"}),
        ("undo", imported, "record journal answer", {"route": "bulk/undo", "record": "e"}),
        ("bring_back", compared, "parent record name journal", {"group": "grp_1"}),
        ("restore", deleted, "parent record child name journal answer", {"route": "trash/c"}),
        ("delete_for_good", deleted, "record child journal", {}),
        ("purge", deleted, "record child journal", {}),
        ("create_record", nothing, "parent name journal answer", FRESH | {"route": "accounts"}),
        ("update_record", nothing, "parent record name journal", FRESH),
        (
            "update_records",
            nothing,
            "parent record name journal answer",
            FRESH | {"method": "PATCH", "route": "bulk/accounts"},
        ),
        ("import", nothing, "parent name journal answer", FRESH | {"route": "import/accounts"}),
    ],
)
def test_a_killed_function_has_done_nothing(
    office: Office, name: str, before: Any, locks: str, given: dict[str, str]
) -> None:
    operation = before(office)
    count_trash_anew(office)
    was = snapshot(office)
    for lock in locks.split():
        with held(office, lock, **given):
            kill_while_it_waits(office, name, operation)
        wait_until_nobody_waits(office)
        assert snapshot(office) == was, lock
    edits(office.tenant, operation)[name]()
    assert snapshot(office) != was, "the same again, key and all, is done"
    adds_up(office)


def test_a_killed_purge_has_done_whole_batches(office: Office) -> None:
    office.delete(*office.accounts(*(f"n{n:04}" for n in range(1_500))))
    with held(office, "record", record="n1400"):
        kill_while_it_waits(office, "purge")
    wait_until_nobody_waits(office)
    left = {f"n{n:04}" for n in range(1_000, 1_500)}
    assert set(office.rows("accounts")) == left | {"a", "b", "c"}
    adds_up(office)
    edits(office.tenant, "")["purge"]()
    assert set(office.rows("accounts")) == {"a", "b", "c"}
    assert office.trash()["pagination"]["total"] == 0
    adds_up(office)


AGE = "UPDATE stowage.changes SET at = at - interval '400 days' WHERE tenant = %s"


@pytest.mark.parametrize("lock", ["undo", "entry"])
def test_a_killed_purge_has_forgotten_nothing(office: Office, lock: str) -> None:
    office.delete("a", "b", "c")
    with office.database.transaction():
        office.database.execute("SET LOCAL ROLE stowage_owner")
        office.database.execute(AGE, (office.id,))
    was = snapshot(office)
    with held(office, lock):
        kill_while_it_waits(office, "forget")
    wait_until_nobody_waits(office)
    assert snapshot(office) == was
    assert edits(office.tenant, "")["forget"]() == (6, True)
