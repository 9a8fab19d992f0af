"""Tables that a tenant does not have, and tables that are not as they are declared: told in words, never a 500."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from stowage.trash.purging import purge_tenant
from tests.conftest import RunningStack
from tests.stack.file_import_surface import csv_file, ended, started
from tests.stack.office import Office, in_process, open_office, refusal

pytestmark = pytest.mark.usefixtures("direct")

type Json = Any


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    made.accounts("a", "b")
    yield made
    made.close()


@pytest.fixture
def without_posts(office: Office) -> Office:
    office.run("DROP TABLE posts")
    return office


POST = {"accountId": "a", "url": "https://x.example/1"}
REFUSED = {
    "list": ("GET", "/api/v1/posts", None),
    "sorted list": ("GET", "/api/v1/posts?sort=-likes&search=x", None),
    "filter by a field of another": ("GET", "/api/v1/posts?platform=x", None),
    "record": ("GET", "/api/v1/posts/p", None),
    "create": ("POST", "/api/v1/posts", POST),
    "PATCH": ("PATCH", "/api/v1/posts/p", {"likes": 1}),
    "DELETE": ("DELETE", "/api/v1/posts/p", None),
    "bulk update": ("PATCH", "/api/v1/bulk/posts", {"updates": [{"id": "p", "likes": 1}]}),
    "bulk deletion": ("POST", "/api/v1/bulk/posts/delete", {"ids": ["p"]}),
    "import": ("POST", "/api/v1/import/posts", {"items": [POST]}),
    "dashboard's deletion": ("POST", "/api/guilds/{id}/bulk/delete", {"ids": ["p"], "dataType": "posts"}),
    "trash of one type": ("GET", "/api/guilds/{id}/trash?type=posts", None),
    "restore": ("POST", "/api/guilds/{id}/trash/p/restore", {"dataType": "posts"}),
    "estimate": ("POST", "/api/guilds/{id}/exports/estimate", {"format": "csv", "mode": "all", "dataType": "posts"}),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_what_asks_for_a_table_that_the_tenant_lacks_is_refused_in_words_that_name_it(
    without_posts: Office, request_: tuple[str, str, Json]
) -> None:
    method, path, body = request_
    response = without_posts.caller("admin").request(method, path.replace("{id}", without_posts.id), json=body)
    told = refusal(response, 404, "table_absent")
    assert told["error"] == "This tenant has no table posts, so it has no posts."


def test_records_of_other_tables_are_served_without_the_one_that_is_absent(without_posts: Office) -> None:
    """Posts belong to accounts: deletions take them along, restores bring them back, purges take them away."""
    office, caller = without_posts, without_posts.caller("admin")
    assert caller.patch("/api/v1/accounts/a", json={"followers": 3}).status_code == 200
    deleted = caller.delete("/api/v1/accounts/a")
    assert deleted.status_code == 200, deleted.text
    page = office.trash()
    assert ([item["id"] for item in page["items"]], page["absent"]) == (["a"], ["posts"])
    assert caller.post(office.path("trash/a/restore")).status_code == 200
    operation = office.delete("a", "b")["operationId"]
    assert office.undo(operation)["succeeded"] == 2
    office.delete("b")
    assert caller.delete(office.path("trash/b")).status_code == 200
    assert set(office.rows("accounts")) == {"a"}
    assert office.is_gapless()


def test_a_reference_to_records_of_an_absent_table_is_any_text(office: Office) -> None:
    """A task's assignee is a user; without a table of users nobody says which there are."""
    office.run("DROP TABLE users CASCADE")
    caller = office.caller()
    made = caller.post("/api/v1/tasks", json={"title": "One", "assignee": "usr_1"})
    assert (made.status_code, made.json()["data"]["assignee"]) == (201, "usr_1"), made.text
    changed = caller.patch(f"/api/v1/tasks/{made.json()['data']['id']}", json={"assignee": "usr_2"})
    assert changed.json()["data"]["assignee"] == "usr_2"
    items = [{"title": "Two", "assignee": "usr_1"}, {"title": "Three"}]
    imported = caller.post("/api/v1/import/tasks", json={"items": items}).json()["data"]
    assert imported["created"] == 2
    operation = imported["operationId"]
    assert office.undo(operation)["succeeded"] == 2


def test_the_purge_goes_on_without_the_absent_table(without_posts: Office) -> None:
    office = without_posts
    office.delete("a")
    office.keep("accounts", "now() - interval '1 day'", "id = 'a'")
    with in_process(office.stack):
        from datetime import UTC, datetime

        assert purge_tenant(office.tenant, datetime.now(UTC), lambda: True) == (1, True)
    assert set(office.rows("accounts")) == {"b"}


def exported(office: Office, data_type: str) -> Json:
    caller = office.caller("admin")
    asked = caller.post(office.path("exports"), json={"format": "ndjson", "mode": "all", "dataType": data_type})
    assert asked.status_code == 202, asked.text
    for _ in range(5):
        caller.get(office.path(f"exports/{asked.json()['id']}/progress?wait=20"))
        record = caller.get(office.path(f"exports/{asked.json()['id']}")).json()
        if record["status"] in ("completed", "failed"):
            return record
    raise AssertionError(f"the export has not ended: {record}")


