"""POST bulk/reassign, POST bulk/undo and GET bulk/operations (docs/api.md)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from stowage.basics.ids import encode_id
from tests.conftest import RunningStack
from tests.stack.office import TRASH, Office, codes, open_office, refusal

pytestmark = pytest.mark.usefixtures("direct")

URL = "https://x.example/p?a=1/2"


def reassign(office: Office, ids: list[str], status: int = 200, **target: Any) -> Any:
    body = {"ids": ids, "targetBrandId": "brd_2", "targetGroupId": "grp_2"} | target
    given = {name: value for name, value in body.items() if value is not ...}
    response = office.caller().post(office.path("bulk/reassign"), json=given)
    assert response.status_code == status, response.text
    return response.json()


def test_accounts_are_given_the_brand_and_the_group(office: Office) -> None:
    office.accounts("a", "b", "gone")
    office.delete("gone")
    result = reassign(office, ["b", "gone", "nobody", "a"], 207, dataType="accounts")
    assert codes(result) == {"b": None, "gone": "already_deleted", "nobody": "not_found", "a": None}
    for name in ("a", "b"):
        row = office.rows("accounts")[name]
        assert (row["brand_id"], row["group_id"]) == ("brd_2", "grp_2")
        assert row["updated_at"] > "2026"
    first = office.journal(result["operationId"])[0]
    assert first["before"] == {
        "brand_id": "brd_1",
        "group_id": "grp_1",
        "updated_at": "2024-05-06T07:08:09.123456+00:00",
    }
    whole = {name: value for name, value in office.rows("accounts")["b"].items() if name != TRASH}
    assert first["after"] == whole, "of the first that the request names"


def test_without_a_group_the_accounts_are_in_none(office: Office) -> None:
    office.accounts("a")
    reassign(office, ["a"], targetGroupId=...)
    assert office.rows("accounts")["a"]["group_id"] is None


def test_what_is_so_already_succeeds_and_is_left_as_it_is(office: Office) -> None:
    office.accounts("a", brand="brd_2", group="grp_2")
    before = office.rows("accounts")
    result = reassign(office, ["a"])
    assert office.rows("accounts") == before
    assert office.undo(result["operationId"])["total"] == 0


@pytest.mark.parametrize(
    ("target", "code", "field"),
    [
        ({"targetBrandId": "brd_9"}, "unknown_brand", "targetBrandId"),
        ({"targetGroupId": "grp_9"}, "unknown_group", "targetGroupId"),
        ({"targetGroupId": "grp_1"}, "group_of_another_brand", "targetGroupId"),
        ({"targetBrandId": "grp_2"}, "unknown_brand", "targetBrandId"),
        ({"targetBrandId": "'; DELETE FROM brands; --"}, "unknown_brand", "targetBrandId"),
        ({"targetBrandId": "a\0"}, "invalid_request", "targetBrandId"),
        ({"targetGroupId": ""}, "invalid_request", "targetGroupId"),
        ({"targetBrandId": None}, "invalid_request", "targetBrandId"),
        ({"dataType": "posts"}, "invalid_request", "dataType"),
    ],
)
def test_a_target_that_is_none_changes_nothing(office: Office, target: Any, code: str, field: str) -> None:
    office.accounts("a")
    before = office.rows("accounts")
    told = refusal_of(office, "bulk/reassign", {"ids": ["a"], "targetBrandId": "brd_2"} | target, 400, code)
    assert [detail["field"] for detail in told["details"]] == [field]
    assert office.rows("accounts") == before


def test_a_brand_in_the_trash_is_no_target(office: Office) -> None:
    office.accounts("a")
    office.run("INSERT INTO brands (id, label, deleted_at) VALUES ('brd_3', 'x', now())")
    refusal_of(office, "bulk/reassign", {"ids": ["a"], "targetBrandId": "brd_3"}, 400, "unknown_brand")


def refusal_of(office: Office, path: str, body: Any, status: int, code: str) -> Any:
    return refusal(office.caller().post(office.path(path), json=body), status, code)


def test_a_deletion_undone_leaves_every_row_as_it_was(office: Office) -> None:
    office.accounts("a", "b", URL)
    office.posts("a", "p", URL)
    office.posts("b", "of b")
    office.delete("of b", data_type="posts")
    before = office.rows("accounts"), office.rows("posts")
    result = office.delete("a", URL, "b", "nobody", status=207)
    undone = office.undo(result["operationId"])
    assert codes(undone) == {"a": None, encode_id(URL): None, "b": None}
    assert undone["cascaded"] == {"posts": 2}
    assert (office.rows("accounts"), office.rows("posts")) == before
    assert office.is_gapless()


def test_a_reassignment_undone_leaves_every_row_as_it_was(office: Office) -> None:
    office.accounts("a", "b")
    office.accounts("c", brand="brd_2", group=None)
    before = office.rows("accounts")
    result = reassign(office, ["a", "c", "b"])
    assert codes(office.undo(result["operationId"])) == {"a": None, "c": None, "b": None}
    assert office.rows("accounts") == before


def test_what_was_edited_since_by_whoever_is_left_alone(office: Office) -> None:
    office.accounts("a", "b", "c", "d")
    result = reassign(office, ["a", "b", "c", "d"])
    office.run("UPDATE accounts SET group_id = NULL WHERE id = 'a'")
    office.run("UPDATE accounts SET display_name = 'Another', updated_at = now() WHERE id = 'b'")
    office.delete("c")
    undone = office.undo(result["operationId"], 207)
    assert codes(undone) == {"a": "changed_since", "b": None, "c": "changed_since", "d": None}
    rows = office.rows("accounts")
    assert (rows["a"]["brand_id"], rows["a"]["group_id"]) == ("brd_2", None)
    assert (rows["b"]["brand_id"], rows["b"]["display_name"]) == ("brd_1", "Another")
    assert rows["b"]["updated_at"] > "2026"


def test_what_left_the_trash_since_is_left_alone(office: Office) -> None:
    office.accounts("a", "b", "c", "d")
    result = office.delete("a", "b", "c", "d")
    office.run("UPDATE accounts SET deleted_at = NULL WHERE id = 'a'")
    assert office.caller().post(office.path("trash/b")).status_code == 200
    office.delete("b")
    assert office.caller("admin").delete(office.path("trash/c?dataType=accounts")).status_code == 200
    again = codes(office.undo(result["operationId"], 207))
    assert again == {"a": "changed_since", "b": "changed_since", "c": "purged", "d": None}
    assert office.live("accounts") == {"a", "d"}


def test_what_another_has_taken_meanwhile_stays_in_the_trash_whole(office: Office) -> None:
    office.accounts("a", "b", "c")
    office.posts("b", "p", "q")
    result = office.delete("a", "b", "c")
    office.run("INSERT INTO accounts (id, username, platform, brand_id) VALUES ('new', 'user a', 'x', 'brd_1')")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('np', 'new', 'https://x.example/q')")
    assert codes(office.undo(result["operationId"], 207)) == {"a": "conflict", "b": "conflict", "c": None}
    assert office.live("accounts") == {"c", "new"}
    assert office.live("posts") == {"np"}


def test_a_post_stays_in_the_trash_while_its_account_is_there(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p")
    posts = office.delete("p", data_type="posts")["operationId"]
    accounts = office.delete("a")["operationId"]
    assert codes(office.undo(posts, 207)) == {"p": "parent_in_trash"}
    office.undo(accounts)
    assert office.live("posts") == set()
    assert codes(office.undo(posts)) == {"p": None}


def test_an_account_does_not_go_back_to_a_group_that_is_gone(office: Office) -> None:
    office.accounts("a")
    result = reassign(office, ["a"])
    office.run("DELETE FROM groups WHERE id = 'grp_1'")
    assert codes(office.undo(result["operationId"], 207)) == {"a": "conflict"}


def update(office: Office, entity: str, *updates: Any) -> str:
    """Update in bulk; the operation's id."""
    response = office.caller().patch(f"/api/v1/bulk/{entity}", json={"updates": list(updates)})
    assert response.status_code == 200, response.text
    return str(response.json()["data"]["operationId"])


