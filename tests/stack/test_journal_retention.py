"""The journal's retention: what is past AuditDays goes, oldest first and whole operations at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from stowage.basics.ids import rfc3339
from stowage.postgres.journal.operations import lock_operation
from stowage.postgres.trash.purge import forget_changes
from stowage.settings import settings
from stowage.tenants import Tenant
from stowage.trash.purging import purge_journal, purge_tenant, purge_trash
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process, open_office, refusal

NOW = datetime.now(UTC)
LONG_AGO = timedelta(days=366)


@pytest.fixture(scope="module", autouse=True)
def no_other_purge(stack: RunningStack, dynamodb: Any) -> Iterator[None]:
    """The stack's own clock calls no purge meanwhile: it would forget what these tests forget."""
    clock = {"pk": {"S": "CLOCK"}, "sk": {"S": "PURGE"}}

    def due_in(hours: int) -> None:
        due = {"S": rfc3339(datetime.now(UTC) + timedelta(hours=hours))}
        dynamodb.put_item(TableName=stack.resources["Table"], Item=clock | {"due_at": due})

    due_in(hours=1)
    yield
    due_in(hours=0)


@pytest.fixture
def here(stack: RunningStack) -> Iterator[None]:
    with in_process(stack):
        yield


@pytest.fixture
def neighbour(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    yield made
    made.close()


APPEND = """
WITH taken AS MATERIALIZED (SELECT stowage.take_seqs(%(tenant)s, %(count)s) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT %(tenant)s, base + n, %(operation)s, %(entity)s, coalesce(%(id)s, 'acc_' || n), %(type)s, NULL, %(after)s, 'ada',
       %(at)s
FROM taken, generate_series(1, %(count)s) AS n
"""


def append(office: Office, operation: str, age: timedelta, number: int = 1, *, summary: bool = False) -> None:
    """Append so many entries of that age, or the operation's summary, as the application would have."""
    told = {"kind": "update", "total": 1, "succeeded": 1, "failed": 0}
    given = {
        "tenant": office.id,
        "operation": operation,
        "count": number,
        "entity": "accounts",
        "id": operation if summary else None,
        "type": "operation" if summary else "updated",
        "after": Jsonb(told if summary else {"username": "x"}),
        "at": NOW - age,
    }
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        connection.execute(APPEND, given)


def age(office: Office, days: int) -> None:
    """Let all that the journal holds be older by so many days."""
    with office.database.transaction():
        office.database.execute("SET LOCAL ROLE stowage_owner")
        office.database.execute(
            "UPDATE stowage.changes SET at = at - %s * interval '1 day' WHERE tenant = %s", (days, office.id)
        )


def entries(office: Office) -> list[tuple[int, str, str]]:
    """The journal's numbers, operations and types."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT seq, operation, type FROM stowage.changes WHERE tenant = %s ORDER BY seq", (office.id,)
        ).fetchall()


def operations(office: Office) -> list[str]:
    listed = office.caller("viewer").get(office.path("bulk/operations")).json()
    assert listed["pagination"]["total"] == len(listed["operations"])
    return [each["id"] for each in listed["operations"]]


def forget(office: Office, tenant: Tenant | None = None, batches: int = 1_000) -> tuple[int, bool]:
    left = iter(range(batches))
    return purge_journal(tenant or office.tenant, NOW, lambda: next(left, None) is not None)


@pytest.mark.usefixtures("here")
def test_old_entries_go_and_later_ones_stay_with_their_numbers(office: Office, neighbour: Office) -> None:
    append(office, "op_1", LONG_AGO, 3)
    append(neighbour, "op_1", LONG_AGO, 2)
    append(office, "op_2", timedelta(days=364), 2)
    append(office, "op_3", LONG_AGO)
    assert forget(office) == (3, True)
    assert entries(office) == [(4, "op_2", "updated"), (5, "op_2", "updated"), (6, "op_3", "updated")]
    assert len(entries(neighbour)) == 2
    assert forget(office) == (0, True)
    append(office, "op_4", timedelta(0))
    assert entries(office)[-1] == (7, "op_4", "updated")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("days", "stay"), [("30", 1), ("90", 2), ("365", 3), ("0", 4)])
def test_it_is_the_deployments_parameter(office: Office, days: str, stay: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, old in enumerate((4_000, 200, 60, 20)):
        append(office, f"op_{n}", timedelta(days=old))
    monkeypatch.setenv("STOWAGE_AUDIT_DAYS", days)
    settings.cache_clear()
    assert forget(office) == (4 - stay, True)
    assert len(entries(office)) == stay


@pytest.mark.usefixtures("here")
def test_a_tenants_journal_lives_as_long_as_its_trash(office: Office) -> None:
    append(office, "op_1", timedelta(days=900))
    append(office, "op_2", LONG_AGO)
    assert forget(office, Tenant(office.id, office.id, "x", trash_days=800)) == (1, True)
    assert [operation for _, operation, _ in entries(office)] == ["op_2"]
    assert forget(office, Tenant(office.id, office.id, "x", trash_days=7)) == (1, True)


@pytest.mark.usefixtures("here")
def test_it_stops_in_time_and_goes_on_where_it_stopped(office: Office) -> None:
    append(office, "op_1", LONG_AGO, 4_000)
    append(office, "op_2", LONG_AGO, 21_000)
    append(office, "op_3", timedelta(days=1))
    assert forget(office, batches=0) == (0, False)
    assert forget(office, batches=1) == (10_000, False)
    left = entries(office)
    assert (left[0][0], left[-1][0], len(left)) == (10_001, 25_001, 15_001)
    assert forget(office) == (15_000, True)
    assert entries(office) == [(25_001, "op_3", "updated")]


@pytest.mark.usefixtures("here")
def test_an_operation_of_which_some_has_gone_cannot_be_undone(office: Office) -> None:
    append(office, "op_0", LONG_AGO, summary=True)
    append(office, "op_1", LONG_AGO, 12_000)
    append(office, "op_1", LONG_AGO, summary=True)
    append(office, "op_2", LONG_AGO, summary=True)
    assert operations(office) == ["op_2", "op_1", "op_0"]
    assert forget(office, batches=1) == (10_001, False)
    assert operations(office) == ["op_2"]
    response = office.caller().post(office.path("bulk/undo"), json={"operationId": "op_1"})
    refusal(response, 404, "operation_not_found")
    assert forget(office) == (2_002, True)
    assert entries(office) == []


@pytest.mark.usefixtures("here")
def test_an_operation_that_ended_later_stays_whole(office: Office) -> None:
    append(office, "op_1", LONG_AGO)
    append(office, "op_import", LONG_AGO, 3)
    append(office, "op_2", LONG_AGO)
    append(office, "op_import", timedelta(days=364))
    append(office, "op_import", timedelta(days=364), summary=True)
    assert forget(office) == (1, True)
    assert [seq for seq, _, _ in entries(office)] == [2, 3, 4, 5, 6, 7]
    age(office, 2)
    assert forget(office) == (6, True)


@pytest.mark.usefixtures("here")
def test_what_is_being_undone_is_not_forgotten_meanwhile(office: Office, neighbour: Office) -> None:
    for each in (office, neighbour):
        append(each, "op_1", LONG_AGO)
        append(each, "op_1", LONG_AGO, summary=True)
    long_ago = NOW - timedelta(days=365)
    purge_url = office.stack.url_as("stowage_purge")
    with psycopg.connect(office.app_url) as undoing, psycopg.connect(purge_url, autocommit=True) as purging:
        assert lock_operation(undoing, office.id, "op_1") is not None
        purging.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            forget_changes(purging, office.id, long_ago)
        assert forget_changes(purging, neighbour.id, long_ago) == 2
        undoing.rollback()
        assert forget_changes(purging, office.id, long_ago) == 2
        assert lock_operation(undoing, office.id, "op_1") is None


@pytest.mark.usefixtures("here")
def test_what_lies_in_the_trash_comes_back_without_its_journal(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "p")
    operation = office.delete("a", "b")["operationId"]
    age(office, 366)
    assert forget(office)[1]
    assert entries(office) == []
    refusal(office.caller().post(office.path("bulk/undo"), json={"operationId": operation}), 404, "operation_not_found")
    assert operations(office) == []
    assert office.trash()["pagination"]["total"] == 2
    response = office.caller().post(office.path("trash/a"))
    assert (response.status_code, response.json()["item"]["cascaded"]) == (200, {"posts": 1})
    assert office.live("posts") == {"p"}
    assert office.caller("admin").delete(office.path("trash/b")).status_code == 200


@pytest.mark.usefixtures("here")
def test_that_something_was_purged_is_known_for_as_long_as_the_journal_says_so(office: Office) -> None:
    office.accounts("a")
    office.delete("a")
    purge_tenant(office.tenant, NOW + timedelta(days=31), lambda: True)
    refusal(office.caller("admin").delete(office.path("trash/a")), 410, "purged")
    age(office, 400)
    assert forget(office)[1]
    refusal(office.caller("admin").delete(office.path("trash/a")), 404, "not_in_trash")


@pytest.mark.usefixtures("here")
def test_an_answer_is_replayed_when_its_journal_is_gone(office: Office) -> None:
    office.accounts("a")
    body, key = {"ids": ["a"], "dataType": "accounts"}, {"Idempotency-Key": "once"}
    caller = office.caller()
    first = caller.post(office.path("bulk/delete"), json=body, headers=key)
    age(office, 366)
    assert forget(office)[1]
    again = caller.post(office.path("bulk/delete"), json=body, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.usefixtures("here")
def test_a_purge_of_many_calls_comes_to_every_tenant(office: Office, neighbour: Office) -> None:
    for each in (office, neighbour):
        append(each, "op_1", LONG_AGO, 11_000)
    calls, forgotten, finished = 0, 0, 0
    while not finished:
        told = purge_trash(NOW, clock=count().__next__, budget_seconds=20)
        calls, forgotten, finished = calls + 1, forgotten + told["forgotten"], told["finished"]
    assert calls > 1, calls
    assert forgotten >= 22_000
    assert entries(office) == entries(neighbour) == []


@pytest.mark.usefixtures("here")
def test_a_tenant_of_which_nothing_can_go_holds_up_no_others(office: Office, neighbour: Office) -> None:
    office.delete(*office.accounts(*(f"a{n:03}" for n in range(200))))
    office.run(
        "CREATE TABLE bills (account text NOT NULL REFERENCES accounts); INSERT INTO bills SELECT id FROM accounts"
    )
    neighbour.delete(*neighbour.accounts("a", "b"))
    for each in (office, neighbour):
        each.keep("accounts", "now() - interval '1 day'")
    told: dict[str, int] = {}
    for _ in range(30):
        told = purge_trash(datetime.now(UTC), clock=count().__next__, budget_seconds=60)
        if told["finished"]:
            break
    assert told["finished"]
    assert (len(office.rows("accounts")), neighbour.rows("accounts")) == (200, {})


def test_the_daily_purge_does_it_for_every_tenant(office: Office, neighbour: Office) -> None:
    office.accounts("a")
    office.delete("a")
    office.keep("accounts", "now() - interval '1 day'")
    append(neighbour, "op_1", LONG_AGO, 3)
    append(neighbour, "op_2", timedelta(days=100))
    office.stack.invoke("PurgeTrashFunction")
    assert entries(neighbour) == [(4, "op_2", "updated")]
    assert [kind for _, _, kind in entries(office)] == ["deleted", "operation", "purged", "operation", "trash.purged"]
