"""Undo of updates and imports: what goes back, what stays, and in how many requests."""

import json

import pytest

from stowage.basics.errors import ConflictError
from stowage.basics.ids import encode_id
from stowage.bulk import bulk_undo, undoing
from stowage.bulk.requests import UndoRequest
from tests.stack.file_import_surface import csv_file, imported
from tests.stack.office import Json, Office, codes, in_process
from tests.stack.test_bulk_statements import NOW
from tests.stack.test_bulk_undo import reassign


def patch(office: Office, entity: str, record_id: str, **fields: Json) -> None:
    """Change one record."""
    answer = office.caller().patch(f"/api/v1/{entity}/{record_id}", json=fields)
    assert answer.status_code == 200, answer.text


def update(office: Office, entity: str, *updates: Json) -> str:
    """Change records in bulk; the operation."""
    answer = office.caller().patch(f"/api/v1/bulk/{entity}", json={"updates": list(updates)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["operationId"])


def from_file(office: Office, entity: str, *lines: str) -> str:
    """Import a file that changes what is there; the operation."""
    result = imported(office.caller(), entity, "csv", csv_file(*lines), office.id, onConflict="update")
    assert result["failed"] == 0, result
    return str(result["operation_id"])


def labels(office: Office) -> dict[str, str]:
    """The labels of the live brands whose ids are letters."""
    rows = office.rows("brands").values()
    return {row["id"]: row["label"] for row in rows if len(row["id"]) == 1 and row["deleted_at"] is None}


def test_an_account_does_not_go_back_to_a_group_that_has_another_brand_by_now(office: Office) -> None:
    office.accounts("a", "b")
    operation = reassign(office, ["a"])["operationId"]
    office.delete("b")
    office.run("DELETE FROM accounts WHERE id = 'b'")
    patch(office, "groups", "grp_1", brandId="brd_2")
    before = office.rows("accounts")
    assert codes(office.undo(operation, 207)) == {"a": "conflict"}
    assert office.rows("accounts") == before


def test_a_group_does_not_go_back_to_a_brand_that_its_accounts_do_not_have(office: Office) -> None:
    operation = update(office, "groups", {"id": "grp_1", "brandId": "brd_2"}, {"id": "grp_2", "label": "Z"})
    office.caller().post(
        "/api/v1/accounts", json={"username": "n", "platform": "x", "brandId": "brd_2", "groupId": "grp_1"}
    )
    assert codes(office.undo(operation, 207)) == {"grp_1": "conflict", "grp_2": None}
    rows = office.rows("groups")
    assert (rows["grp_1"]["brand_id"], rows["grp_2"]["label"]) == ("brd_2", "B")


def test_a_group_whose_accounts_would_agree_again_goes_back(office: Office) -> None:
    operation = update(office, "groups", {"id": "grp_1", "brandId": "brd_2"})
    office.accounts("a", brand="brd_1", group="grp_1")
    assert codes(office.undo(operation)) == {"grp_1": None}


def test_two_rows_of_a_file_for_one_record_are_one_change(office: Office) -> None:
    office.run("INSERT INTO tasks (id, title, updated_at) VALUES ('t', 'orig', '2024-01-01Z'), ('u', 'orig', now())")
    before = office.rows("tasks")
    operation = from_file(
        office,
        "tasks",
        "id,title,description,priority",
        "t,one2,,high",
        "new,made,,low",
        "t,two2,x,high",
        "new,made2,y,low",
    )
    assert office.rows("tasks")["t"]["title"] == "two2"
    undone = office.undo(operation)
    assert codes(undone) == {"t": None, "new": None}
    rows = office.rows("tasks")
    assert rows.pop("new")["deleted_at"] is not None
    assert rows == before
    assert office.is_gapless()


def test_two_rows_for_one_record_that_was_edited_since_leave_it(office: Office) -> None:
    office.run("INSERT INTO tasks (id, title) VALUES ('t', 'orig')")
    operation = from_file(office, "tasks", "id,title,priority", "t,a,high", "n,b,low", "t,c,high", "n,d,low")
    office.run("UPDATE tasks SET title = 'mine'")
    assert codes(office.undo(operation, 207)) == {"t": "changed_since", "n": "changed_since"}
    assert office.live("tasks") == {"t", "n"}
    office.run("UPDATE tasks SET title = CASE id WHEN 't' THEN 'c' ELSE 'd' END")
    assert codes(office.undo(operation)) == {"t": None, "n": None}


LETTERS = "INSERT INTO brands (id, label) VALUES ('a', 'x'), ('b', 'y'), ('c', 'z')"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(["a,w", "b,x", "c,y"], id="each takes what the one before it left"),
        pytest.param(["a,w", "b,x", "a,y"], id="two swap"),
        pytest.param(["a,w", "b,x", "c,y", "a,z"], id="three in a ring"),
        pytest.param(["a,v", "a,w", "n,x"], id="a new one takes what an old one left"),
    ],
)
def test_what_was_taken_in_turn_goes_back_whole(office: Office, rows: list[str]) -> None:
    office.run(LETTERS)
    before = office.rows("brands")
    operation = from_file(office, "brands", "id,label", *rows)
    assert set(codes(office.undo(operation)).values()) == {None}
    after = office.rows("brands")
    assert {record_id: after[record_id] for record_id in before} == before


