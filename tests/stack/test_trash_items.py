"""The trash: its list, restoring, and deleting for good (docs/api.md)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from stowage.basics.ids import encode_id
from tests.stack.office import TRASH, Office, refusal

pytestmark = pytest.mark.usefixtures("direct")

URL = "https://x.example/p?a=1/2"


def restore(office: Office, item: str, status: int = 200, **body: Any) -> Any:
    response = office.caller().post(office.path(f"trash/{item}/restore"), json=body)
    assert response.status_code == status, response.text
    return response.json()


def delete_for_good(office: Office, item: str, data_type: str, status: int = 200) -> Any:
    response = office.caller("admin").delete(office.path(f"trash/{item}?dataType={data_type}"))
    assert response.status_code == status, response.text
    return response.json()


def test_accounts_and_posts_are_listed_together_newest_first(office: Office) -> None:
    office.accounts("a", "b", "c")
    office.posts("a", "p", URL, "r")
    office.delete("p", data_type="posts")
    office.delete("c", "b")
    office.delete(URL, data_type="posts")
    office.delete("a")
    items = office.trash()["items"]
    assert [item["id"] for item in items] == ["a", encode_id(URL), "c", "b", "p"]
    assert [item["type"] for item in items] == ["account", "post", "account", "account", "post"]
    assert items[0] == {
        "id": "a",
        "name": "user a",
        "type": "account",
        "platform": "x",
        "deletedAt": items[0]["deletedAt"],
        "deletedBy": f"operator@{office.id}",
        "daysUntilPurge": 30,
        "cascaded": {"posts": 1},
    }
    assert "cascaded" not in items[2]
    assert (items[1]["name"], items[1]["platform"]) == ("https://x.example/" + URL, "x")
    pages = [office.trash(page=page, limit=2) for page in (1, 2, 3, 4)]
    assert [item["id"] for page in pages for item in page["items"]] == [item["id"] for item in items]
    assert pages[0]["pagination"] == {"page": 1, "limit": 2, "total": 5, "total_pages": 3}


@pytest.mark.parametrize("type", ["brands", "brand"])
def test_every_entity_has_a_trash(office: Office, type: str) -> None:
    office.run("INSERT INTO brands (id, label) VALUES ('brd_3', 'Three')")
    office.bin("brands", "id = 'brd_3'", "now() + interval '1 hour'")
    (item,) = office.trash(type=type)["items"]
    assert (item["id"], item["type"], item["platform"], item["daysUntilPurge"]) == ("brd_3", "brand", None, 1)
    assert office.trash()["items"] == []
    restored = restore(office, "brd_3")["item"]
    assert (restored["type"], restored["name"]) == ("brand", "Three")
    assert office.trash(type=type)["pagination"]["total"] == 0


@pytest.mark.parametrize("query", ["type=audit", "type=", "page=0", "limit=101", "sort=name"])
def test_a_list_that_is_none_is_refused(office: Office, query: str) -> None:
    assert office.caller("viewer").get(office.path(f"trash?{query}")).status_code == 400


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/St_Johns"])
@pytest.mark.parametrize(
    ("left", "days"),
    [
        ("30 days", 30),
        ("29 days 23:59:00", 30),
        ("1 day 00:01:00", 2),
        ("00:01:00", 1),
        ("-00:01:00", 0),
        ("-9 days", 0),
    ],
)
def test_days_until_the_purge_are_whole_and_rounded_up_wherever_the_database_thinks_it_is(
    office: Office, zone: str, left: str, days: int
) -> None:
    office.accounts("a")
    office.database.execute(f"SET timezone = '{zone}'".encode())
    office.bin("accounts", until=f"now() + interval '{left}'")
    office.database.execute("RESET timezone")
    assert office.trash()["items"][0]["daysUntilPurge"] == days


def test_an_account_comes_back_exactly_with_the_posts_that_went_along(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p", "q", "r")
    office.delete("r", data_type="posts")
    before = office.rows("accounts"), office.rows("posts")
    office.delete("a")
    assert restore(office, "a", dataType="accounts")["item"]["cascaded"] == {"posts": 2}
    assert (office.rows("accounts"), office.rows("posts")) == before
    refusal(office.caller().post(office.path("trash/a")), 404, "not_in_trash")


def test_both_routes_restore_with_and_without_a_body_on_both_mounts(office: Office) -> None:
    office.accounts("a")
    for mount in ("/api/guilds", "/api/v1/guilds"):
        for path in ("trash/a", "trash/a/restore"):
            for body in (None, {}, {"dataType": "accounts"}):
                office.delete("a")
                response = office.caller().post(office.path(path, mount), json=body)
                assert response.status_code == 200, response.text
    assert office.live("accounts") == {"a"}


def test_an_id_that_is_a_url_is_restored_and_deleted_by_the_form_that_the_list_gives(office: Office) -> None:
    office.accounts("a")
    office.posts("a", URL)
    office.delete(URL, data_type="posts")
    item = office.trash()["items"][0]["id"]
    assert restore(office, item)["item"]["id"] == item
    office.delete(URL, data_type="posts")
    assert delete_for_good(office, item, "posts") == {"success": True, "id": item}


def test_what_the_name_belongs_to_now_is_named_and_another_name_helps(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p", "q")
    for turn, name in enumerate(("user a (restored)", "user a (restored 2)", "user a (restored 3)")):
        office.delete("a")
        office.run(
            "INSERT INTO accounts (id, username, platform, brand_id) VALUES (%s, %s, 'x', 'brd_1')",
            f"new{turn}",
            office.rows("accounts")["a"]["username"],
        )
        told = refusal(office.caller().post(office.path("trash/a")), 409, "conflict")
        assert [detail["field"] for detail in told["details"]] == ["account.platform", "account.username"]
        office.run("UPDATE accounts SET username = 'user a' WHERE id = 'a'")
        assert restore(office, "a", onConflict="rename")["item"]["name"] == name
        assert office.rows("accounts")["a"]["username"] == name
    assert office.live("posts") == {"p", "q"}


def test_twenty_thousand_posts_that_come_along_are_renamed_too(office: Office) -> None:
    office.accounts("a", "b")
    office.run(
        "INSERT INTO posts (id, account_id, url) SELECT 'p' || n, 'a', 'u' || n FROM generate_series(1, 20000) AS n"
    )
    office.delete("a")
    office.run(
        "INSERT INTO posts (id, account_id, url) SELECT 'q' || n, 'b', 'u' || n FROM generate_series(1, 20000) AS n;"
        "INSERT INTO posts (id, account_id, url) VALUES ('r', 'b', 'u7 (restored)')"
    )
    assert restore(office, "a", onConflict="rename")["item"]["cascaded"] == {"posts": 20_000}
    posts = office.rows("posts")
    assert {posts[f"p{n}"]["url"] for n in range(1, 20_001)} == {
        f"u{n} (restored)" if n != 7 else "u7 (restored 2)" for n in range(1, 20_001)
    }


def test_a_name_that_comes_along_is_not_given_to_another(office: Office) -> None:
    office.accounts("a", "b")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('p', 'a', 'u'), ('q', 'a', 'u (restored)')")
    office.delete("a")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('r', 'b', 'u')")
    assert restore(office, "a", onConflict="rename")["item"]["cascaded"] == {"posts": 2}
    posts = office.rows("posts")
    assert (posts["p"]["url"], posts["q"]["url"]) == ("u (restored 2)", "u (restored)")


def test_posts_that_come_along_are_renamed_too(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "p", "q")
    office.delete("a")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('new', 'b', 'https://x.example/p')")
    told = refusal(office.caller().post(office.path("trash/a")), 409, "conflict")
    assert [detail["field"] for detail in told["details"]] == ["post.url"]
    assert restore(office, "a", onConflict="rename")["item"]["name"] == "user a"
    assert office.rows("posts")["p"]["url"] == "https://x.example/p (restored)"
    assert office.rows("posts")["q"]["url"] == "https://x.example/q"


def test_a_name_that_would_be_too_long_is_refused(office: Office) -> None:
    office.accounts("a")
    office.run("UPDATE accounts SET username = repeat('x', 500)")
    office.delete("a")
    office.run(
        "INSERT INTO accounts (id, username, platform, brand_id) SELECT 'new', username, 'x', 'brd_1' FROM accounts"
    )
    refusal(office.caller().post(office.path("trash/a"), json={"onConflict": "rename"}), 409, "not_allowed")


def test_a_post_is_not_restored_without_its_account(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p", "q")
    office.delete("p", data_type="posts")
    office.delete("a")
    for post in ("p", "q"):
        refusal(office.caller().post(office.path(f"trash/{post}")), 409, "parent_in_trash")
    restore(office, "a")
    restore(office, "p")
    assert office.live("posts") == {"p", "q"}


def test_an_id_that_several_have_needs_its_type(office: Office) -> None:
    office.accounts("same")
    office.posts("same", "same")
    office.delete("same", data_type="posts")
    office.delete("same")
    refusal(office.caller().post(office.path("trash/same")), 400, "ambiguous_id")
    refusal(office.caller("admin").delete(office.path("trash/same")), 400, "ambiguous_id")
    restore(office, "same", dataType="accounts")
    restore(office, "same")
    assert office.live("posts") == {"same"}


@pytest.mark.parametrize(
    "body", [{"onConflict": "overwrite"}, {"dataType": "audit"}, {"dataType": 1}, {"force": True}, [], "x"]
)
def test_a_restore_that_is_none_is_refused(office: Office, body: Any) -> None:
    office.accounts("a")
    office.delete("a")
    assert office.caller().post(office.path("trash/a"), json=body).status_code == 400
    assert office.live("accounts") == set()


@pytest.mark.usefixtures("over_http")
def test_two_restores_at_once_are_one(office: Office) -> None:
    office.accounts("a")
    office.posts("a", *(f"p{n}" for n in range(50)))
    office.delete("a")
    callers = [office.caller() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda caller: caller.post(office.path("trash/a")), callers))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert office.trash()["pagination"]["total"] == 0


def test_deleting_for_good_takes_all_that_belongs_and_blanks_its_images(office: Office) -> None:
    office.accounts("a", "b")
    office.posts("a", "p", "q")
    alone = office.delete("p", data_type="posts")["operationId"]
    operation = office.delete("a", "b")["operationId"]
    assert delete_for_good(office, "a", "accounts") == {"success": True, "id": "a"}
    assert set(office.rows("accounts")) == {"b"}
    assert office.rows("posts") == {}
    assert office.trash()["pagination"]["total"] == 1
    entries = {(entry["entity"], entry["id"]): entry for entry in office.journal(operation)}
    assert set(entries["accounts", "a"]["after"]) == {"$sha256"}
    assert len(entries["posts", "q"]["after"]["$sha256"]) == 64
    assert entries["accounts", "b"]["after"][TRASH]
    assert entries["accounts", operation]["after"]["kind"] == "delete"
    assert set(office.journal(alone)[0]["after"]) == {"$sha256"}
    for method in ("post", "delete"):
        for item in ("a", "p", "q"):
            refusal(getattr(office.caller("admin"), method)(office.path(f"trash/{item}")), 410, "purged")
    delete_for_good(office, "a", "accounts", 410)
    assert office.is_gapless()


def test_what_is_not_in_the_trash_is_not_deleted_for_good(office: Office) -> None:
    office.accounts("a")
    for item in ("a", "nothing", "~Lw", "'; DROP TABLE accounts; --"):
        refusal(office.caller("admin").delete(office.path(f"trash/{encode_id(item)}")), 404, "not_in_trash")
    refusal(office.caller("admin").delete(office.path("trash/a?dataType=nothing")), 400, "unknown_data_type")
    assert office.caller("admin").delete(office.path(f"trash/{encode_id('a' + chr(0))}")).status_code == 400
    assert office.live("accounts") == {"a"}


def test_a_brand_whose_accounts_are_in_the_trash_stays_until_they_are_gone(office: Office) -> None:
    office.accounts("a", group=None)
    office.delete("a")
    office.run("DELETE FROM groups; UPDATE brands SET deleted_at = now() WHERE id = 'brd_1'")
    refusal(office.caller("admin").delete(office.path("trash/brd_1")), 409, "has_children")
    refusal(office.caller().post(office.path("trash/a")), 409, "parent_in_trash")
    delete_for_good(office, "a", "accounts")
    delete_for_good(office, "brd_1", "brands")
    assert set(office.rows("brands")) == {"brd_2"}


def test_the_total_is_right_whatever_sql_of_the_product_does(office: Office) -> None:
    office.accounts(*(f"a{n}" for n in range(20)))
    office.delete(*(f"a{n}" for n in range(10)))
    office.run("UPDATE accounts SET deleted_at = now() WHERE id = 'a15'")
    office.run("UPDATE accounts SET deleted_at = NULL WHERE id IN ('a1', 'a2')")
    assert office.trash()["pagination"]["total"] == 9


def test_what_the_products_sql_took_out_does_not_count_as_gone_along(office: Office) -> None:
    office.accounts("a")
    office.posts("a", "p", "q")
    office.delete("a")
    office.run("UPDATE posts SET deleted_at = NULL WHERE id = 'p'")
    assert office.trash()["items"][0]["cascaded"] == {"posts": 1}
    assert restore(office, "a")["item"]["cascaded"] == {"posts": 1}
    assert office.live("posts") == {"p", "q"}


def test_a_total_too_large_to_count_is_kept(office: Office) -> None:
    made = office.accounts(*(f"a{n:04}" for n in range(1_300)))
    office.delete(*made[:1_200])
    assert office.trash()["pagination"]["total"] == 1_200
    office.delete(*made[1_200:])
    assert office.trash()["pagination"]["total"] == 1_300
    restore(office, made[0])
    delete_for_good(office, made[1], "accounts")
    assert office.trash()["pagination"]["total"] == 1_298
    assert len(office.trash(page=13, limit=100)["items"]) == 98


def test_who_may_do_what_with_the_trash(office: Office) -> None:
    office.accounts("a")
    office.delete("a")
    foreign = office.caller("admin", tenants=["acme"])
    for method, path, role in (
        ("get", "trash", None),
        ("post", "trash/a", "viewer"),
        ("post", "trash/a/restore", "viewer"),
        ("delete", "trash/a?dataType=accounts", "operator"),
    ):
        if role:
            refusal(getattr(office.caller(role), method)(office.path(path)), 403, "role_too_low")
        refusal(getattr(foreign, method)(office.path(path)), 404, "tenant_not_found")
        url = office.stack.api_url + office.path(path)
        refusal(requests.request(method, url, timeout=20), 401, "unauthenticated")
        if method != "get":
            token = office.caller("admin").headers["authorization"].removeprefix("Bearer ")
            cookie = {"cookie": f"auth_token={token}"}
            refusal(requests.request(method, url, headers=cookie, timeout=20), 403, "foreign_origin")
    assert set(office.rows("accounts")) == {"a"}
    assert office.rows("accounts")["a"][TRASH]
    assert office.kept("accounts")["a"]["deleted_by"] == f"operator@{office.id}"
