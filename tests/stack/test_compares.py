"""A backup set against the live tenant: what is missing, what is new, what has changed, and who changed it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from stowage.compares import bringing_back, reading
from tests.conftest import Api, RunningStack
from tests.stack.office import Office, codes, open_office
from tests.stack.route_surface import change_run, ended_job, fields, refusal, start_backup, wait_until

type Json = Any

FORMATS = [("sql", True), ("sql", False), ("tar", True), ("custom", False)]


@pytest.fixture(scope="module")
def office(stack: RunningStack) -> Iterator[Office]:
    """A tenant with accounts, posts and a backup of each format, all made before anything was changed."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        made = open_office(stack, database)
        made.accounts("acc_1", "acc_2", "acc_3", "acc_4", "a?b/c", "acc_gone")
        made.posts("acc_1", "pst_1", "pst_2")
        made.posts("acc_gone", "pst_gone")
        made.bin("accounts", "id = 'acc_4'", until="now() + interval '9 days'")
        yield made
        made.close()


@pytest.fixture(scope="module")
def admin(office: Office) -> Api:
    return office.caller("admin")


@pytest.fixture(scope="module")
def backups(office: Office, admin: Api) -> list[str]:
    """A backup of each format. Afterwards records are deleted, purged, changed, made, and taken out of the trash."""
    made = [start_backup(admin, office.id, format=kind, compress=packed) for kind, packed in FORMATS]
    for each in made:
        assert ended_job(admin, each)["status"] == "completed"
    operator = office.caller("operator")
    url = {"X-Tenant-Id": office.id}
    assert operator.patch("/api/v1/accounts/acc_1", json={"displayName": "New", "followers": 7}, headers=url).ok
    office.delete("acc_gone")
    office.run("DELETE FROM accounts WHERE id = 'a?b/c'")
    office.run("UPDATE accounts SET updated_at = now() WHERE id = 'acc_2'")
    office.accounts("acc_new")
    office.run("UPDATE accounts SET deleted_at = NULL WHERE id = 'acc_4'")
    return made


def compare(api: Api, backup_id: str, **body: Json) -> Json:
    """The job of a comparison that has ended."""
    answer = api.post(f"/api/backup/{backup_id}/compare", json=body)
    assert answer.status_code == 202, answer.text
    return ended_job(api, answer.json()["data"]["id"], 60)


def differences(api: Api, job_id: str, entity: str, kind: str, **query: Json) -> list[Json]:
    """Every record of a kind, page by page."""
    found, cursor = list[Json](), None
    while True:
        answer = api.get(
            f"/api/backup/compare/{job_id}",
            params={"entity": entity, "kind": kind, **query, **({"cursor": cursor} if cursor else {})},
        )
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.long(but=["sql-True", "tar-True", "custom-False"])
@pytest.mark.parametrize("place", range(len(FORMATS)), ids=[f"{kind}-{packed}" for kind, packed in FORMATS])
def test_what_differs_is_found_in_every_format(office: Office, admin: Api, backups: list[str], place: int) -> None:
    job = compare(admin, backups[place])
    assert (job["status"], job["last_error"], job["type"]) == ("completed", None, "compare")
    found = {entity["name"]: entity for entity in job["result"]["entities"]}
    assert set(found) == {"accounts", "posts", "brands", "groups", "tasks", "users"}
    assert found["accounts"] == {
        "name": "accounts",
        "only_in_backup": 2,
        "only_live": 2,
        "changed": 1,
        "same": 2,
    }
    assert [found["posts"][kind] for kind in ("only_in_backup", "only_live", "changed", "same")] == [1, 0, 0, 2]
    assert found["brands"]["same"] == found["groups"]["same"] == 2

    gone = differences(admin, job["id"], "accounts", "only_in_backup", limit=1)
    assert {each["label"] for each in gone} == {"user a?b/c", "user acc_gone"}
    by_label = {each["label"]: each for each in gone}
    assert by_label["user acc_gone"]["last_change"]["type"] == "deleted"
    assert by_label["user a?b/c"]["id"].startswith("~")
    assert by_label["user a?b/c"]["last_change"] is None
    assert {each["live"] for each in gone} == {None}
    new = differences(admin, job["id"], "accounts", "only_live")
    assert [(each["id"], each["backup"]) for each in new] == [("acc_4", None), ("acc_new", None)]
    [changed] = differences(admin, job["id"], "accounts", "changed")
    live = admin.get("/api/v1/accounts/acc_1", headers={"X-Tenant-Id": office.id}).json()["data"]
    assert changed["live"] == live
    assert changed["changed_fields"] == ["displayName", "followers"]
    assert changed["backup"] == live | {
        "displayName": None,
        "followers": 0,
        "updatedAt": "2024-05-06T07:08:09.123456Z",
    }
    assert changed["last_change"]["actor"] == f"operator@{office.id}"