def test_an_account_does_not_go_back_to_a_group_of_another_brand(office: Office) -> None:
    office.accounts("left", "moved")
    operation = update(office, "accounts", *({"id": name, "groupId": None} for name in ("left", "moved")))
    update(office, "accounts", {"id": "moved", "brandId": "brd_2"})
    assert codes(office.undo(operation, 207)) == {"left": None, "moved": "conflict"}
    assert office.rows("accounts")["moved"]["group_id"] is None
    back = update(office, "accounts", {"id": "left", "groupId": None})
    update(office, "groups", {"id": "grp_1", "brandId": "brd_2"})
    assert codes(office.undo(back, 207)) == {"left": "conflict"}


def test_a_group_does_not_leave_its_accounts_behind(office: Office) -> None:
    operation = update(office, "groups", {"id": "grp_1", "brandId": "brd_2", "label": "Moved"})
    office.accounts("follower", brand="brd_2")
    assert codes(office.undo(operation, 207)) == {"grp_1": "conflict"}
    assert office.rows("groups")["grp_1"]["brand_id"] == "brd_2"
    reassign(office, ["follower"])
    assert codes(office.undo(operation)) == {"grp_1": None}


@pytest.mark.usefixtures("over_http")
def test_an_operation_is_undone_once(office: Office) -> None:
    office.accounts("a")
    operation = office.delete("a")["operationId"]
    callers, path = [office.caller() for _ in range(4)], office.path("bulk/undo")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda caller: caller.post(path, json={"operationId": operation}), callers))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "already_undone"}
    undoing = next(answer.json()["operationId"] for answer in answers if answer.status_code == 200)
    refusal_of(office, "bulk/undo", {"operationId": undoing}, 409, "not_undoable")


