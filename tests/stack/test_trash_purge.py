"""The purge: due on the clock, in batches, only what is past its time, and where it stopped it goes on."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
import requests

from stowage.basics.errors import UnavailableError
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.connection import PURGE, borrowed
from stowage.postgres.session.edit import Edit
from stowage.postgres.trash.purge import append_event, purge_records
from stowage.postgres.trash.spans import recount_trash
from stowage.trash.deleting import delete_item
from stowage.trash.due import next_purge
from stowage.trash.purging import purge_tenant
from tests.conftest import RunningStack
from tests.stack.office import Office, codes, in_process, refusal
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
    office.keep("accounts", "purge_at + interval '1 day'", "id = 'c'")
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
def test_an_account_with_more_than_a_batch_goes_after_its_posts_and_in_batches_as_they_do(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", *(f"p{n}" for n in range(2_500)))
    office.posts("b", "q")
    office.delete("p7", data_type="posts")
    office.delete("a", "b")
    later = datetime.now(UTC) + LATER
    assert purge(office, later) == (2_503, True)
    assert office.rows("accounts") == office.rows("posts") == {}
    assert max(batches_of(office)) == 1_000
    assert purges(office)[-1] == {"accounts": 1, "posts": 1}
    assert events(office) == [{"total": 2_503, "entities": {"accounts": 2, "posts": 2_501}}]
    assert office.trash()["pagination"]["total"] == 0
    assert office.is_gapless()


@pytest.mark.usefixtures("here")
def test_a_purge_that_stopped_amid_an_account_goes_on_and_nobody_gets_half_of_it_back(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", *(f"p{n}" for n in range(2_500)))
    operation = office.delete("a", "b")["operationId"]
    posts = office.rows("posts")
    later = datetime.now(UTC) + LATER
    counts = [office.trash()["pagination"]["total"]]
    for calls in range(1, 20):
        count, finished = purge(office, later, batches=calls)
        if 0 < count < 2_500 and not finished:
            break
    left = office.rows("posts")
    assert len(left) == 2_500 - count
    assert left.items() <= posts.items()
    assert "a" in office.rows("accounts")
    counts.append(office.trash()["pagination"]["total"])
    assert [item["id"] for item in office.trash()["items"]] == ["b"]
    assert counts == [2, 1]
    for body in ({}, {"onConflict": "rename"}):
        refusal(office.caller().post(office.path("trash/a"), json=body), 410, "purged")
    post = next(iter(left))
    refusal(office.caller().post(office.path(f"trash/{post}")), 409, "parent_in_trash")
    refusal(office.caller().post(office.path("trash/a"), json={"dataType": "posts"}), 404, "not_in_trash")
    assert office.delete("a", status=207)["results"][0]["code"] == "already_deleted"
    assert codes(office.undo(operation, status=207)) == {"a": "purged", "b": None}
    assert office.rows("posts") == left
    assert purge(office, later) == (2_501 - count, True)
    assert set(office.rows("accounts")) == {"b"}
    assert events(office) == [{"total": 2_501, "entities": {"accounts": 1, "posts": 2_500}}]
    assert office.is_gapless()


@pytest.mark.usefixtures("here")
def test_an_account_is_either_restored_or_purged_by_two_at_once(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(1_200)))
    office.delete("a")
    with psycopg.connect(office.app_url) as restoring, ThreadPoolExecutor(1) as pool:
        locked = f'SELECT FROM "{office.schema}".accounts FOR UPDATE'
        restoring.execute(locked.encode())
        purging = pool.submit(purge, office, datetime.now(UTC) + LATER)
        wait_until(lambda: blocks(office, restoring.info.backend_pid))
        restoring.execute(f'UPDATE "{office.schema}".accounts SET deleted_at = NULL'.encode())
        restoring.commit()
        assert purging.result(20) == (0, True)
    assert office.live("accounts") == {"a"}
    assert len(office.rows("posts")) == 1_200


@pytest.mark.usefixtures("here")
def test_what_the_products_own_sql_takes_back_amid_its_purge_loses_no_more(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(2_500)))
    office.delete("a")
    now = datetime.now(UTC)
    clock = iter([0.0, 1.0, 2.0, *(99.0 for _ in range(9))])
    with pytest.raises(UnavailableError):
        delete_item(office.edit(now), "a", "accounts", partial(next, clock))
    office.run("UPDATE accounts SET deleted_at = NULL")
    assert purge(office, now + LATER) == (0, True)
    assert office.live("accounts") == {"a"}
    assert len(office.rows("posts")) == 1_500
    # They are in the trash by themselves now, and go when they are due by themselves.
    assert office.trash()["pagination"]["total"] == 1_500


def blocks(office: Office, pid: int) -> bool:
    row = office.database.execute(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))", (pid,)
    ).fetchone()
    return row == (True,)


@pytest.mark.usefixtures("here")
def test_an_admin_who_is_short_of_time_repeats_and_goes_on(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(2_500)))
    office.delete("a")
    now = datetime.now(UTC)
    for left in (1_500, 500):
        clock = iter([0.0, 1.0, 2.0, *(99.0 for _ in range(9))])
        with pytest.raises(UnavailableError) as told:
            delete_item(office.edit(now), "a", "accounts", partial(next, clock))
        assert (told.value.code, told.value.status, told.value.retry_after) == ("purge_unfinished", 503, 1)
        assert set(office.rows("accounts")) == {"a"}
        assert len(office.rows("posts")) == left
    refusal(office.caller().post(office.path("trash/a")), 410, "purged")
    admin = office.caller("admin")
    assert admin.delete(office.path("trash/a?dataType=accounts")).json() == {"success": True, "id": "a"}
    assert office.rows("accounts") == office.rows("posts") == {}
    refusal(admin.delete(office.path("trash/a?dataType=accounts")), 410, "purged")
    assert {key for each in purges(office) for key in each} == {"accounts", "posts"}
    assert sum(each.get("posts", 0) for each in purges(office)) == 2_500
    assert purge(office, now) == (0, True)
    assert events(office) == []
    assert office.is_gapless()


@pytest.mark.usefixtures("here")
def test_the_daily_purge_ends_what_an_admin_began_whenever_it_would_be_due(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(1_500)))
    office.delete("a")
    now = datetime.now(UTC)
    clock = iter([0.0, 1.0, *(99.0 for _ in range(99))])
    with pytest.raises(UnavailableError):
        delete_item(office.edit(now), "a", "accounts", partial(next, clock))
    assert purge(office, now) == (1_501, True)
    assert office.rows("accounts") == office.rows("posts") == {}


@pytest.mark.usefixtures("here")
def test_what_is_needed_of_a_large_account_keeps_it_and_nothing_else(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(1_200)))
    office.run("CREATE TABLE bills (post text NOT NULL REFERENCES posts); INSERT INTO bills VALUES ('p7')")
    office.delete("a")
    later = datetime.now(UTC) + LATER
    assert purge(office, later) == (1_199, True)
    assert (set(office.rows("accounts")), set(office.rows("posts"))) == ({"a"}, {"p7"})
    assert purge(office, later) == (0, True)
    response = office.caller("admin").delete(office.path("trash/a?dataType=accounts"))
    refusal(response, 409, "conflict")
    office.run("DELETE FROM bills")
    assert purge(office, later) == (2, True)


def test_a_post_with_the_id_of_its_account_comes_along_like_any_other(office: Office) -> None:
    office.accounts("1")
    office.posts("1", "1")
    office.delete("1")
    response = office.caller().post(office.path("trash/1/restore"), json={"dataType": "posts"})
    refusal(response, 409, "parent_in_trash")
    assert [(item["type"], item["cascaded"]) for item in office.trash()["items"]] == [("account", {"posts": 1})]
    assert office.caller().post(office.path("trash/1"), json={"dataType": "accounts"}).status_code == 200
    assert (office.live("accounts"), office.live("posts")) == ({"1"}, {"1"})


def test_an_account_with_posts_outside_the_trash_is_not_begun_with(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(1_200)))
    office.delete("a")
    office.posts("a", "live")
    response = office.caller("admin").delete(office.path("trash/a?dataType=accounts"))
    refusal(response, 409, "has_children")
    assert office.trash()["items"][0]["cascaded"] == {"posts": 1_200}


def make_tasks(office: Office, count: int) -> None:
    office.run(
        "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@x.example'), ('v', 'Bob', 'bob@x.example');"
        "INSERT INTO tasks (id, title, assignee, updated_at) "
        f"SELECT 'tsk_' || n, 'Do', 'u', '2024-05-06 07:08:09+00' FROM generate_series(1, {count}) AS n;"
        "INSERT INTO tasks (id, title, assignee) VALUES ('tsk_v', 'Do', 'v')"
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("count", [3, 2_300])
def test_a_task_whose_user_goes_for_good_is_changed_as_any_other_and_says_so(office: Office, count: int) -> None:
    make_tasks(office, count)
    office.bin("users")
    office.bin("tasks", "id = 'tsk_2'", "now() + interval '1 day'")
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert purge(office, now) == (2, True)
    tasks = office.rows("tasks")
    assert {task["assignee"] for task in tasks.values()} == {None}
    assert {datetime.fromisoformat(task["updated_at"]) for task in tasks.values()} == {now}
    told = [row for row in entries(office) if row[0] == "tasks"]
    assert len(told) == count + 1
    assert {(row[1], row[2]) for row in told} == {("updated", task) for task in tasks}
    one = next(row for row in told if row[2] == "tsk_1")
    assert one[3]["assignee"] == "u"
    assert datetime.fromisoformat(one[3]["updated_at"]) == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert one[4]["assignee"] is None
    assert datetime.fromisoformat(one[4]["updated_at"]) == now
    assert max(batches_of(office)) <= 1_000
    assert events(office) == [{"total": 2, "entities": {"users": 2}}]
    assert office.is_gapless()


def test_an_admin_who_deletes_a_user_for_good_is_named_in_its_tasks_history(office: Office) -> None:
    make_tasks(office, 2)
    office.run("UPDATE users SET deleted_at = now() WHERE id = 'u'")
    admin = office.caller("admin")
    assert admin.delete(office.path("trash/u?dataType=users")).status_code == 200
    rows = entries(office)
    assert [row[:3] for row in rows] == [
        ("tasks", "updated", "tsk_1"),
        ("tasks", "updated", "tsk_2"),
        ("users", "purged", "u"),
        ("users", "operation", rows[0][6]),
    ]
    assert {(row[5], row[6]) for row in rows} == {(f"admin@{office.id}", rows[0][6])}
    assert office.rows("tasks")["tsk_v"]["assignee"] == "v"


def test_a_user_who_stays_keeps_the_tasks(office: Office) -> None:
    make_tasks(office, 2)
    office.run("CREATE TABLE bills (payer text NOT NULL REFERENCES users); INSERT INTO bills VALUES ('u')")
    office.bin("users", "id = 'u'")
    response = office.caller("admin").delete(office.path("trash/u?dataType=users"))
    refusal(response, 409, "conflict")
    assert office.rows("tasks")["tsk_1"]["assignee"] == "u"
    assert entries(office) == []


def entries(office: Office) -> list[Any]:
    """(entity, type, id, before, after, actor, operation) of a tenant's journal."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT entity, type, id, before, after, actor, operation FROM stowage.changes WHERE tenant = %s "
            "ORDER BY seq",
            (office.id,),
        ).fetchall()


