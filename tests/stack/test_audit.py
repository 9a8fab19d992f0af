"""A record's history and the audit log: what the journal holds, a page at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from stowage.access.identity import Identity
from stowage.audit.reading import read_audit, read_history, wanted
from stowage.entities.declared import ENTITIES
from stowage.postgres.journal import entries
from stowage.postgres.reads import selection
from stowage.postgres.schema.migrations import apply_roles, migrate
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process, open_office, refusal
from tests.stack.servers import NEWEST, OLDER, Servers

pytestmark = pytest.mark.usefixtures("direct")

type Json = Any

ME = Identity("me", "admin", frozenset({"*"}), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    yield made
    made.close()


def history(office: Office, path: str, **query: Json) -> Json:
    answer = office.caller("admin").get(f"/api/v1/{path}/history", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def audit(office: Office, **query: Json) -> Json:
    answer = office.caller("admin").get("/api/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(page: Json) -> list[tuple[str, Json]]:
    return [(entry["type"], entry["before"]) for entry in page["data"]]


def test_a_record_tells_its_life_newest_first_with_who_and_when_and_what(office: Office) -> None:
    caller = office.caller(sub="ada")
    made = caller.post("/api/v1/tasks", json={"title": "One"}).json()["data"]
    path = f"tasks/{made['id']}"
    changed = caller.patch(f"/api/v1/{path}", json={"title": "Two", "priority": "high"}).json()["data"]
    caller.patch("/api/v1/bulk/tasks", json={"updates": [{"id": made["id"], "status": "completed"}]})
    caller.delete(f"/api/v1/{path}")
    office.caller(sub="eve").post(office.path(f"trash/{made['id']}/restore"), json={"dataType": "tasks"})
    page = history(office, path)
    assert (page["success"], page["next_cursor"]) == (True, None)
    assert told(page) == [
        ("restored", {}),
        ("deleted", {}),
        ("updated", {"status": "todo", "updatedAt": changed["updatedAt"]}),
        ("updated", {"title": "One", "priority": "medium", "updatedAt": made["updatedAt"]}),
        ("created", None),
    ]
    assert [entry["actor"] for entry in page["data"]] == ["eve", "ada", "ada", "ada", "ada"]
    assert (page["data"][4]["after"], page["data"][3]["after"]) == (made, changed)
    assert [entry["seq"] for entry in page["data"]] == sorted((e["seq"] for e in page["data"]), reverse=True)
    at = datetime.fromisoformat(page["data"][0]["at"])
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=2)
    assert set(page["data"][0]) == {"seq", "type", "operation", "actor", "at", "before", "after"}


def test_imports_undo_and_what_came_along_are_in_the_history(office: Office) -> None:
    office.accounts("a")
    items = [{"accountId": "a", "url": "https://x.example/1"}]
    made = office.caller().post("/api/v1/import/posts", json={"items": items}).json()["data"]
    post = made["items"][0]["id"]
    operation = office.delete("a")["operationId"]
    office.undo(operation)
    office.undo(made["operationId"])
    assert [entry["type"] for entry in history(office, f"posts/{post}")["data"]] == [
        "deleted", "restored", "deleted", "created",
    ]  # fmt: skip
    [restored, deleted] = history(office, "accounts/a")["data"]
    assert (deleted["operation"], restored["type"]) == (operation, "restored")


def test_a_record_that_is_purged_keeps_its_entries_without_images(office: Office) -> None:
    office.accounts("a")
    office.caller().patch("/api/v1/accounts/a", json={"followers": 9})
    office.delete("a")
    office.caller("admin").delete(office.path("trash/a"))
    page = history(office, "accounts/a")
    assert told(page) == [("purged", None), ("deleted", None), ("updated", None)]
    assert {entry["after"] for entry in page["data"]} == {None}


def test_a_record_without_entries_has_an_empty_history_and_no_record_has_none(office: Office) -> None:
    office.accounts("a")
    assert history(office, "accounts/a") == {"success": True, "data": [], "next_cursor": None}
    refusal(office.caller("admin").get("/api/v1/accounts/b/history"), 404, "record_not_found")
    refusal(office.caller("admin").get("/api/v1/nothing/b/history"), 404, "not_found")


def test_the_history_of_a_record_outlives_its_table(office: Office) -> None:
    made = office.caller().post("/api/v1/tasks", json={"title": "One"}).json()["data"]
    office.run("DROP TABLE tasks")
    assert [entry["type"] for entry in history(office, f"tasks/{made['id']}")["data"]] == ["created"]
    refusal(office.caller("admin").get("/api/v1/tasks/other/history"), 404, "table_absent")


def test_an_id_in_its_emitted_form_and_another_record_of_that_id(office: Office) -> None:
    raw = "https://x.example/p/1?x=2"
    office.accounts("a")
    made = office.caller().post("/api/v1/posts", json={"id": raw, "accountId": "a", "url": raw}).json()["data"]
    [entry] = history(office, f"posts/{made['id']}")["data"]
    assert entry["after"]["id"] == made["id"] != raw
    [found] = audit(office, entity="posts", id=raw)["data"]
    assert (found["id"], found["entity"], found["seq"]) == (made["id"], "posts", entry["seq"])


def test_pages_go_on_where_the_cursor_says(office: Office) -> None:
    office.accounts("a")
    for n in range(5):
        office.caller().patch("/api/v1/accounts/a", json={"followers": n + 1})
    whole = [entry["seq"] for entry in history(office, "accounts/a")["data"]]
    for read in (
        lambda **query: history(office, "accounts/a", **query),
        lambda **query: audit(office, **query),
        lambda **query: audit(office, entity="accounts", id="a", **query),
    ):
        seen, cursor = [], None
        while True:
            page = read(limit=2, **({"cursor": cursor} if cursor else {}))
            seen += [entry["seq"] for entry in page["data"]]
            assert len(page["data"]) <= 2
            if not (cursor := page["next_cursor"]):
                break
        assert seen == whole


@pytest.mark.long(but=["x-audit", "x-tasks/t/history", "-1-audit", "~-audit", "MQ-tasks/t/history"])
@pytest.mark.parametrize("path", ["audit", "tasks/t/history"])
@pytest.mark.parametrize("cursor", ["x", "-1", "1e3", "MQ", "~", "٣", "MjAyNC0wMS0wMSAx", "9" * 30, "0001-01-01"])
def test_a_cursor_that_is_none_of_ours_is_refused(office: Office, path: str, cursor: str) -> None:
    refusal(office.caller("admin").get(f"/api/v1/{path}", params={"cursor": cursor}), 400, "invalid_cursor")


def test_the_audit_log_is_filtered_by_each_of_its_filters(office: Office) -> None:
    office.accounts("a", "b")
    office.caller(sub="ada").patch("/api/v1/accounts/a", json={"followers": 1})
    office.caller(sub="eve").post("/api/v1/tasks", json={"title": "One"})
    operation = office.delete("a", "b")["operationId"]
    every = audit(office)["data"]
    assert [(entry["type"], entry["entity"]) for entry in every] == [
        ("operation", "accounts"), ("deleted", "accounts"), ("deleted", "accounts"), ("created", "tasks"),
        ("updated", "accounts"),
    ]  # fmt: skip
    assert every[0]["id"] == every[0]["operation"] == operation
    assert every[0]["after"]["kind"] == "delete"
    assert set(every[0]) == {"seq", "at", "actor", "type", "entity", "id", "operation", "before", "after"}
    moment = every[3]["at"]
    for query, seqs in {
        ("actor", "ada"): [1],
        ("actor", "nobody"): [],
        ("type", "updated, created"): [2, 1],
        ("entity", "tasks"): [2],
        ("id", "a"): [4, 1] if every[2]["id"] == "b" else [3, 1],
        ("since", moment): [5, 4, 3, 2],
        ("until", moment): [1],
    }.items():
        found = [entry["seq"] for entry in audit(office, **dict([query]))["data"]]
        assert found == seqs or query[0] == "id", query
    assert [e["id"] for e in audit(office, entity="accounts", id="a", type="deleted")["data"]] == ["a"]
    assert {e["id"] for e in audit(office, id="a")["data"]} == {"a"}
    assert audit(office, since="2001-01-01", until="2001-01-02")["data"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "20260101"},
        {"until": "0"},
        {"limit": 0},
        {"limit": 101},
        {"actor": "a\0b"},
        {"kind": "x"},
        {"id": "~AA"},
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(office: Office, query: Json) -> None:
    answer = office.caller("admin").get("/api/v1/audit", params=query)
    assert answer.status_code == 400, answer.text


def test_another_tenants_entries_are_not_shown(office: Office, database: psycopg.Connection) -> None:
    other = open_office(office.stack, database)
    try:
        for each in (office, other):
            each.accounts("a")
            each.caller().patch("/api/v1/accounts/a", json={"followers": 1})
        assert len(audit(office)["data"]) == len(history(office, "accounts/a")["data"]) == 1
        stranger = other.caller("admin")
        refusal(stranger.get("/api/v1/audit", params={"project_id": office.id}), 404, "tenant_not_found")
        headers = {"X-Tenant-Id": office.id}
        refusal(stranger.get("/api/v1/accounts/a/history", headers=headers), 404, "tenant_not_found")
        both = office.caller("admin", tenants=[office.id, other.id])
        assert both.get("/api/v1/audit").json()["code"] == "tenant_required"
        assert len(both.get("/api/v1/audit", params={"project_id": other.id}).json()["data"]) == 1
    finally:
        other.close()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_admins_read_them(office: Office, role: str) -> None:
    for path in ("/api/v1/audit", "/api/v1/accounts/a/history"):
        refusal(office.caller(role).get(path), 403, "role_too_low")


def put(office: Office, n: int, after: str, at: str = "2024-05-06T07:08:09Z", entity: str = "tasks") -> None:
    """An entry as an earlier version, or another program of ours, has left it."""
    office.database.execute(
        "INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at) "
        "SELECT %s, stowage.take_seqs(%s, 1) + 1, 'op_1', %s, %s, 'updated', '{\"title\": \"Old\"}', %s, 'ada', %s",
        (office.id, office.id, entity, f"t{n}", after, at),
    )


def test_entries_of_earlier_versions_are_shown_as_far_as_they_go(office: Office) -> None:
    put(office, 1, '{"title": "New", "secret": "x"}')
    [entry] = history(office, "tasks/t1")["data"]
    assert (entry["before"], entry["after"]) == ({"title": "Old"}, {"title": "New"})
    put(office, 2, '{"title": "New"}', entity="relics")
    [entry] = audit(office, entity="relics")["data"]
    assert (entry["before"], entry["after"]) == (None, None), "nobody says which of its fields are hidden"


def test_images_that_are_too_large_for_one_answer_make_a_page_shorter(office: Office) -> None:
    for n in range(3):
        put(office, n, f'{{"title": "{n}", "description": "{"x" * 1_000_000}"}}')
    put(office, 3, f'{{"title": "3", "description": "{"x" * 3_000_000}"}}')
    first = audit(office)
    assert (first["truncated"], first["data"][0]["after"], len(first["data"])) == (True, None, 1)
    second = audit(office, cursor=first["next_cursor"])
    assert "truncated" not in second
    assert [entry["after"]["title"] for entry in second["data"]] == ["2", "1"]
    third = audit(office, cursor=second["next_cursor"])
    assert ([entry["after"]["title"] for entry in third["data"]], third["next_cursor"]) == (["0"], None)


def test_an_image_that_postgres_cannot_write_as_text_is_left_out_too(office: Office) -> None:
    """A text of 180 MB of control characters, each of which is six letters of JSON: more than a text may have."""
    for n in (1, 2, 1):
        put(office, n, '{"title": "Small"}', at=datetime.now(UTC).isoformat())
    office.database.execute(
        "UPDATE stowage.changes SET after = jsonb_build_object('title', repeat(E'\\x01', 180000000))"
        " WHERE tenant = %s AND id = 't2'",
        (office.id,),
    )
    first = audit(office)
    assert ("truncated" in first, first["data"][0]["id"]) == (False, "t1")
    second = audit(office, cursor=first["next_cursor"])
    assert (second["truncated"], second["data"][0]["id"], second["data"][0]["after"]) == (True, "t2", None)
    assert [entry["id"] for entry in audit(office, cursor=second["next_cursor"])["data"]] == ["t1"]
    assert history(office, "tasks/t2")["data"][0]["after"] is None


def test_a_search_that_finds_little_goes_on_from_page_to_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at so many entries and no more, and says where the next goes on."""
    monkeypatch.setattr(entries, "MOST_SCANNED", 3)
    for n in range(7):
        put(office, n, "{}", at=f"2024-05-06T07:0{n % 4}:00Z")
    filters = wanted(None, None, None, "t2", None, None)
    found, cursor, pages = [], None, 0
    with in_process(office.stack):
        while True:
            page = json.loads(read_audit(office.tenant, ME, filters, cursor, 20))
            found += [entry["id"] for entry in page["data"]]
            pages += 1
            if not (cursor := page["next_cursor"]):
                break
    assert (found, pages) == (["t2"], 3)