def test_who_waits_for_one_that_stays_stays_too(office: Office) -> None:
    office.run(LETTERS + ", ('d', 'd')")
    operation = from_file(office, "brands", "id,label", "a,w", "b,x", "c,y", "d,e")
    office.run("INSERT INTO brands (id, label) VALUES ('n', 'z')")
    assert codes(office.undo(operation, 207)) == {"a": "conflict", "b": "conflict", "c": "conflict", "d": None}
    assert labels(office) == {"a": "w", "b": "x", "c": "y", "d": "d", "n": "z"}


def test_of_two_that_had_the_same_one_after_the_other_one_goes_back(office: Office) -> None:
    office.run(LETTERS)
    operation = update(office, "brands", {"id": "a", "label": "v"}, {"id": "b", "label": "w"})
    # As if b had been given a's label between two batches of one import.
    office.database.execute(
        "UPDATE stowage.changes SET before = before || '{\"label\": \"x\"}' WHERE operation = %s AND id = 'b'",
        (operation,),
    )
    assert codes(office.undo(operation, 207)) == {"a": None, "b": "conflict"}


def posts_with_urls(office: Office, count: int) -> str:
    """A file import of so many posts whose ids are URLs of 900 characters; the operation."""
    office.accounts("acc")
    stem = "https://x.example/" + "p" * 876
    lines = ["id,accountId,url", *(f"{stem}{n:06},acc,{stem}{n:06}" for n in range(count))]
    return from_file(office, "posts", *lines)


def test_an_answer_that_would_be_too_large_lists_less_and_says_so(office: Office) -> None:
    operation = posts_with_urls(office, 4_500)
    kept = "https://x.example/" + "p" * 876 + "000007"
    office.run("UPDATE posts SET caption = 'mine' WHERE id = %s", kept)
    answer = office.caller().post(office.path("bulk/undo"), json={"operationId": operation})
    assert answer.status_code == 207, answer.text[:500]
    assert len(answer.content) < 5_000_000
    body = answer.json()
    assert (body["total"], body["succeeded"], body["failed"], body["truncated"]) == (4_500, 4_499, 1, True)
    assert body["results"] == [{"id": encode_id(kept), "status": "error", "code": "changed_since"}]
    assert office.live("posts") == {kept}


def test_an_answer_of_nothing_but_failures_keeps_its_counts(office: Office) -> None:
    operation = posts_with_urls(office, 4_500)
    office.run("UPDATE posts SET caption = 'mine'")
    answer = office.caller().post(office.path("bulk/undo"), json={"operationId": operation})
    assert answer.status_code == 207, answer.text[:500]
    body = answer.json()
    assert (body["total"], body["failed"], body["truncated"], body["results"]) == (4_500, 4_500, True, [])
    assert len(office.live("posts")) == 4_500


def test_an_operation_of_very_many_changes_is_undone_by_several_requests(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "MOST_UNDONE", 6)
    office.run(
        "INSERT INTO tasks (id, title, updated_at) SELECT 't' || n, 'old', '2024-01-01Z' FROM generate_series(0, 3) n"
    )
    before = office.rows("tasks")
    rows = [f"t{n},new" for n in range(4)] + [f"n{n},made" for n in range(6)]
    operation = from_file(office, "tasks", "id,title", *rows, "t0,newer", "n0,changed")
    office.run("UPDATE tasks SET title = 'mine' WHERE id IN ('t3', 'n4')")

    with in_process(office.stack):

        def undo(key: str | None = None) -> Json:
            kept = bulk_undo(office.edit(NOW, key), UndoRequest(operationId=operation))
            assert kept.status == 207
            return json.loads(kept.body)

        first = undo("one")
        assert undo("one") == first
        assert first.pop("remaining") == 6
        assert codes(first) == {"t0": None, "n0": None, "n2": None, "n3": None, "n4": "changed_since", "n5": None}
        assert not is_undone(office, operation)
        assert office.rows("tasks")["t1"]["title"] == "new"

        last = undo()
        assert "remaining" not in last
        assert codes(last) == {"t1": None, "t2": None, "t3": "changed_since", "n1": None}
        assert is_undone(office, operation)
        with pytest.raises(ConflictError) as refused:
            undo()
        assert refused.value.code == "already_undone"

    rows_now = office.rows("tasks")
    assert {name: rows_now[name] for name in ("t0", "t1", "t2")} == {name: before[name] for name in ("t0", "t1", "t2")}
    assert rows_now["t3"]["title"] == "mine"
    assert office.live("tasks") == {*before, "n4"}
    assert office.is_gapless()


def test_a_large_operation_of_which_nothing_went_back_may_be_undone_once_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "MOST_UNDONE", 2)
    operation = from_file(office, "tasks", "id,title", "a,made", "b,made", "c,made")
    office.run("UPDATE tasks SET title = 'mine'")
    request = UndoRequest(operationId=operation)
    with in_process(office.stack):
        for _ in range(2):
            assert bulk_undo(office.edit(NOW), request).status == 207
        assert not is_undone(office, operation)
        office.run("UPDATE tasks SET title = 'made' WHERE id = 'c'")
        told = [json.loads(bulk_undo(office.edit(NOW), request).body) for _ in range(2)]
    assert [each.pop("remaining", None) for each in told] == [1, None]
    assert [codes(each) for each in told] == [{"b": "changed_since", "c": None}, {"a": "changed_since"}]
    assert is_undone(office, operation)
    assert office.live("tasks") == {"a", "b"}


def is_undone(office: Office, operation: str) -> bool:
    """Whether the list says so."""
    listed = office.caller("viewer").get(office.path("bulk/operations")).json()["operations"]
    return next(each for each in listed if each["id"] == operation)["undoneAt"] is not None
