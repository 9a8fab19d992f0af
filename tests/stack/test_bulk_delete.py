"""POST bulk/delete: results for each id, cascades, refusals, who may, and requests at the same time (docs/api.md)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests

from stowage.basics.ids import encode_id
from tests.conftest import RunningStack
from tests.stack.office import TRASH, Office, codes, open_office, refusal

pytestmark = pytest.mark.usefixtures("direct")

URL = "https://x.example/p/1?a=b&c=%2F#d"


@pytest.mark.parametrize("mount", ["/api/guilds", "/api/v1/guilds"])
def test_each_id_gets_its_result_in_the_order_of_the_request(office: Office, mount: str) -> None:
    office.accounts("a", "b", "c")
    office.posts("b", "p1", "p2")
    office.delete("c")
    response = office.caller().post(
        office.path("bulk/delete", mount), json={"ids": ["b", "nobody", "c", "a"], "dataType": "accounts"}
    )
    assert response.status_code == 207
    result = response.json()
    assert [item["id"] for item in result["results"]] == ["b", "nobody", "c", "a"]
    assert codes(result) == {"b": None, "nobody": "not_found", "c": "already_deleted", "a": None}
    assert result["cascaded"] == {"posts": 2}
    assert office.live("accounts") == set()
    assert office.live("posts") == set()


def test_what_is_deleted_says_by_whom_and_when_it_goes_for_good(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "p")
    untouched = office.rows("accounts")["b"]
    operation = office.delete("a")["operationId"]
    row, post = office.kept("accounts")["a"], office.kept("posts")["p"]
    assert row["deleted_by"] == f"operator@{office.id}"
    assert row["deleted_operation"] == post["deleted_operation"] == operation
    assert (row["deleted_with"], post["deleted_with"]) == (None, "a")
    assert row["mark"] == office.rows("accounts")["a"]["deleted_at"]
    kept_for = "SELECT purge_at - deleted_at FROM stowage.trash_entries WHERE tenant = %s"
    assert office.run(kept_for, office.id) == [(timedelta(days=30),)] * 2
    assert office.rows("accounts")["b"] == untouched


def test_the_journal_has_an_entry_for_each_record_and_one_for_the_operation(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p")
    entries = office.journal(office.delete("a", "nobody", status=207)["operationId"])
    assert [(entry["entity"], entry["type"]) for entry in entries] == [
        ("accounts", "deleted"),
        ("posts", "deleted"),
        ("accounts", "operation"),
    ]
    assert entries[0]["before"] == entries[1]["before"] == {TRASH: None}
    assert entries[0]["after"] == office.rows("accounts")["a"], "the whole record, and that it is in the trash"
    assert entries[1]["after"] == office.rows("posts")["p"]
    assert {entry["actor"] for entry in entries} == {f"operator@{office.id}"}
    assert entries[2]["after"] == {
        "kind": "delete",
        "total": 2,
        "succeeded": 1,
        "failed": 1,
        "cascaded": {"posts": 1},
    }
    assert office.is_gapless()


def test_ids_may_be_urls_in_either_form_and_are_given_back_as_they_came(office: Office) -> None:
    other = URL + "2"
    office.accounts("a")
    office.posts("a", URL, other, "~odd")
    ids = [URL, encode_id(other), encode_id("~odd")]
    result = office.delete(*ids, data_type="posts")
    assert [item["id"] for item in result["results"]] == ids
    assert office.live("posts") == set()


def test_ten_thousand_ids_are_taken_and_one_more_is_not(office: Office) -> None:
    made = [f"a{n}" for n in range(10_000)]
    office.accounts(*made)
    refused = office.caller().post(office.path("bulk/delete"), json={"ids": [*made, "x"], "dataType": "accounts"})
    refusal(refused, 400, "invalid_request")
    assert len(office.live("accounts")) == 10_000
    result = office.delete(*made)
    assert result["succeeded"] == 10_000
    assert office.trash()["pagination"]["total"] == 10_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": ["a", "b", "a"], "dataType": "accounts"}, "ids"),
        ({"ids": ["/", "~Lw"], "dataType": "accounts"}, "ids"),
        ({"ids": [], "dataType": "accounts"}, "ids"),
        ({"ids": ["a", ""], "dataType": "accounts"}, "ids[1]"),
        ({"ids": ["a\0b"], "dataType": "accounts"}, "ids"),
        ({"ids": [encode_id("a\0b")], "dataType": "accounts"}, "ids"),
        ({"ids": ["a", 1], "dataType": "accounts"}, "ids[1]"),
        ({"ids": "a", "dataType": "accounts"}, "ids"),
        ({"ids": ["a"], "dataType": "tasks"}, "dataType"),
        ({"ids": ["a"]}, "dataType"),
        ({"ids": ["a"], "dataType": "accounts", "force": True}, "force"),
        ({"ids": ["\ud800"], "dataType": "accounts"}, ""),
    ],
)
def test_what_is_no_such_request_changes_nothing(office: Office, body: dict[str, Any], field: str) -> None:
    office.accounts("a", "b")
    told = refusal(office.caller().post(office.path("bulk/delete"), json=body), 400, "invalid_request")
    assert field in [detail["field"] for detail in told["details"]]
    assert office.live("accounts") == {"a", "b"}


def test_ids_of_other_tenants_and_of_other_types_are_not_found(office: Office, stack: RunningStack) -> None:
    elsewhere = open_office(stack, office.database)
    elsewhere.accounts("theirs")
    office.accounts("a")
    office.posts("a", "p")
    result = office.delete("theirs", "p", "brd_1", status=207)
    assert set(codes(result).values()) == {"not_found"}
    assert elsewhere.live("accounts") == {"theirs"}
    assert office.live("posts") == {"p"}
    elsewhere.close()


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE accounts; --", '"a"', "{a,b}", "\\", 'a","b', "a' OR '1'='1", "NULL", "%"]
)
def test_sql_in_an_id_is_an_id(office: Office, text: str) -> None:
    office.accounts("a", text)
    assert codes(office.delete(text, text + "x", status=207)) == {text: None, text + "x": "not_found"}
    assert office.live("accounts") == {"a"}


def test_the_same_key_gives_the_same_answer_and_changes_nothing_more(office: Office) -> None:
    office.accounts("a", "b")
    caller, path = office.caller(), office.path("bulk/delete")
    key = {"Idempotency-Key": "once"}
    first = caller.post(path, json={"ids": ["a", "zz"], "dataType": "accounts"}, headers=key)
    again = caller.post(path, json={"ids": ["a", "zz"], "dataType": "accounts"}, headers=key)
    assert (first.status_code, again.status_code) == (207, 207)
    assert again.json() == first.json()
    other = caller.post(path, json={"ids": ["b"], "dataType": "accounts"}, headers=key)
    refusal(other, 409, "idempotency_mismatch")
    assert office.live("accounts") == {"b"}
    assert len(office.journal(first.json()["operationId"])) == 2


def test_who_may_delete_in_bulk(office: Office) -> None:
    office.accounts("a")
    body, path = {"ids": ["a"], "dataType": "accounts"}, office.path("bulk/delete")
    refusal(office.caller("viewer").post(path, json=body), 403, "role_too_low")
    refusal(office.caller("admin", tenants=["acme"]).post(path, json=body), 404, "tenant_not_found")
    refusal(requests.post(office.stack.api_url + path, json=body, timeout=20), 401, "unauthenticated")
    token = office.caller().headers["authorization"].removeprefix("Bearer ")
    with requests.Session() as browser:
        browser.headers["cookie"] = f"auth_token={token}"
        url = office.stack.api_url + path
        refusal(browser.post(url, json=body, timeout=20), 403, "foreign_origin")
        elsewhere = {"Origin": "https://elsewhere.example"}
        refusal(browser.post(url, json=body, headers=elsewhere, timeout=20), 403, "foreign_origin")
        assert office.live("accounts") == {"a"}
        same = {"Sec-Fetch-Site": "same-origin"}
        assert browser.post(url, json=body, headers=same, timeout=20).status_code == 200
    assert office.live("accounts") == set()


@pytest.mark.usefixtures("over_http")
def test_two_clients_at_once_on_overlapping_ids_share_them_without_a_deadlock(office: Office) -> None:
    made = office.accounts(*(f"a{n:03}" for n in range(300)))
    for n in range(0, 300, 10):
        office.posts(made[n], *(f"p{n}_{k}" for k in range(5)))
    orders = [made[:200], made[199:99:-1] + made[200:], made[::-1], made[::3]]
    with ThreadPoolExecutor(len(orders)) as pool:
        bodies = [{"ids": ids, "dataType": "accounts"} for ids in orders]
        callers = [office.caller() for _ in orders]
        path = office.path("bulk/delete")
        answers = list(pool.map(lambda caller, body: caller.post(path, json=body), callers, bodies))
    assert {answer.status_code for answer in answers} <= {200, 207}, [answer.text[:200] for answer in answers]
    deleted: list[str] = []
    for answer in answers:
        found = codes(answer.json())
        assert set(found.values()) <= {None, "already_deleted"}
        deleted += [record_id for record_id, code in found.items() if code is None]
    assert sorted(deleted) == made
    assert office.live("accounts") == office.live("posts") == set()
    assert office.is_gapless()


@pytest.mark.usefixtures("over_http")
def test_posts_and_their_account_deleted_at_once_do_not_deadlock(office: Office) -> None:
    office.accounts("a")
    posts = office.posts("a", *(f"p{n:03}" for n in range(200)))
    one, two, path = office.caller(), office.caller(), office.path("bulk/delete")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.post, path, json={"ids": posts[::-1], "dataType": "posts"})
        second = pool.submit(two.post, path, json={"ids": ["a"], "dataType": "accounts"})
        by_themselves, along = first.result().json(), second.result().json()
    assert by_themselves["succeeded"] + along.get("cascaded", {}).get("posts", 0) == len(posts)
    assert office.live("posts") == set()