def test_a_field_that_is_hidden_by_now_is_in_no_history_no_audit_log_and_no_export_of_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = office.caller().post("/api/v1/tasks", json={"title": "One", "description": "secret"}).json()["data"]
    tasks = ENTITIES["tasks"]
    shown = replace(tasks, own=tuple(field for field in tasks.own if field.name != "description"))
    monkeypatch.setitem(ENTITIES._made, "tasks", shown)
    monkeypatch.setattr(selection, "HIDDEN", {"tasks": ("description",)})
    with in_process(office.stack):
        pages = (
            read_history(office.tenant, ME, shown, made["id"], None, 20),
            read_audit(office.tenant, ME, wanted(None, None, None, None, None, None), None, 20),
        )
    assert all("One" in page and "secret" not in page and "description" not in page for page in pages)
    exported = selection.select(office.schema, office.id, "audit")
    statement = exported.select(column.value for column in exported.columns)
    with psycopg.connect(office.app_url) as connection:
        rows = connection.execute(statement).fetchall()
    assert "One" in str(rows)
    assert "secret" not in str(rows)


@pytest.fixture(scope="module", params=[OLDER, NEWEST])
def journal(servers: Servers, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A journal of 200,000 entries of two tenants."""
    with psycopg.connect(servers(request.param).make_database().url, autocommit=True) as connection:
        apply_roles(connection)
        migrate(connection)
        connection.execute(
            "INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, after, actor, at) "
            "SELECT tenant, n, 'op_' || n / 10, 'tasks', 't' || n % 5000, 'updated', '{\"title\": \"x\"}', "
            "       'user ' || n % 100, timestamptz '2024-01-01Z' + n * interval '1 minute' "
            "FROM generate_series(1, 100000) AS n, unnest(ARRAY['a', 'b']) AS tenant"
        )
        connection.execute("ANALYZE stowage.changes")
        yield connection


class Explained:
    """A connection whose statements are explained as they run; what each has read, in rows."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection, self.plans = connection, list[Json]()

    def execute(self, statement: Json, given: Json) -> psycopg.Cursor:
        self._explain(statement, given)
        return self._connection.execute(statement, given)

    @contextmanager
    def cursor(self, **options: Any) -> Iterator[Json]:
        with self._connection.cursor(**options) as cursor:

            def execute(statement: Json, given: Json) -> psycopg.Cursor:
                self._explain(statement, given)
                return cursor.execute(statement, given)

            yield SimpleNamespace(execute=execute)

    def _explain(self, statement: Json, given: Json) -> None:
        text = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(statement)
        [[[plan]]] = self._connection.execute(text, given).fetchall()
        self.plans.append(plan["Plan"])


def nodes(plan: Json) -> Iterator[Json]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize(
    "filters",
    [{}, {"entity": "tasks", "id": "t7"},
     {"since": datetime(2024, 2, 1, tzinfo=UTC), "until": datetime(2024, 2, 2, tzinfo=UTC)},
     {"actor": "user 7"}, {"actor": "nobody"}, {"types": ["purged"]}],
    ids=str,
)  # fmt: skip
def test_no_page_of_a_large_journal_reads_all_of_it(journal: psycopg.Connection, filters: Json) -> None:
    explained = Explained(journal)
    position = entries.Position(datetime(2024, 2, 20, tzinfo=UTC), 70_000)
    for before in (None, position):
        entries.read_entries(explained, "b", entries.Wanted(**filters), before, 20)  # type: ignore[arg-type]
    for plan in explained.plans:
        scans = [node for node in nodes(plan) if node.get("Relation Name") == "changes"]
        assert scans
        for scan in scans:
            assert scan["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"), scan
            removed = scan.get("Rows Removed by Filter", 0)
            assert (scan["Actual Rows"] + removed) * scan["Actual Loops"] <= entries.MOST_SCANNED


def test_a_records_history_is_found_by_its_index(journal: psycopg.Connection) -> None:
    statement = entries._shown(entries._OF_RECORD, entries._BY_SEQ)
    given = {"tenant": "b", "entity": "tasks", "id": "t7", "before": 2**62, "limit": 20, "bytes": 1_000_000}
    explained = Explained(journal)
    explained.execute(statement, given | {"records": list(entries.RECORD_TYPES)})
    [scan] = [node for node in nodes(explained.plans[0]) if node.get("Relation Name") == "changes"]
    assert scan["Index Name"] == "changes_record"
    assert scan["Actual Rows"] == 20