def batches_of(office: Office) -> list[int]:
    """How many entries each of the purges' operations has, but for summaries."""
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM stowage.changes "
            "WHERE tenant = %s AND type IN ('purged', 'updated') GROUP BY operation",
            (office.id,),
        ).fetchall()
    return [row[0] for row in rows]


def purges(office: Office) -> list[dict[str, int]]:
    """What each purge's summary says went, by entity."""
    told = [(row[0], row[4]) for row in entries(office) if row[1] == "operation" and row[4]["kind"] == "purge"]
    return [
        {name: count for name, count in ({entity: after["succeeded"]} | after.get("cascaded", {})).items() if count}
        for entity, after in told
    ]


@pytest.mark.usefixtures("here")
def test_what_belongs_to_another_goes_before_it(office: Office) -> None:
    office.accounts("a")
    for table in ("accounts", "groups", "brands"):
        office.bin(table)
    assert purge(office, datetime.now(UTC) + timedelta(seconds=1)) == (5, True)
    assert office.rows("brands") == office.rows("groups") == office.rows("accounts") == {}


@pytest.mark.usefixtures("here")
def test_what_is_still_needed_stays_and_holds_nothing_up(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "live")
    office.bin("accounts")
    assert purge(office, datetime.now(UTC) + timedelta(seconds=1)) == (1, True)
    assert set(office.rows("accounts")) == {"a"}
    assert office.live("posts") == {"live"}