def bring_back(api: Api, job_id: str, status: int = 200, **body: Json) -> Json:
    """The answer to a request to bring records back."""
    answer = api.post(f"/api/backup/compare/{job_id}/bring-back", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_records_come_back_as_they_were_and_undo_takes_them_back(
    office: Office, admin: Api, backups: list[str]
) -> None:
    before = {table: office.rows(table) for table in ("accounts", "posts")}
    job = compare(admin, backups[0])["id"]
    [url] = [each["id"] for each in differences(admin, job, "accounts", "only_in_backup") if each["id"] != "acc_gone"]

    result = bring_back(admin, job, entity="accounts", ids=["acc_gone", url, "acc_1", "acc_2"])
    assert (codes(result), result["cascaded"]) == (dict.fromkeys(["acc_gone", url, "acc_1", "acc_2"]), {"posts": 1})
    now = office.rows("accounts")
    assert {now[each]["deleted_at"] for each in ("acc_gone", "a?b/c", "acc_1")} == {None}
    assert (now["acc_1"]["display_name"], now["acc_1"]["followers"]) == (None, 0)
    assert now["acc_1"]["updated_at"].startswith("2024-05-06T07:08:09.123456")
    assert now["acc_gone"] == before["accounts"]["acc_gone"] | {"deleted_at": None}
    assert office.rows("posts")["pst_gone"]["deleted_at"] is None
    assert "acc_gone" not in office.kept("accounts")
    again = {each["name"]: each for each in compare(admin, backups[0])["result"]["entities"]}
    assert [again["accounts"][kind] for kind in ("only_in_backup", "changed", "same")] == [0, 0, 5]
    for kind in ("only_in_backup", "changed"):
        assert differences(admin, job, "accounts", kind) == []

    undone = office.undo(result["operationId"])
    assert codes(undone) == dict.fromkeys(codes(result).keys() - {"acc_2"})
    after = office.rows("accounts")
    assert after["acc_1"] == before["accounts"]["acc_1"]
    assert {each for each, row in after.items() if row["deleted_at"] is None} == {
        "acc_1",
        "acc_2",
        "acc_3",
        "acc_4",
        "acc_new",
    }
    assert office.rows("posts")["pst_gone"]["deleted_at"] is not None


def test_single_fields_come_back(office: Office, admin: Api, backups: list[str]) -> None:
    job = compare(admin, backups[0], entities=["accounts"])["id"]
    result = bring_back(admin, job, entity="accounts", ids=["acc_1"], fields=["followers"])
    row = office.rows("accounts")["acc_1"]
    assert (row["followers"], row["display_name"]) == (0, "New")
    [left] = differences(admin, job, "accounts", "changed")
    assert left["changed_fields"] == ["displayName"]
    assert left["last_change"]["operation"] == result["operationId"]
    assert codes(office.undo(result["operationId"])) == {"acc_1": None}
    assert office.rows("accounts")["acc_1"]["followers"] == 7


def test_everything_of_a_kind_comes_back(office: Office, admin: Api, backups: list[str]) -> None:
    job = compare(admin, backups[0])["id"]
    result = bring_back(admin, job, 207, entity="posts", kind="only_in_backup")
    [failed] = result["results"]
    assert (failed["id"], failed["code"]) == ("pst_gone", "parent_in_trash")
    result = bring_back(admin, job, entity="accounts", kind="only_in_backup")
    assert (result["succeeded"], result["failed"], "remaining" in result) == (2, 0, False)
    assert bring_back(admin, job, entity="accounts", kind="only_in_backup")["total"] == 0
    assert codes(office.undo(result["operationId"])) == codes(result)


def test_an_undo_tells_what_cannot_go_back_and_what_went_along(office: Office, admin: Api, backups: list[str]) -> None:
    """Of accounts that came out of the trash, one had a name that another has by now, and one has a new post."""
    office.accounts("acc_name", "acc_post")
    backup = start_backup(admin, office.id)
    assert ended_job(admin, backup)["status"] == "completed"
    office.run("UPDATE accounts SET username = 'later' WHERE id = 'acc_name'")
    office.delete("acc_name", "acc_post")
    job = compare(admin, backup, entities=["accounts"])["id"]
    result = bring_back(admin, job, entity="accounts", ids=["acc_name", "acc_post"])
    office.accounts("acc_other")
    office.run("UPDATE accounts SET username = 'later' WHERE id = 'acc_other'")
    office.posts("acc_post", "pst_since")

    undone = office.undo(result["operationId"], 207)
    assert codes(undone) == {"acc_name": "conflict", "acc_post": None}
    assert undone["cascaded"] == {"posts": 1}
    now = office.rows("accounts")
    assert (now["acc_name"]["username"], now["acc_name"]["deleted_at"]) == ("user acc_name", None)
    assert now["acc_post"]["deleted_at"] is not None
    assert office.rows("posts")["pst_since"]["deleted_at"] is not None
    assert office.is_gapless()
    office.run("DELETE FROM posts WHERE id = 'pst_since'")
    office.run("DELETE FROM accounts WHERE id IN ('acc_name', 'acc_post', 'acc_other')")


def test_large_records_are_shown_and_come_back_in_parts(
    office: Office, admin: Api, backups: list[str], direct: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(Api, "direct", None)
        office.accounts("acc_a", "acc_b", "acc_c")
        office.run(
            "UPDATE accounts SET display_name = repeat('n', 1000 * (ascii(right(id, 1)) - 96)) WHERE id ~ '_[abc]$'"
        )
        backup = start_backup(admin, office.id)
        assert ended_job(admin, backup)["status"] == "completed"
        office.run("DELETE FROM accounts WHERE id ~ '_[abc]$'")
        job = compare(admin, backup, entities=["accounts"])["id"]
    names = ["acc_a", "acc_b", "acc_c"]
    for bound, pages, cut in ((8_000, 1, []), (4_000, 2, []), (2_500, 3, ["acc_c"])):
        monkeypatch.setattr(reading, "MOST_BYTES", bound)
        whole = differences(admin, job, "accounts", "only_in_backup")
        assert [each["id"] for each in whole] == names
        assert [each["id"] for each in whole if "truncated" in each] == cut
        answer = admin.get(f"/api/backup/compare/{job}", params={"entity": "accounts", "kind": "only_in_backup"})
        assert (answer.json()["next_cursor"] is None) == (pages == 1)

    monkeypatch.setattr(bringing_back, "MOST_BYTES", 4_000)
    wanted = {"entity": "accounts", "ids": names}
    refusal(admin.post(f"/api/backup/compare/{job}/bring-back", json=wanted), 413, "too_large")
    assert not {*names} & {*office.rows("accounts")}
    first = bring_back(admin, job, entity="accounts", kind="only_in_backup")
    assert (codes(first), first["remaining"]) == (dict.fromkeys(names[:2]), 1)
    rest = {"entity": "accounts", "kind": "only_in_backup", "cursor": first["next_cursor"]}
    assert codes(bring_back(admin, job, **rest)) == {"acc_c": None}
    monkeypatch.setattr(bringing_back, "MOST_BYTES", 2_500)
    office.run("DELETE FROM accounts WHERE id ~ '_[abc]$'")
    refusal(admin.post(f"/api/backup/compare/{job}/bring-back", json=rest), 413, "too_large")


REFUSED: list[tuple[Json, int, str, list[str]]] = [
    ({}, 400, "invalid_request", ["entity"]),
    ({"entity": "accounts"}, 400, "invalid_request", []),
    ({"entity": "accounts", "ids": ["a"], "kind": "changed"}, 400, "invalid_request", []),
    ({"entity": "accounts", "ids": []}, 400, "invalid_request", ["ids"]),
    ({"entity": "accounts", "ids": ["a", "a"]}, 400, "invalid_request", ["ids"]),
    ({"entity": "accounts", "kind": "only_live"}, 400, "invalid_request", ["kind"]),
    ({"entity": "accounts", "kind": "changed", "cursor": "x"}, 400, "invalid_cursor", ["cursor"]),
    ({"entity": "accounts", "ids": ["a"], "cursor": "1"}, 400, "invalid_request", []),
    ({"entity": "accounts", "kind": "only_in_backup", "fields": ["status"]}, 400, "invalid_request", []),
    ({"entity": "accounts", "ids": ["a"], "fields": ["nothing"]}, 400, "invalid_request", ["fields[0]"]),
    ({"entity": "accounts", "ids": ["a"], "fields": ["id"]}, 400, "invalid_request", ["fields[0]"]),
    ({"entity": "accounts", "ids": ["a"], "fields": ["status", "status"]}, 400, "invalid_request", ["fields[1]"]),
    ({"entity": "accounts", "ids": ["a"], "on_conflict": "skip"}, 400, "invalid_request", ["on_conflict"]),
    ({"entity": "nothing", "ids": ["a"]}, 400, "unknown_data_type", ["entity"]),
    ({"entity": "users", "ids": ["a"]}, 400, "not_compared", ["entity"]),
]


def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    office: Office, admin: Api, backups: list[str], other: Api
) -> None:
    job = compare(admin, backups[0], entities=["accounts", "posts"])["id"]
    before = office.rows("accounts")
    url = f"/api/backup/compare/{job}"
    for body, status, code, named in REFUSED:
        told = refusal(admin.post(f"{url}/bring-back", json=body), status, code)
        assert (fields(told) if named else named) == named, body
    for query, code in (
        ({"entity": "accounts"}, "invalid_request"),
        ({"entity": "accounts", "kind": "same"}, "invalid_request"),
        ({"entity": "nothing", "kind": "changed"}, "unknown_data_type"),
        ({"entity": "users", "kind": "changed"}, "not_compared"),
        ({"entity": "accounts", "kind": "changed", "cursor": "-1"}, "invalid_cursor"),
        ({"entity": "accounts", "kind": "changed", "limit": "101"}, "invalid_request"),
    ):
        refusal(admin.get(url, params=query), 400, code)
    wanted = {"entity": "accounts", "ids": ["acc_1"]}
    for api, status, code in ((other, 404, "not_found"), (office.caller("operator"), 403, "role_too_low")):
        refusal(api.post(f"{url}/bring-back", json=wanted), status, code)
        refusal(api.get(url, params={"entity": "accounts", "kind": "changed"}), status, code)
        refusal(api.post(f"/api/backup/{backups[0]}/compare"), status, code)
    told = bring_back(admin, job, 207, entity="accounts", ids=["acc_new", "nobody", "acc_3"])
    assert codes(told) == {"acc_new": "not_in_backup", "nobody": "not_in_backup", "acc_3": None}
    for body in ({"entities": []}, {"entities": ["nothing"]}, {"entities": ["posts", "posts"]}, {"more": 1}):
        assert admin.post(f"/api/backup/{backups[0]}/compare", json=body).status_code == 400
    assert office.rows("accounts") == before


def test_nothing_is_left_once_a_day_is_over_or_a_crash_has_emptied_it(
    office: Office, admin: Api, backups: list[str], stack: RunningStack, dynamodb: Any
) -> None:
    first, second = (compare(admin, backups[0], entities=["accounts"])["id"] for _ in range(2))
    staged = "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s"
    [[schema]] = office.run(staged, f"stowage_compare_{first}%")
    with psycopg.connect(stack.url_as("stowage_restore"), autocommit=True) as restorer:
        restorer.execute(f'TRUNCATE "{schema}".stw_marker'.encode())
    over = "2026-01-01T00:00:00.000Z"
    change_run(stack, dynamodb, office.id, second, expires_at=over, due_at=over)
    stack.invoke("OnTickFunction")
    query = {"entity": "accounts", "kind": "changed"}
    for job in (first, second):
        refusal(admin.get(f"/api/backup/compare/{job}", params=query), 410, "expired")
        body = {"entity": "accounts", "ids": ["acc_1"]}
        refusal(admin.post(f"/api/backup/compare/{job}/bring-back", json=body), 410, "expired")
    wait_until(lambda: not office.run(staged, f"stowage_compare_{second}%"))
