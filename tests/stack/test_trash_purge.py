"""The purge: due on the clock, in batches, only what is past its time, and where it stopped it goes on."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import requests

from stowage.entities import ENTITIES
from stowage.ids import new_operation_id
from stowage.postgres.bulk import Stamp
from stowage.postgres.connection import PURGE, borrowed
from stowage.postgres.purge import append_event, purge_records
from stowage.postgres.trash import recount_trash
from stowage.trash.due import next_purge
from stowage.trash.purging import purge_tenant
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process, refusal
from tests.stack.route_surface import wait_until

LATER = timedelta(days=30, minutes=1)


@pytest.fixture
def here(stack: RunningStack) -> Iterator[None]:
    with in_process(stack):
        yield


def purge(office: Office, now: datetime, batches: int = 1_000) -> tuple[int, bool]:
    left = iter(range(batches))
    return purge_tenant(office.tenant, now, lambda: next(left, None) is not None)


@pytest.mark.usefixtures("here")
def test_only_what_is_past_its_time_goes(office: Office) -> None:
    office.accounts("a", "b", "c")
    office.posts("a", "p", "q")
    office.posts("b", "r")
    now = datetime.now(UTC)
    office.delete("p", data_type="posts")
    office.delete("a", "c")
    office.run("UPDATE accounts SET purge_at = purge_at + interval '1 day' WHERE id = 'c'")
    assert purge(office, now + timedelta(days=29, hours=23)) == (0, True)
    assert purge(office, now + LATER) == (3, True)
    assert set(office.rows("accounts")) == {"b", "c"}
    assert set(office.rows("posts")) == {"r"}
    assert office.trash()["pagination"]["total"] == 1
    assert purge(office, now + LATER) == (0, True)
    assert purge(office, now + LATER * 2) == (1, True)
    assert office.is_gapless()


@pytest.mark.usefixtures("here")
def test_it_stops_in_time_and_goes_on_where_it_stopped(office: Office) -> None:
    made = office.accounts(*(f"a{n:04}" for n in range(2_500)))
    office.delete(*made)
    later = datetime.now(UTC) + LATER
    assert purge(office, later, batches=1) == (1_000, False)
    assert len(office.rows("accounts")) == 1_500
    assert office.trash()["pagination"]["total"] == 1_500
    assert purge(office, later) == (1_500, True)
    assert office.rows("accounts") == {}


@pytest.mark.usefixtures("here")
def test_an_account_and_what_went_along_go_in_one_batch_however_many(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", *(f"p{n}" for n in range(1_500)))
    office.posts("b", "q")
    office.delete("a", "b")
    later = datetime.now(UTC) + LATER
    assert purge(office, later, batches=1) == (1_501, False)
    assert set(office.rows("accounts")) == {"b"}
    assert set(office.rows("posts")) == {"q"}
    assert purge(office, later) == (2, True)


@pytest.mark.usefixtures("here")
def test_what_belongs_to_another_goes_before_it(office: Office) -> None:
    office.accounts("a")
    office.run(
        "UPDATE accounts SET deleted_at = now(), purge_at = now();"
        "UPDATE groups SET deleted_at = now(), purge_at = now();"
        "UPDATE brands SET deleted_at = now(), purge_at = now()"
    )
    assert purge(office, datetime.now(UTC) + timedelta(seconds=1)) == (5, True)
    assert office.rows("brands") == office.rows("groups") == office.rows("accounts") == {}


@pytest.mark.usefixtures("here")
def test_what_is_still_needed_stays_and_holds_nothing_up(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "live")
    office.run("UPDATE accounts SET deleted_at = now(), purge_at = now()")
    assert purge(office, datetime.now(UTC) + timedelta(seconds=1)) == (1, True)
    assert set(office.rows("accounts")) == {"a"}
    assert office.live("posts") == {"live"}


@pytest.mark.usefixtures("here")
def test_what_a_table_of_the_product_refers_to_stays_and_holds_nothing_up(office: Office) -> None:
    names = office.accounts(*(f"a{n:02}" for n in range(20)))
    office.run(
        "CREATE TABLE bills (account text NOT NULL REFERENCES accounts); INSERT INTO bills VALUES ('a07'), ('a19')"
    )
    office.delete(*names)
    later = datetime.now(UTC) + LATER
    assert purge(office, later) == (18, True)
    assert set(office.rows("accounts")) == {"a07", "a19"}
    office.run("DELETE FROM bills")
    assert purge(office, later) == (2, True)


@pytest.mark.usefixtures("here")
def test_what_a_trigger_of_the_product_keeps_stays_and_ends_the_purge_all_the_same(office: Office) -> None:
    office.accounts("a", "b")
    office.run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE DELETE ON accounts FOR EACH ROW WHEN (OLD.id = 'a') EXECUTE FUNCTION keep()"
    )
    office.delete("a", "b")
    assert purge(office, datetime.now(UTC) + LATER) == (1, True)
    assert set(office.rows("accounts")) == {"a"}


@pytest.mark.usefixtures("here")
def test_what_lost_its_parent_to_sql_of_the_product_is_listed_by_itself_afterwards(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p")
    office.delete("a")
    office.run("UPDATE accounts SET deleted_at = NULL, purge_at = NULL, deleted_operation = NULL")
    assert office.trash()["items"] == []
    purge(office, datetime.now(UTC))
    assert [item["id"] for item in office.trash()["items"]] == ["p"]


@pytest.mark.usefixtures("here")
def test_each_batch_is_audited_and_leaves_ids_and_hashes_only(office: Office) -> None:
    office.accounts("a")
    operation = office.delete("a")["operationId"]
    purge(office, datetime.now(UTC) + LATER)
    gone, told = journal_after(office, operation)
    assert (gone["type"], gone["id"], gone["actor"], gone["after"]) == ("purged", "a", "stowage", None)
    assert len(gone["before"]["$sha256"]) == 64
    assert told["after"] == {"kind": "purge", "total": 1, "succeeded": 1, "failed": 0, "cascaded": {"posts": 0}}
    assert office.journal(operation)[0]["after"].keys() == {"$sha256"}
    assert office.caller("viewer").get(office.path("bulk/operations")).json()["pagination"]["total"] == 1


def events(office: Office) -> list[Any]:
    """What each `trash.purged` in the journal tells."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT entity, id = operation, actor, before, after FROM stowage.changes "
            "WHERE tenant = %s AND type = 'trash.purged' ORDER BY seq",
            (office.id,),
        ).fetchall()
    assert all(row[:4] == ("trash", True, "stowage", None) for row in found)
    return [row[4] for row in found]


