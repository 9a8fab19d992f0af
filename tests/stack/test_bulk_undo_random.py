"""Random updates and imports of accounts, undone: exactly what each changed goes back, unless it was edited since."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from pydantic_core import to_json

from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.records import change_records
from tests.stack.file_import_surface import imported, ndjson_file
from tests.stack.office import Json, Office, codes, in_process

NOW = datetime(2026, 11, 20, 12, 34, 56, 789012, UTC)
PLACES = [("brd_1", None), ("brd_1", "grp_1"), ("brd_2", None), ("brd_2", "grp_2")]
COLUMNS = ("username", "display_name", "platform", "brand_id", "group_id", "followers", "status")
EDITS = {
    "display_name": "display_name = 'mine'",
    "followers": "followers = followers + 1",
    "status": "status = status || '!'",
    "username": "username = 'mine ' || id",
    "updated_at": "updated_at = '2026-12-24T00:00:00Z'",
    "nothing": "display_name = display_name",
}


@pytest.fixture
def app(office: Office) -> Iterator[Office]:
    """The office, with use cases callable in this process."""
    with in_process(office.stack):
        yield office


def some_fields(random: Random, *, whole: bool = False) -> Json:
    """Fields of an account, few of whose usernames are free; any of them, and nulls."""
    brand, group = random.choice(PLACES)
    fields: Json = {
        "username": f"name {random.randrange(14)}",
        "displayName": random.choice([None, "", "Ünï \\ \" 'quoted'", "plain"]),
        "platform": random.choice(["x", "y"]),
        "followers": random.choice([0, 1, 2**53 + 1]),
        "status": random.choice(["active", "paused"]),
    }
    chosen = fields if whole else {name: fields[name] for name in fields if random.random() < 0.5}
    return chosen | ({"brandId": brand, "groupId": group} if whole or random.random() < 0.5 else {})


def fill(office: Office, random: Random) -> None:
    """Ten accounts, of any age."""
    for n in range(10):
        brand, group = random.choice(PLACES)
        office.run(
            "INSERT INTO accounts (id, username, display_name, platform, brand_id, group_id, updated_at) "
            "VALUES (%s, %s, %s, 'x', %s, %s, %s)",
            f"a{n}",
            f"name {n}",
            random.choice([None, "plain"]),
            brand,
            group,
            NOW - timedelta(microseconds=random.randrange(10**15)),
        )


def edit(office: Office, random: Random) -> None:
    """Change some columns of some records by SQL of the product's own."""
    for record_id in sorted(office.live("accounts")):
        if random.random() < 0.4:
            office.run(f"UPDATE accounts SET {EDITS[random.choice(list(EDITS))]} WHERE id = %s", record_id)


def key(row: Json) -> tuple[str, str]:
    return row["platform"], row["username"]


def expect(entries: list[Json], before: Json, left: Json, now: Json) -> tuple[dict[str, str | None], Json]:
    """What undoing the step from `before` to `left` must answer, and the table after it, `now` being what is there."""
    answers: dict[str, str | None] = {}
    rows = dict(now)
    for record_id in dict.fromkeys(entry["id"] for entry in entries):
        old, row = before.get(record_id), left[record_id]
        told = {column for entry in entries if entry["id"] == record_id for column in entry["before"] or entry["after"]}
        touched = [column for column in COLUMNS if column in told]
        assert all(column in touched for column in COLUMNS if old and old[column] != row[column])
        if any(now[record_id][column] != row[column] for column in touched):
            answers[record_id] = "changed_since"
            continue
        answers[record_id] = None
        if old is None:
            rows[record_id] = None
            continue
        same_time = now[record_id]["updated_at"] == row["updated_at"]
        times = {"updated_at": old["updated_at"] if same_time else "2026-11-20T12:34:56.789012+00:00"}
        rows[record_id] = now[record_id] | {column: old[column] for column in touched} | times
    while clashing := next(
        (
            record_id
            for record_id, answer in answers.items()
            if answer is None and rows[record_id] and key(rows[record_id]) != key(now[record_id])
            for other, row in rows.items()
            if other != record_id and row and key(row) == key(rows[record_id])
        ),
        None,
    ):
        answers[clashing], rows[clashing] = "conflict", now[clashing]
    return answers, rows


def undo_and_compare(office: Office, operation: str, before: Json, left: Json, now: Json) -> None:
    entries = [entry for entry in office.journal(operation) if entry["type"] in ("created", "updated")]
    answers, rows = expect(entries, before, left, now)
    kept = bulk_undo(office.edit(NOW), UndoRequest(operationId=operation))
    assert codes(json.loads(kept.body)) == answers
    after = office.rows("accounts")
    assert {record_id: row if row["deleted_at"] is None else None for record_id, row in after.items()} == rows
    assert office.is_gapless()


def update(office: Office, random: Random) -> str:
    updates: list[Json] = [{"id": f"a{n}", **some_fields(random)} for n in random.sample(range(10), 7)]
    at = NOW - timedelta(minutes=1)
    kept = change_records(office.edit(at), ENTITIES["accounts"], to_json({"updates": updates}))
    return str(json.loads(kept.body)["data"]["operationId"])


def from_file(office: Office, random: Random) -> str:
    ids = [f"a{n}" for n in range(10)] + [f"n{n}" for n in range(6)]
    rows: list[Any] = [{"id": random.choice(ids), **some_fields(random, whole=True)} for _ in range(24)]
    result = imported(office.caller(), "accounts", "ndjson", ndjson_file(*rows), office.id, onConflict="update")
    return str(result["operation_id"])


@pytest.mark.long(but=["False-0", "True-1"])
@pytest.mark.parametrize("seed", range(settings().max_examples // 5))
@pytest.mark.parametrize("edited", [False, True])
def test_a_random_update_undone(app: Office, seed: int, edited: bool) -> None:
    random = Random(seed)
    fill(app, random)
    before = app.rows("accounts")
    operation = update(app, random)
    left = app.rows("accounts")
    if edited:
        edit(app, random)
    undo_and_compare(app, operation, before, left, app.rows("accounts"))
    if not edited:
        assert app.rows("accounts") == before


@pytest.mark.long(but=["False-0", "True-1"])
@pytest.mark.parametrize("seed", range(settings().max_examples // 10))
@pytest.mark.parametrize("edited", [False, True])
def test_a_random_import_undone(app: Office, seed: int, edited: bool) -> None:
    random = Random(seed)
    fill(app, random)
    before = app.rows("accounts")
    operation = from_file(app, random)
    left = app.rows("accounts")
    if edited:
        edit(app, random)
    undo_and_compare(app, operation, before, left, app.rows("accounts"))
    if not edited:
        assert {record_id: app.rows("accounts")[record_id] for record_id in before} == before