@pytest.mark.long(but=["ON DELETE SET NULL", "ON DELETE RESTRICT"])
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("action", ["", "ON DELETE RESTRICT", "ON DELETE SET NULL"])
def test_what_a_table_of_the_product_refers_to_stays_and_holds_nothing_up(office: Office, action: str) -> None:
    names = office.accounts(*(f"a{n:02}" for n in range(20)))
    office.run(
        f"CREATE TABLE bills (account text NOT NULL REFERENCES accounts {action});"
        "INSERT INTO bills VALUES ('a07'), ('a19')"
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
    office.run("UPDATE accounts SET deleted_at = NULL")
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


@pytest.mark.long
@pytest.mark.usefixtures("here")
def test_a_record_that_postgres_cannot_write_as_text_goes_too(office: Office) -> None:
    """180 MB of control characters, each of which is six letters of JSON: more than a text may have."""
    large = "title = repeat(E'\\x01', 180000000)"
    office.run("INSERT INTO tasks (id, title) VALUES ('a', 'x'), ('b', 'x')")
    office.run(f"UPDATE tasks SET {large} WHERE id = 'a'")
    answer = office.caller().post("/api/v1/bulk/tasks/delete", json={"ids": ["a", "b"]})
    assert answer.status_code == 200, answer.text
    assert purge(office, datetime.now(UTC) + LATER) == (2, True)
    assert office.rows("tasks") == {}
    images = office.run(
        "SELECT type, before, after FROM stowage.changes WHERE tenant = %s AND entity = 'tasks' AND id = 'a'", office.id
    )
    assert {kind for kind, _, _ in images} == {"deleted", "purged"}
    blanked = [image for _, *both in images for image in both if image is not None]
    assert [(each.keys(), len(each["$sha256"])) for each in blanked] == [({"$sha256"}, 64)] * 3


@pytest.mark.usefixtures("here")
def test_a_batch_that_takes_too_long_is_tried_record_by_record(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.run("INSERT INTO tasks (id, title) SELECT 't' || n, 'x' FROM generate_series(1, 9) n")
    ids = [f"t{n}" for n in range(1, 10)]
    assert office.caller().post("/api/v1/bulk/tasks/delete", json={"ids": ids}).status_code == 200
    sizes: list[int] = []

    def purge_few(*given: Any, **named: Any) -> Any:
        sizes.append(len(given[3]))
        if len(given[3]) > 4:
            raise UnavailableError("This took longer than it may.", "database_busy", retry_after=2)
        return purge_records(*given, **named)

    monkeypatch.setattr("stowage.trash.batches.purge_records", purge_few)
    assert purge(office, datetime.now(UTC) + LATER) == (9, True)
    assert (sizes, office.rows("tasks")) == ([9, 1, 2, 4, 2], {})


@pytest.mark.usefixtures("here")
def test_a_purge_tells_once_what_went_however_many_calls_it_took(office: Office) -> None:
    office.accounts(*(f"a{n:04}" for n in range(1_200)), "late")
    office.posts("a0000", "p", "q")
    office.posts("late", "r")
    office.run("INSERT INTO tasks (id, title) VALUES ('tsk_1', 'x')")
    office.delete(*(f"a{n:04}" for n in range(1_200)))
    office.bin("tasks")
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
            told.append(append_event(connection, Edit(office.tenant, "stowage", "admin", now)))

    with psycopg.connect(office.app_url, autocommit=True) as one, psycopg.connect(office.app_url) as other:
        purge_records_of(office, "a", now + LATER)
        recount_trash(other, office.tenant, [])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(tell, one)
            wait_until(lambda: blocked(office, one.info.backend_pid))
            told.append(append_event(other, Edit(office.tenant, "stowage", "admin", now)))
            other.commit()
            second.result(20)
    assert told == [{"accounts": 1}, {}]
    assert len(events(office)) == 1


def purge_records_of(office: Office, record_id: str, at: datetime) -> None:
    with borrowed("main", PURGE) as connection, connection.transaction():
        edit = Edit(office.tenant, "stowage", "admin", at)
        purge_records(connection, edit, ENTITIES["accounts"], [record_id], only_due=True)


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
    office.keep("accounts", "now() - interval '1 day'")
    key = {"pk": {"S": "CLOCK"}, "sk": {"S": "PURGE"}}
    table = office.stack.resources["Table"]
    dynamodb.delete_item(TableName=table, Key=key)
    office.stack.invoke("OnTickFunction")
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
    office.stack.invoke("CopyRegistryFunction")
    office.accounts("a")
    office.delete("a")
    assert office.trash()["items"][0]["daysUntilPurge"] == 7