@pytest.mark.usefixtures("here")
def test_a_purge_tells_once_what_went_however_many_calls_it_took(office: Office) -> None:
    office.accounts(*(f"a{n:04}" for n in range(1_200)), "late")
    office.posts("a0000", "p", "q")
    office.posts("late", "r")
    office.run("INSERT INTO tasks (id, title) VALUES ('tsk_1', 'x')")
    office.delete(*(f"a{n:04}" for n in range(1_200)))
    office.run("UPDATE tasks SET deleted_at = now(), purge_at = now()")
    later = datetime.now(UTC) + LATER
    first, second = purge(office, later, batches=2), purge(office, later, batches=3)
    assert not first[1]
    assert not second[1]
    assert min(first[0], second[0]) > 0
    assert events(office) == []
    assert purge(office, later) == (1_203 - first[0] - second[0], True)
    told = {"total": 1_203, "entities": {"accounts": 1_200, "posts": 2, "tasks": 1}}
    assert events(office) == [told]
    assert purge(office, later) == (0, True)
    assert events(office) == [told]
    office.delete("late")
    assert purge(office, later + LATER) == (2, True)
    assert events(office) == [told, {"total": 2, "entities": {"accounts": 1, "posts": 1}}]
    assert office.is_gapless()


@pytest.mark.usefixtures("here")
def test_what_an_admin_deleted_for_good_is_no_part_of_the_purges_event(office: Office) -> None:
    office.accounts("a", "b")
    office.delete("a", "b")
    assert office.caller("admin").delete(office.path("trash/a?dataType=accounts")).status_code == 200
    assert purge(office, datetime.now(UTC)) == (0, True)
    assert events(office) == []
    assert purge(office, datetime.now(UTC) + LATER) == (1, True)
    assert events(office) == [{"total": 1, "entities": {"accounts": 1}}]


@pytest.mark.usefixtures("here")
def test_two_purges_that_end_at_once_tell_once(office: Office) -> None:
    office.accounts("a")
    office.delete("a")
    now = datetime.now(UTC)
    told = []

    def tell(connection: psycopg.Connection) -> None:
        with connection.transaction():
            recount_trash(connection, office.tenant, [])
            told.append(append_event(connection, office.id, Stamp(new_operation_id(now), "stowage", now, now)))

    with psycopg.connect(office.app_url, autocommit=True) as one, psycopg.connect(office.app_url) as other:
        purge_records_of(office, "a", now + LATER)
        recount_trash(other, office.tenant, [])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(tell, one)
            wait_until(lambda: blocked(office, one.info.backend_pid))
            told.append(append_event(other, office.id, Stamp(new_operation_id(now), "stowage", now, now)))
            other.commit()
            second.result(20)
    assert told == [{"accounts": 1}, {}]
    assert len(events(office)) == 1


