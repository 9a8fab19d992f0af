"""A function that dies between two statements of a bulk request leaves all of it undone, or none of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from stowage.trash.purging import purge_journal
from tests.conftest import ROOT, RunningStack
from tests.stack.office import Office, in_process, open_office
from tests.stack.route_surface import wait_until

# As the function of the route does it, in a process of its own that can be killed.
FUNCTION = """
from datetime import UTC, datetime
from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.tenants import Tenant
from stowage.trash.items import RestoreRequest
from stowage.trash.deleting import delete_item
from stowage.trash.purging import purge_journal
from stowage.trash.restoring import restore_item
tenant, now = Tenant({tenant!r}, {tenant!r}, "x"), datetime.now(UTC)
{call}
"""


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    made.accounts("a", "b", "c")
    made.posts("a", "p", "q")
    yield made
    made.close()


@contextmanager
def held(office: Office, statement: str) -> Iterator[None]:
    """Somebody else's transaction, in the way until it is over."""
    with psycopg.connect(office.stack.database_url) as other:
        if "stowage." in statement:
            other.execute("SET LOCAL ROLE stowage_owner")
        other.execute(statement.replace("{schema}", f'"{office.schema}"').encode(), {"tenant": office.id})
        yield
        other.rollback()


def kill_while_it_waits(office: Office, call: str) -> None:
    """Start the function, wait until it waits for a lock, and kill it."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}/layers/stowage",
        "AWS_ENDPOINT_URL": office.stack.aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STOWAGE_TABLE": office.stack.resources["Table"],
        "STOWAGE_EXPORTS_BUCKET": "none",
        "STOWAGE_BACKUPS_BUCKET": "none",
        "STOWAGE_DATABASE_URL": office.stack.database_url.replace("stowage_master@", ""),
    }
    program = FUNCTION.format(tenant=office.id, call=call)
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE) as function:
        deadline = time.monotonic() + 15
        while not waiting(office):
            assert function.poll() is None, function.stderr and function.stderr.read().decode()
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.02)
        function.send_signal(signal.SIGKILL)


def waiting(office: Office) -> bool:
    rows = office.database.execute(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'stowage' "
        "AND datname = current_database()"
    ).fetchall()
    return bool(rows)


def snapshot(office: Office) -> tuple[object, ...]:
    """Everything of the tenant, its journal, its counts and its kept answers."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        kept = tuple(
            tuple(connection.execute(f"SELECT * FROM stowage.{table} WHERE tenant = %s".encode(), (office.id,)))
            for table in ("changes", "trash_counts", "idempotency_answers")
        )
    return office.rows("accounts"), office.rows("posts"), kept


POSITION = "SELECT FROM stowage.positions WHERE tenant = %(tenant)s FOR UPDATE"
CHILD = "SELECT FROM {schema}.posts WHERE id = 'q' FOR UPDATE"
LAST = "SELECT FROM {schema}.accounts WHERE id = 'c' FOR UPDATE"


LOCKS = {"journal": POSITION, "child": CHILD, "record": LAST}
CASES = [
    pytest.param(what, lock, id=f"{what}-{name}")
    for what in ("delete", "reassign", "undo", "restore", "purge")
    for name, lock in LOCKS.items()
    if (what, name) != ("reassign", "child")  # it touches no posts
]


@pytest.mark.parametrize(("what", "lock"), CASES)
def test_a_killed_function_has_done_nothing(office: Office, what: str, lock: str) -> None:
    operation = office.delete("b")["operationId"]
    if what in ("undo", "restore", "purge"):
        operation = office.delete("a", "c")["operationId"]
    calls = {
        "delete": 'bulk_delete(tenant, "me", DeleteRequest(ids=["a", "c"], dataType="accounts"), now, "key")',
        "reassign": 'bulk_reassign(tenant, "me", ReassignRequest(ids=["a", "c"], targetBrandId="brd_2"), now, "key")',
        "undo": f'bulk_undo(tenant, "me", UndoRequest(operationId={operation!r}), now, "key")',
        "restore": f'restore_item(tenant, "me", {"c" if lock == LAST else "a"!r}, RestoreRequest(), now, "key")',
        "purge": f'delete_item(tenant, "me", {"c" if lock == LAST else "a"!r}, "accounts", now)',
    }
    before = snapshot(office)
    with held(office, lock):
        kill_while_it_waits(office, calls[what])
    deadline = time.monotonic() + 5
    while waiting(office):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert snapshot(office) == before
    again = {
        "delete": lambda: office.delete("a", "c")["succeeded"] == 2,
        "undo": lambda: office.undo(operation)["succeeded"] == 2,
        "restore": lambda: office.caller().post(office.path("trash/a")).status_code == 200,
        "purge": lambda: office.caller("admin").delete(office.path("trash/a?dataType=accounts")).status_code == 200,
        "reassign": lambda: True,
    }
    assert again[what]()
    assert office.is_gapless()


AGE = "UPDATE stowage.changes SET at = at - interval '400 days' WHERE tenant = %s"
HOLD_FORGETTING = (
    "SELECT pg_advisory_xact_lock_shared(hashtextextended(concat_ws(E'\\x1f', 'forget', %(tenant)s::text), 0))"
)
ENTRY = "SELECT FROM stowage.changes WHERE tenant = %(tenant)s AND id = 'c' FOR UPDATE"


@pytest.mark.parametrize("lock", [HOLD_FORGETTING, ENTRY], ids=["undo", "entry"])
def test_a_killed_purge_has_forgotten_nothing(office: Office, lock: str) -> None:
    office.delete("a", "b", "c")
    with office.database.transaction():
        office.database.execute("SET LOCAL ROLE stowage_owner")
        office.database.execute(AGE, (office.id,))
    before = snapshot(office)
    with held(office, lock):
        kill_while_it_waits(office, "purge_journal(tenant, now, lambda: True)")
    wait_until(lambda: not waiting(office))
    assert snapshot(office) == before
    with in_process(office.stack):
        assert purge_journal(office.tenant, datetime.now(UTC), lambda: True) == (6, True)
