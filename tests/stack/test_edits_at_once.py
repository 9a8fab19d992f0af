"""Several clients at once on the same ids: each id succeeds once, nobody is told of a deadlock, the journal adds up."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stowage.trash.purging import purge_tenant
from tests.conftest import Api, RunningStack
from tests.stack.journal_story import adds_up
from tests.stack.office import Office, codes, in_process

IDS = [f"a{n:02}" for n in range(60)]

type Call = Callable[[Api], Any]


@pytest.fixture
def many(office: Office) -> Office:
    """An office with sixty accounts, and two posts of each."""
    office.accounts(*IDS)
    for name in IDS:
        office.posts(name, f"{name}-p", f"{name}-q")
    return office


def at_once(office: Office, *calls: Call) -> list[Any]:
    """The answers to calls made at the same time, each by a client of its own."""
    callers = [office.caller("admin") for _ in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(lambda call, caller: call(caller), calls, callers))
    for answer in answers:
        assert answer.status_code < 500, answer.text
    return answers


def successes(answer: Any) -> list[str]:
    return [record_id for record_id, code in codes(answer.json()).items() if code is None]


def bulk(office: Office, what: str, **body: Any) -> Call:
    return lambda api: api.post(office.path(f"bulk/{what}"), json=body)


def undo(office: Office, operation: str) -> Call:
    return bulk(office, "undo", operationId=operation)


def reassign(office: Office, ids: list[str], group: str = "grp_2") -> Call:
    return bulk(office, "reassign", ids=ids, targetBrandId=group.replace("grp", "brd"), targetGroupId=group)


def restore(office: Office, record_id: str) -> Call:
    return lambda api: api.post(office.path(f"trash/{record_id}"))


def delete_for_good(office: Office, record_id: str) -> Call:
    return lambda api: api.delete(office.path(f"trash/{record_id}?dataType=accounts"))


def update(ids: list[str], **fields: Any) -> Call:
    updates = [{"id": record_id, **fields} for record_id in ids]
    return lambda api: api.patch("/api/v1/bulk/accounts", json={"updates": updates})


def bring_in(*names: str, **more: Any) -> Call:
    items = [{"username": name, "platform": "x", "brandId": "brd_1"} | more for name in names]
    return lambda api: api.post("/api/v1/import/accounts", json={"items": items, "options": {"skipInvalid": True}})


def test_what_is_deleted_and_reassigned_at_once_is_deleted(many: Office) -> None:
    deleting = bulk(many, "delete", ids=IDS, dataType="accounts")
    deleted, *moved = at_once(many, deleting, reassign(many, IDS[::-1]), reassign(many, IDS, "grp_1"))
    assert successes(deleted) == IDS
    assert all(set(codes(answer.json()).values()) <= {None, "already_deleted"} for answer in moved)
    assert many.live("accounts") == many.live("posts") == set()
    adds_up(many)


def test_what_is_reassigned_both_ways_at_once_is_whole_in_one_place(many: Office) -> None:
    for answer in at_once(many, *(reassign(many, IDS[::turn], f"grp_{n}") for turn in (1, -1) for n in (1, 2))):
        assert len(successes(answer)) == len(IDS)
    places = {(row["brand_id"], row["group_id"]) for row in many.rows("accounts").values()}
    assert places in ({("brd_1", "grp_1")}, {("brd_2", "grp_2")})
    adds_up(many)


def test_what_is_restored_and_deleted_for_good_at_once_has_one_end(many: Office) -> None:
    many.delete(*IDS[:12])
    for name in IDS[:12]:
        back, gone = at_once(many, restore(many, name), delete_for_good(many, name))
        outcome = back.status_code, gone.status_code
        assert outcome in {(200, 404), (410, 200)}, (back.text, gone.text)
        assert (name in many.live("accounts")) == (f"{name}-p" in many.live("posts")) == (outcome == (200, 404))
    adds_up(many)


@pytest.fixture
def here(stack: RunningStack) -> Iterator[None]:
    with in_process(stack):
        yield


@pytest.mark.usefixtures("here")
def test_the_purge_takes_what_nobody_has_restored_meanwhile(many: Office) -> None:
    many.delete(*IDS)
    later = datetime.now(UTC) + timedelta(days=31)
    with ThreadPoolExecutor(1) as pool:
        purging = pool.submit(purge_tenant, many.tenant, later, lambda: True)
        answers = at_once(many, *(restore(many, name) for name in IDS[::-8]))
        purged, finished = purging.result()
    assert finished
    assert {answer.status_code for answer in answers} <= {200, 410}
    back = {answer.json()["item"]["id"] for answer in answers if answer.status_code == 200}
    assert many.live("accounts") == set(many.rows("accounts")) == back
    assert purged == 3 * (len(IDS) - len(back))
    adds_up(many)


def test_an_undo_beside_restores_and_deletions_for_good_shares_the_ids_with_them(many: Office) -> None:
    operation = many.delete(*IDS)["operationId"]
    one, two = restore(many, IDS[0]), delete_for_good(many, IDS[30])
    undone, back, gone, other = at_once(many, undo(many, operation), one, two, restore(many, IDS[59]))
    told = codes(undone.json())
    assert [answer.status_code for answer in (back, other)] == [
        200 if told[name] == "changed_since" else 404 for name in (IDS[0], IDS[59])
    ]
    assert gone.status_code == (200 if told[IDS[30]] == "purged" else 404)
    assert set(told.values()) <= {None, "changed_since", "purged"}
    assert len(many.live("accounts")) == len(IDS) - (gone.status_code == 200)
    adds_up(many)


def test_an_undo_beside_edits_puts_back_what_they_have_not_reached(many: Office) -> None:
    moved = reassign(many, IDS)(many.caller()).json()["operationId"]
    deleting = bulk(many, "delete", ids=IDS[40:], dataType="accounts")
    undone, deleted, updated = at_once(many, undo(many, moved), deleting, update(IDS[:20][::-1], groupId=None))
    told = codes(undone.json())
    assert successes(deleted) == IDS[40:]
    assert set(told.values()) <= {None, "changed_since"}
    assert None in {told[name] for name in IDS[20:40]}
    assert updated.json()["data"]["updated"] == 20
    adds_up(many)


def test_what_is_updated_and_deleted_at_once_is_deleted(many: Office) -> None:
    deleting = bulk(many, "delete", ids=IDS[::-1], dataType="accounts")
    deleted, updated, _ = at_once(many, deleting, update(IDS, followers=5), update(IDS[::-1], displayName="x"))
    assert len(successes(deleted)) == len(IDS)
    data = updated.json()["data"]
    assert data["updated"] + data["failed"] == len(IDS)
    assert {failure["code"] for failure in data["failures"]} <= {"not_found"}
    adds_up(many)


def test_an_import_and_restores_of_the_same_names_make_one_of_each(many: Office) -> None:
    operation = many.delete(*IDS[:30])["operationId"]
    names = [f"user {name}" for name in IDS[:30]]
    imported, other, *backs = at_once(
        many, bring_in(*names), undo(many, operation), *(restore(many, name) for name in IDS[:30:10])
    )
    told = codes(other.json())
    taken = {item["username"] for item in imported.json()["data"]["items"]}
    back = {name for name, code in told.items() if code is None}
    back |= {name for name, answer in zip(IDS[:30:10], backs, strict=True) if answer.status_code == 200}
    assert {answer.status_code for answer in backs} <= {200, 404, 409}
    assert {f"user {name}" for name in back} | taken == set(names)
    assert len(back) + len(taken) == len(names)
    live = Counter(row["username"] for row in many.rows("accounts").values() if row["deleted_at"] is None)
    assert set(live.values()) == {1}
    adds_up(many)


def test_accounts_imported_and_undone_at_once_with_posts_that_join_them(office: Office) -> None:
    names = [f"n{n}" for n in range(30)]
    data = bring_in(*names)(office.caller()).json()["data"]
    ids = [item["id"] for item in data["items"]]
    posts = [{"accountId": record_id, "url": f"u{record_id}"} for record_id in ids[::-2]]
    body = {"items": posts, "options": {"skipInvalid": True}}
    undone, joined = at_once(
        office, undo(office, data["operationId"]), lambda api: api.post("/api/v1/import/posts", json=body)
    )
    with_posts = {item["accountId"] for item in joined.json()["data"]["items"]}
    assert {record_id for record_id, code in codes(undone.json()).items() if code} == with_posts
    assert office.live("accounts") == with_posts
    adds_up(office)


def test_whatever_many_clients_do_at_once_the_journal_adds_up(office: Office) -> None:
    ids = office.accounts(*IDS[:20])
    operations: list[str] = []
    answered: Counter[int] = Counter()

    def client(seed: int) -> None:
        chance, api = random.Random(seed), office.caller("admin")
        for _ in range(25):
            some = chance.sample(ids, chance.randint(1, 12))
            name = f"user {chance.choice(ids)}"
            call = chance.choice(
                [
                    bulk(office, "delete", ids=some, dataType="accounts"),
                    reassign(office, some, chance.choice(["grp_1", "grp_2"])),
                    undo(office, chance.choice(operations)) if operations else restore(office, some[0]),
                    restore(office, some[0]),
                    delete_for_good(office, some[0]),
                    bring_in(name, f"{name} too", *([some[0]] * 2)),
                    update(some, followers=chance.randint(0, 9)),
                    update(some[:1], username=name),
                    lambda api: api.delete(f"/api/v1/accounts/{some[0]}"),  # noqa: B023
                    lambda api: api.post("/api/v1/posts", json={"accountId": some[0], "url": name}),  # noqa: B023
                ]
            )
            answer = call(api)
            answered[answer.status_code] += 1
            assert answer.status_code in {200, 201, 207, 400, 404, 409, 410}, answer.text
            body = answer.json()
            if operation := body.get("operationId") or (body.get("data") or {}).get("operationId"):
                operations.append(operation)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client, range(4)))
    assert answered[200] + answered[201] + answered[207] > 30, answered
    adds_up(office)
