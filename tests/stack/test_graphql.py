"""POST /api/v1/graphql: records by one request, as the routes of records give and take them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
from graphql import build_client_schema, get_introspection_query, print_schema

from stowage import graphql
from stowage.basics import sizes
from stowage.basics.ids import encode_id
from stowage.graphql import OWN, requests
from tests.conftest import Api
from tests.stack.office import Office
from tests.stack.route_surface import refusal

type Json = Any

ROUTE = "/api/v1/graphql"
pytestmark = pytest.mark.usefixtures("direct")


@pytest.fixture
def operator(office: Office) -> Api:
    return office.caller("operator")


def ask(caller: Api, query: str, variables: Json = None, **headers: str) -> Json:
    """The answer's body; a request that was executed, or that the older media type hides behind a 200."""
    response = caller.post(ROUTE, json={"query": query, "variables": variables}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def data_of(caller: Api, query: str, variables: Json = None, **headers: str) -> Json:
    told = ask(caller, query, variables, **headers)
    assert "errors" not in told, told
    return told["data"]


def codes(told: Json) -> list[tuple[Json, str]]:
    return [(error.get("path"), error["extensions"]["code"]) for error in told["errors"]]


@contextmanager
def statements() -> Iterator[list[str]]:
    """What this process asks Postgres for meanwhile, but for what every request begins with."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def note(cursor: psycopg.Cursor, query: Any, *given: Any, **options: Any) -> Any:
        text = query.as_string(cursor) if hasattr(query, "as_string") else str(query)
        if text != "SELECT 1":
            sent.append(text)
        return execute(cursor, query, *given, **options)

    with mock.patch.object(psycopg.Cursor, "execute", note):
        yield sent


def nodes(connection: Json) -> list[Json]:
    return [edge["node"] for edge in connection["edges"]]


def test_a_list_is_the_routes_own(operator: Api, office: Office) -> None:
    office.accounts("a/b?c", "b", "c")
    listed = operator.get("/api/v1/accounts?limit=2&page=1&sort=-id&platform=x,y&createdAfter=2020-01-01").json()
    told = data_of(
        operator,
        """query ($limit: Int, $of: AccountFilter) {
          accounts(page: 1, limit: $limit, sort: "-id", filter: $of) {
            totalCount
            pageInfo { hasNextPage hasPreviousPage page totalPages }
            edges { node { ...whole } }
          }
        }
        fragment whole on Account {
          id username displayName platform brandId groupId followers status createdAt updatedAt
        }""",
        {"limit": 2, "of": {"platform": ["x", "y"], "createdAfter": "2020-01-01"}},
    )["accounts"]
    assert nodes(told) == listed["data"]
    assert told["totalCount"] == 3
    assert told["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False, "page": 1, "totalPages": 2}
    last = data_of(operator, "{ accounts(page: 2, limit: 2) { pageInfo { hasNextPage hasPreviousPage } } }")
    assert last["accounts"]["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": True}
    one = data_of(operator, 'query ($id: ID!) { account(id: $id) { id username } none: account(id: "z") { id } }',
                  {"id": listed["data"][1]["id"]})  # fmt: skip
    assert (one["account"]["id"], one["none"]) == (listed["data"][1]["id"], None)


def test_what_records_refer_to_is_read_once_for_all_of_them(operator: Api, office: Office) -> None:
    office.run("INSERT INTO users (id, name, email) SELECT 'u' || n, 'U' || n, n FROM generate_series(1, 40) AS n")
    office.run(
        "INSERT INTO tasks (id, title, assignee) "
        "SELECT 't' || n, n, CASE WHEN n > 2 THEN 'u' || (mod(n, 40) + 1) END FROM generate_series(1, 100) AS n"
    )
    office.run("UPDATE users SET deleted_at = now() WHERE id = 'u5'")
    query = "{ tasks(limit: 100) { edges { node { id assigneeId assignee { id name } } } } }"
    data_of(operator, query)  # the process's connection is made
    with statements() as sent:
        told = nodes(data_of(operator, query)["tasks"])
    assert len(sent) == 2, sent
    assert len(told) == 100
    for task in told:
        user = task["assigneeId"]
        is_there = user not in (None, "u5")
        assert task["assignee"] == ({"id": user, "name": f"U{user[1:]}"} if is_there else None)
    assert {task["assigneeId"] for task in told} == {None, *(f"u{n}" for n in range(1, 41))}

    office.accounts("a")
    office.posts("a", "p1", "p2")
    deep = "{ posts { edges { node { id account { id brand { label } group { label brand { id } } } } } } }"
    with statements() as sent:
        [post, _] = nodes(data_of(operator, deep)["posts"])
    assert post["account"]["group"]["brand"]["id"] == "brd_1"
    assert len(sent) == 5, sent


def test_a_reference_finds_the_very_record_where_others_bear_its_encoded_id(operator: Api, office: Office) -> None:
    office.run("INSERT INTO users (id, name, email) SELECT 'u ' || n, 'right', n FROM generate_series(1, 80) AS n")
    encoded = [encode_id(f"u {n}") for n in range(1, 81)]
    office.run("INSERT INTO users (id, name, email) SELECT id, 'wrong', id FROM unnest(%s::text[]) AS id", encoded)
    office.run("INSERT INTO tasks (id, title, assignee) SELECT 't' || n, n, 'u ' || n FROM generate_series(1, 80) AS n")
    told = nodes(
        data_of(operator, "{ tasks(limit: 100) { edges { node { assigneeId assignee { id name } } } } }")["tasks"]
    )
    assert {task["assigneeId"] for task in told} == set(encoded)
    assert all(task["assignee"] == {"id": task["assigneeId"], "name": "right"} for task in told)


def test_records_are_made_changed_and_deleted_as_by_their_routes(operator: Api, office: Office) -> None:
    made = data_of(
        operator,
        """mutation ($new: CreateTaskInput!) {
          first: createTask(input: {id: "t1", title: "one", description: "d"}) { id title status priority }
          second: createTask(input: $new) { id title createdAt }
        }""",
        {"new": {"title": "two", "description": None}},
    )
    assert made["first"] == {"id": "t1", "title": "one", "status": "todo", "priority": "medium"}
    second = made["second"]["id"]
    changed = data_of(operator, """mutation ($id: ID!) {
      updateTask(id: $id, input: {status: "completed", description: null}) { id title status description }
      deleteTask(id: "t1")
    }""", {"id": second})  # fmt: skip
    assert changed["updateTask"] == {"id": second, "title": "two", "status": "completed", "description": None}
    assert changed["deleteTask"] is True
    assert office.live("tasks") == {second}
    operations = office.run(
        "SELECT DISTINCT operation FROM stowage.changes WHERE tenant = %s AND type <> 'summary'", office.id
    )
    assert len(operations) == 4, "each change can be undone by itself"


def test_a_change_that_fails_fails_no_other(operator: Api, office: Office) -> None:
    told = ask(operator, """mutation {
      bad: createTask(input: {title: ""}) { id }
      good: createTask(input: {title: "x"}) { id title }
      none: updateTask(id: "none", input: {title: "y"}) { id }
      gone: deleteTask(id: "none")
      taken: createBrand(input: {label: "Brand 1"}) { id }
      late: createTask(input: {title: "x", status: "later"}) { id }
    }""")  # fmt: skip
    assert told["data"]["good"]["title"] == "x"
    assert {name for name, value in told["data"].items() if value is None} == {"bad", "none", "gone", "late"} | (
        {"taken"} if told["data"]["taken"] is None else set()
    )
    found = dict((path[0], code) for path, code in codes(told))  # noqa: C402
    assert found.items() >= {
        "bad": "invalid_request", "none": "record_not_found", "gone": "record_not_found", "late": "invalid_request",
    }.items()  # fmt: skip
    [bad] = [error for error in told["errors"] if error["path"] == ["bad"]]
    assert bad["extensions"]["details"] == [{"field": "title", "message": "expected at least 1 character"}]
    assert bad["message"] == "title: expected at least 1 character."
    assert len(office.live("tasks")) == 1


def test_a_viewer_only_reads_and_another_tenants_records_are_nobodys(office: Office, other: Api, operator: Api) -> None:
    office.run("INSERT INTO tasks (id, title) VALUES ('t', 'x')")
    told = ask(office.caller("viewer"), 'mutation { deleteTask(id: "t") createTask(input: {title: "y"}) { id } }')
    assert codes(told) == [(["deleteTask"], "role_too_low"), (["createTask"], "role_too_low")]
    assert data_of(office.caller("viewer"), "{ tasks { totalCount } }")["tasks"]["totalCount"] == 1
    asked = other.post(ROUTE, json={"query": "{ tasks { totalCount } }"}, headers={"x-tenant-id": office.id})
    refusal(asked, 404, "tenant_not_found")
    assert office.live("tasks") == {"t"}


def test_the_same_key_makes_nothing_twice(operator: Api, office: Office) -> None:
    query = 'mutation { a: createTask(input: {title: "x"}) { id } b: createTask(input: {title: "x"}) { id } }'
    first = data_of(operator, query, **{"Idempotency-Key": "k"})
    assert data_of(operator, query, **{"Idempotency-Key": "k"}) == first
    assert {each["id"] for each in first.values()} == office.live("tasks")


WRONG = {
    "syntax": "{ tasks {",
    "field": "{ tasks { nothing } }",
    "argument": "{ tasks(first: 3) { totalCount } }",
    "input": "mutation { createTask(input: {}) { id } }",
    "type": 'mutation { createTask(input: {title: 5}) { id } }',
    "own": 'mutation { createTask(input: {title: "x", createdAt: "2020-01-01"}) { id } }',
    "schema": "{ __schema { types { name } } }",
    "type of": '{ __type(name: "Task") { name } }',
    "operations": "query A { __typename } query B { __typename }",
    "nothing": "# only a comment",
    "subscription": "subscription { tasks { id } }",
}  # fmt: skip


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG)
def test_what_cannot_be_executed_changes_nothing(operator: Api, office: Office, query: str) -> None:
    told = ask(operator, query)
    assert set(told) == {"errors"}
    assert {code for _, code in codes(told)} == {"invalid_query"}
    assert "Did you mean" not in json.dumps(told)
    newer = operator.post(ROUTE, json={"query": query}, headers={"accept": f"{OWN}, application/json;q=0.9"})
    assert (newer.status_code, newer.headers["content-type"]) == (400, OWN)
    assert office.live("tasks") == set()


def nested(levels: int) -> str:
    return "{ posts { edges { node { " + "account { brand { " * levels + "id" + " } }" * levels + " } } } }"


TOO_MUCH = {
    "deep": nested(25),
    "aliases": "{ " + " ".join(f"a{n}: __typename" for n in range(1000)) + " }",
    "aliases in fragments": "{ ...f ...f ...f ...f } fragment f on Query { "
    + " ".join(f"a{n}: __typename" for n in range(10)) + " }",
    "roots": "{ " + " ".join(f'task(id: "{n}") {{ id }}' for n in range(21)) + " }",
    "cost": "{ " + " ".join(f"a{n}: tasks(limit: 100) {{ edges {{ node {{ id title status }} }} }}" for n in range(15))
    + " }",
    "cost of a fragment": "{ " + " ".join(f"a{n}: tasks(limit: 100) {{ ...f }}" for n in range(15))
    + " } fragment f on TaskConnection { edges { node { id title status } } }",
    "cycle": "{ ...f } fragment f on Query { ...g } fragment g on Query { ...f }",
    "bomb": "{ ...f0 } " + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
    + " fragment f40 on Query { a: __typename }",
    "equal fields": "{ " + "tasks(limit: 1) { totalCount } " * 400 + " }",
    "long": "{ " + " " * requests.LONGEST_QUERY + "__typename }",
}  # fmt: skip


@pytest.mark.parametrize("query", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_is_refused_before_anything_is_looked_at(operator: Api, query: str) -> None:
    with statements() as sent, mock.patch("stowage.graphql.validate", side_effect=AssertionError):
        response = operator.post(ROUTE, json={"query": query}, headers={"accept": OWN})
    assert response.status_code == 400, response.text[:300]
    assert not sent


def test_the_cost_counts_what_a_variable_says(operator: Api) -> None:
    many = " ".join(f"a{n}: tasks(limit: $n) {{ edges {{ node {{ id title }} }} }}" for n in range(15))
    assert codes(ask(operator, f"query ($n: Int) {{ {many} }}", {"n": 100})) == [(None, "query_too_complex")]
    assert codes(ask(operator, f"query ($n: Int = 90) {{ {many} }}")) == [(None, "query_too_complex")]
    assert len(data_of(operator, f"query ($n: Int) {{ {many} }}", {"n": 1})) == 15


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": 5},
        {"query": "{ __typename }", "variables": []},
        {"query": "{ __typename }", "x": 1},
    ],
    ids=["none", "empty", "number", "variables", "more"],
)
def test_what_is_no_request_is_refused(operator: Api, body: Json) -> None:
    refusal(operator.post(ROUTE, json=body), 400, "invalid_request")


def test_the_answer_is_of_a_type_that_the_client_takes(operator: Api) -> None:
    for accept, kind in (
        (OWN, OWN),
        ("*/*", "application/json"),
        ("text/html, application/*;q=0.1", "application/json"),
    ):
        answer = operator.post(ROUTE, json={"query": "{ __typename }"}, headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
            200, kind, {"data": {"__typename": "Query"}},
        )  # fmt: skip
    refusal(
        operator.post(ROUTE, json={"query": "{ __typename }"}, headers={"accept": "text/html"}), 406, "not_acceptable"
    )


def test_an_answer_that_would_be_too_large_says_so(operator: Api, office: Office) -> None:
    office.run("INSERT INTO tasks (id, title, description) SELECT 't' || n, n, repeat('x', 90000) "
               "FROM generate_series(1, 80) AS n")  # fmt: skip
    told = ask(operator, "{ tasks(limit: 100) { edges { node { description } } } }")
    assert (told["data"], codes(told)) == ({"tasks": None}, [(["tasks"], "too_large")])
    half = "tasks(limit: 40) { edges { node { description } } }"
    with mock.patch.object(graphql, "is_deliverable", lambda text: len(text) < sizes.MOST_ANSWER_BYTES // 2):
        told = ask(operator, f"{{ a: {half} b: {half} }}")
    assert (told["data"], codes(told)) == (None, [(None, "too_large")])


def test_what_breaks_inside_is_told_by_its_number_alone(operator: Api) -> None:
    with mock.patch("stowage.records.read_list", side_effect=ZeroDivisionError("division by zero")):
        told = ask(operator, "{ tasks { totalCount } brands { totalCount } }")
    assert told["data"] == {"tasks": None, "brands": None}
    assert {code for _, code in codes(told)} == {"internal_error"}
    assert "zero" not in json.dumps(told)


def test_a_deployment_may_let_clients_read_the_schema(operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "_shows_itself", lambda: True)
    told = data_of(operator, get_introspection_query())
    printed = print_schema(build_client_schema(told))
    for line in (
        "type Task {", "  assignee: User", "  assigneeId: ID", "  title: String!", "type TaskConnection {",
        "  hasNextPage: Boolean!", "  updateTask(id: ID!, input: UpdateTaskInput!): Task", "  likes: Long!",
        "input CreatePostInput {", "  accountId: ID!", "  brand: Brand",
    ):  # fmt: skip
        assert line in printed