def test_an_export_of_everything_leaves_out_the_absent_table_and_says_so(without_posts: Office) -> None:
    office = without_posts
    estimate = {"format": "csv", "mode": "all", "dataType": "gdpr"}
    assert office.caller("admin").post(office.path("exports/estimate"), json=estimate).status_code == 200
    record = exported(office, "gdpr")
    assert (record["status"], record["absent"]) == ("completed", ["posts"]), record
    file = office.caller("admin").get(record["downloadUrl"])
    names = zipfile.ZipFile(io.BytesIO(file.content)).namelist()
    assert "posts.ndjson" not in names
    assert {"accounts.ndjson", "brands.ndjson", "audit.ndjson"} <= set(names)


def test_an_export_of_the_absent_table_fails_with_words_that_name_it(without_posts: Office) -> None:
    record = exported(without_posts, "posts")
    assert record["status"] == "failed"
    assert record["errorMessage"] == "This tenant has no table posts, so it has no posts."


def test_a_file_import_into_the_absent_table_fails_with_words_that_name_it(without_posts: Office) -> None:
    """Whoever takes the file knows no table yet; the run does."""
    caller = without_posts.caller("admin")
    file = csv_file("accountId,url", "a,https://x.example/1")
    job = ended(caller, started(caller, "posts", "csv", file, without_posts.id))
    assert (job["status"], job["attempts"]) == ("failed", 1), job
    assert job["last_error"] == "This tenant has no table posts, so it has no posts."


def test_a_tenant_that_has_every_table_hears_of_no_absent_one(office: Office) -> None:
    assert "absent" not in office.trash()
    assert "absent" not in exported(office, "gdpr")


def test_a_table_is_there_again_at_once(without_posts: Office) -> None:
    office = without_posts
    assert office.caller().get("/api/v1/posts").status_code == 404
    office.run('CREATE TABLE posts (LIKE "tenant_acme".posts INCLUDING ALL)')
    office.run("GRANT ALL ON posts TO stowage_app")
    assert office.caller().get("/api/v1/posts").json()["data"] == []


DIFFERS = {
    "a column gone": ("ALTER TABLE tasks DROP title", "GET", "/api/v1/tasks", None, "there is no column title"),
    "a column renamed": (
        "ALTER TABLE tasks RENAME priority TO prio", "GET", "/api/v1/tasks/t", None, "there is no column priority",
    ),
    "a column of the trash gone": (
        "ALTER TABLE tasks DROP deleted_at", "GET", "/api/v1/tasks", None, "there is no column deleted_at",
    ),
    "a creation": (
        "ALTER TABLE tasks DROP title", "POST", "/api/v1/tasks", {"title": "x"}, "there is no column title",
    ),
    "a change": (
        "ALTER TABLE tasks DROP title", "PATCH", "/api/v1/tasks/t", {"title": "x"}, "there is no column title",
    ),
    "a bulk change": (
        "ALTER TABLE tasks DROP title", "PATCH", "/api/v1/bulk/tasks", {"updates": [{"id": "t", "title": "x"}]},
        "there is no column title",
    ),
    "a deletion": (
        "ALTER TABLE tasks DROP title", "DELETE", "/api/v1/tasks/t", None, "there is no column title",
    ),
    "an import": (
        "ALTER TABLE tasks DROP title", "POST", "/api/v1/import/tasks", {"items": [{"title": "x"}]},
        "there is no column title",
    ),
    "a key of another type": (
        "ALTER TABLE tasks DROP id, ADD id bigint PRIMARY KEY DEFAULT 7", "GET", "/api/v1/tasks/t", None,
        "id is bigint, not text",
    ),
    "a filter of another type": (
        "ALTER TABLE tasks DROP title, ADD title int", "GET", "/api/v1/tasks?title=x", None,
        "title is integer, not text",
    ),
    "a moment that is none": (
        "ALTER TABLE tasks ALTER created_at DROP DEFAULT, ALTER created_at TYPE text", "GET",
        "/api/v1/tasks?createdAfter=2024-01-01", None, "created_at is text, not",
    ),
    "an estimate": (
        "ALTER TABLE tasks DROP title", "POST", "/api/guilds/{id}/exports/estimate",
        {"format": "csv", "mode": "all", "dataType": "tasks"}, "there is no column title",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERS.values(), ids=DIFFERS)
def test_a_table_that_is_not_as_it_is_declared_says_what_differs(
    office: Office, case: tuple[str, str, str, Json, str]
) -> None:
    statement, method, path, body, sentence = case
    office.run("INSERT INTO tasks (id, title) VALUES ('t', 'One')")
    office.run(statement)
    response = office.caller("admin").request(method, path.replace("{id}", office.id), json=body)
    told = refusal(response, 503, "declaration_differs")
    assert told["error"].startswith(f"The tenant's tables are not as they are declared (tasks: {sentence}")
    assert told["error"].endswith("`python -m stowage.entities check` tells everything.")


def test_a_tenant_without_its_schema_is_told_so(office: Office) -> None:
    office.run(f'DROP SCHEMA "{office.schema}" CASCADE')
    told = refusal(office.caller().get("/api/v1/tasks"), 503, "schema_missing")
    assert told["error"] == f"There is no schema {office.schema} in the tenant's database."
