"""The purge: due on the clock, in batches, only what is past its time, and where it stopped it goes on."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from stowage.trash.due import next_purge
from stowage.trash.purging import purge_tenant
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process

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
    assert told["after"] == {"kind": "purge", "total": 1, "succeeded": 1, "failed": 0, "cascaded": 0}
    assert office.journal(operation)[0]["after"].keys() == {"$sha256"}
    assert office.caller("viewer").get(office.path("bulk/operations")).json()["pagination"]["total"] == 1


def journal_after(office: Office, operation: str) -> list[Any]:
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT operation FROM stowage.changes WHERE tenant = %s AND operation <> %s",
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
    deadline = time.monotonic() + 20
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