def purge_records_of(office: Office, record_id: str, at: datetime) -> None:
    with borrowed("main", PURGE) as connection, connection.transaction():
        stamp = Stamp(new_operation_id(at), "stowage", at, at)
        purge_records(connection, office.tenant, ENTITIES["accounts"], [record_id], stamp, only_due=True)


def blocked(office: Office, pid: int) -> bool:
    row = office.database.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone()
    return row == (True,)


@pytest.mark.usefixtures("here")
def test_the_event_is_audited_and_is_no_operation(office: Office) -> None:
    office.accounts("a")
    office.delete("a")
    purge(office, datetime.now(UTC) + LATER)
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT operation FROM stowage.changes WHERE tenant = %s AND type = 'trash.purged'", (office.id,)
        ).fetchone()
    assert row is not None
    response = office.caller().post(office.path("bulk/undo"), json={"operationId": row[0]})
    refusal(response, 404, "operation_not_found")
    listed = office.caller("viewer").get(office.path("bulk/operations")).json()
    assert [each["kind"] for each in listed["operations"]] == ["delete"]
    admin = office.caller("admin")
    asked = {"format": "ndjson", "mode": "all", "dataType": "audit", "filters": {"type": "trash.purged"}}
    export = admin.post(office.path("exports"), json=asked).json()["id"]
    done = wait_until(lambda: completed(admin.get(office.path(f"exports/{export}")).json()))
    (line,) = requests.get(done["downloadUrl"], timeout=20).text.splitlines()
    entry = json.loads(line)
    assert (entry["operation"], entry["entity"], entry["actor"]) == (row[0], "trash", "stowage")
    assert entry["after"] == {"total": 1, "entities": {"accounts": 1}}


def completed(record: Any) -> Any:
    return record if record["status"] == "completed" else None


def journal_after(office: Office, operation: str) -> list[Any]:
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT operation FROM stowage.changes "
            "WHERE tenant = %s AND operation <> %s AND type <> 'trash.purged'",
            (office.id, operation),
        ).fetchall()
    assert len(found) == 1
    return office.journal(found[0][0])


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-20T02:59:59+00:00", "2026-11-20T03:00:00+00:00"),
        ("2026-11-20T03:00:00+00:00", "2026-11-21T03:00:00+00:00"),
        ("2026-12-31T23:00:00+00:00", "2027-01-01T03:00:00+00:00"),
    ],
)
def test_it_is_due_once_a_day(now: str, then: str) -> None:
    assert next_purge(datetime.fromisoformat(now)) == datetime.fromisoformat(then)


def test_the_clock_calls_it_when_it_is_due(office: Office, dynamodb: Any) -> None:
    office.accounts("a")
    office.delete("a")
    office.run("UPDATE accounts SET deleted_at = now() - interval '2 days', purge_at = now() - interval '1 day'")
    key = {"pk": {"S": "CLOCK"}, "sk": {"S": "PURGE"}}
    table = office.stack.resources["Table"]
    dynamodb.delete_item(TableName=table, Key=key)
    client = office.stack.aws("lambda")
    try:
        answer = client.invoke(FunctionName=office.stack.resources["OnTickFunction"], Payload=b"{}")
        assert "FunctionError" not in answer, answer["Payload"].read()
        answer["Payload"].close()
    finally:
        client.close()
    deadline = time.monotonic() + 60
    while office.rows("accounts"):
        assert time.monotonic() < deadline, "not purged"
        time.sleep(0.1)
    while True:
        due = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]["due_at"]["S"]
        if datetime.fromisoformat(due) == next_purge(datetime.now(UTC)):
            return
        assert time.monotonic() < deadline, json.dumps(due)
        time.sleep(0.1)


def test_a_tenant_keeps_its_trash_for_as_long_as_it_says(office: Office) -> None:
    with office.database.transaction():
        office.database.execute("SET LOCAL ROLE stowage_owner")
        office.database.execute(
            "UPDATE control_plane.projects SET settings = '{\"trashDays\": 7}' WHERE id = %s", (office.id,)
        )
    client = office.stack.aws("lambda")
    try:
        client.invoke(FunctionName=office.stack.resources["CopyRegistryFunction"], Payload=b"{}")["Payload"].close()
    finally:
        client.close()
    office.accounts("a")
    office.delete("a")
    assert office.trash()["items"][0]["daysUntilPurge"] == 7