def test_the_same_key_undoes_once_and_answers_twice(office: Office) -> None:
    office.accounts("a")
    body = {"operationId": office.delete("a")["operationId"]}
    caller, path = office.caller(), office.path("bulk/undo")
    answers = [caller.post(path, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


@pytest.fixture
def elsewhere(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    yield made
    made.close()


def test_nobody_undoes_what_another_tenant_did(office: Office, elsewhere: Office) -> None:
    elsewhere.accounts("a")
    operation = elsewhere.delete("a")["operationId"]
    for unknown in (operation, "op_nothing", "a", "' OR true --"):
        refusal_of(office, "bulk/undo", {"operationId": unknown}, 404, "operation_not_found")
    refusal_of(office, "bulk/undo", {"operationId": "op\0"}, 400, "invalid_request")
    assert elsewhere.live("accounts") == set()
    assert office.caller("viewer").get(office.path("bulk/operations")).json()["operations"] == []


def test_the_list_tells_what_was_done_newest_first(office: Office) -> None:
    office.accounts("a", "b")
    deleted = office.delete("a", "nobody", status=207)["operationId"]
    moved = reassign(office, ["b"])["operationId"]
    undone = office.undo(deleted)["operationId"]
    office.delete("a")
    assert office.caller().post(office.path("trash/a")).status_code == 200
    for mount in ("/api/guilds", "/api/v1/guilds"):
        page = office.caller("viewer").get(office.path("bulk/operations?limit=3&page=1", mount)).json()
        assert page["pagination"] == {"page": 1, "limit": 3, "total": 4, "total_pages": 2}
        _, undo, move = page["operations"]
        assert (undo["id"], undo["kind"], move["id"], move["kind"]) == (undone, "undo", moved, "reassign")
    last = office.caller("viewer").get(office.path("bulk/operations?limit=3&page=2")).json()["operations"]
    assert len(last) == 1
    made, gone = last[0].pop("createdAt"), last[0].pop("undoneAt")
    assert made < gone
    assert last[0] == {
        "id": deleted,
        "kind": "delete",
        "dataType": "accounts",
        "total": 2,
        "succeeded": 1,
        "failed": 1,
        "by": f"operator@{office.id}",
    }


@pytest.mark.parametrize("query", ["page=0", "limit=101", "page=x", "kind=delete"])
def test_a_page_that_is_none_is_refused(office: Office, query: str) -> None:
    refusal(office.caller().get(office.path(f"bulk/operations?{query}")), 400, "invalid_request")


@pytest.mark.parametrize("path", ["bulk/reassign", "bulk/undo"])
def test_who_may_edit_in_bulk(office: Office, path: str) -> None:
    body = {"bulk/reassign": {"ids": ["a"], "targetBrandId": "brd_2"}, "bulk/undo": {"operationId": "op_x"}}[path]
    refusal(office.caller("viewer").post(office.path(path), json=body), 403, "role_too_low")
    refusal(office.caller("admin", tenants=["acme"]).post(office.path(path), json=body), 404, "tenant_not_found")
    refusal(office.caller("admin", exp=1).post(office.path(path), json=body), 401, "unauthenticated")
