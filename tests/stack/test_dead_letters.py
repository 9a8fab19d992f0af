"""What no reader of the table's stream can use goes to the dead letters at once, and holds up nothing else."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from stowage.aws.table import encode
from stowage.basics.ids import new_run_id, rfc3339
from stowage.runs.record import Run
from tests.conftest import Api, RunningStack
from tests.stack.route_surface import completed_export, journal_of, wait_until

type Json = Any

SOON = 10.0
"""Seconds: far less than the two minutes after which the clock sends a note again."""


def note(**changes: Json) -> Json:
    """An audit note as functions outside the network write it."""
    now = datetime.now(UTC)
    usual = {
        "pk": "NOTE#audit",
        "sk": new_run_id(now),
        "tenant": "acme2",
        "database": "main",
        "type": "export.requested",
        "subject": str(uuid4()),
        "actor": "ada",
        "at": rfc3339(now),
        "after": json.dumps({"search": "a"}),
    }
    return usual | changes


def write(stack: RunningStack, dynamodb: Any, notes: list[Json]) -> None:
    """Write these notes in one transaction, so that they come in one batch of the stream."""
    items = [{name: encode(value) for name, value in each.items()} for each in notes]
    table = stack.resources["Table"]
    dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": item}} for item in items])


def item(stack: RunningStack, dynamodb: Any, pk: str, sk: str) -> Json:
    key = {"pk": {"S": pk}, "sk": {"S": sk}}
    return dynamodb.get_item(TableName=stack.resources["Table"], Key=key, ConsistentRead=True).get("Item")


UNWRITABLE = {
    "NUL in the actor": {"actor": "a\0b"},
    "NUL in the subject": {"subject": "\0"},
    "NUL in a text of the image": {"after": json.dumps({"search": "a\0"})},
    "NUL in a name of the image": {"after": json.dumps({"a\0": 1})},
    "half a pair in the image": {"after": json.dumps({"search": "\ud83d"})},
    "the other half": {"after": json.dumps({"search": ["\ude00"]})},
}


def test_unwritable_entries_go_to_the_dead_letters_at_once_and_the_others_of_the_batch_are_written(
    stack: RunningStack, dynamodb: Any
) -> None:
    dead = {name: note(**changes) for name, changes in UNWRITABLE.items()}
    good = [note() for _ in range(len(dead) + 1)]
    mixed = [each for pair in zip(good, dead.values(), strict=False) for each in pair] + good[-1:]
    started = time.monotonic()
    write(stack, dynamodb, mixed)
    for each in good:
        wait_until(lambda each=each: journal_of(stack, "acme2", each["subject"]), SOON)
    for name, each in dead.items():
        kept = wait_until(lambda each=each: item(stack, dynamodb, "DEAD#audit", each["sk"]), SOON)
        assert {field: kept[field] for field in each if field != "pk"} == {
            field: encode(value) for field, value in each.items() if field != "pk"
        }, name
        assert kept["error"]["S"], name
    for each in mixed:
        wait_until(lambda each=each: item(stack, dynamodb, "NOTE#audit", each["sk"]) is None, SOON)
    assert time.monotonic() - started < 3 * SOON
    assert all(len(journal_of(stack, "acme2", each["subject"])) == 1 for each in good)

    told = dead_letters(stack, "DEAD#audit", {each["sk"] for each in dead.values()})
    assert all(set(body) == {"pk", "sk", "tenant", "error"} for body in told.values())


def dead_letters(stack: RunningStack, pk: str, sks: set[str]) -> Json:
    """What the dead-letter queue is told of these items, by sort key, once it was told of all."""
    sqs, told = stack.aws("sqs"), {}
    queue = stack.resources["DeadLetterQueue"]

    def all_told() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            body = json.loads(message["Body"])
            if body.get("pk") == pk:
                told[body["sk"]] = body
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return sks <= set(told)

    wait_until(all_told, SOON)
    sqs.close()
    return told


POISONED = {
    "a status that this version does not know": {"status": "pending", "trigger": "by the moon"},
    "no spec": {"status": "pending", "spec": None},
    "a text where a number is due": {"status": "failed", "attempt": "the first"},
    "nothing but its state": {"status": "cancelled", "tenant": None, "id": None},
}


def test_a_run_that_cannot_be_read_goes_to_the_dead_letters_at_once_and_the_runs_after_it_start(
    stack: RunningStack, dynamodb: Any, admin: Api
) -> None:
    read = Run(
        id="poisoned", tenant="initech", kind="export", database="main", spec={}, requested_by="ada", created_at="2026"
    )
    poisoned = []
    for changes in POISONED.values():
        changed = {name: value for name, value in (read.model_dump() | changes).items() if value is not None}
        poisoned.append(changed | {"pk": "T#initech", "sk": f"RUN#{new_run_id(datetime.now(UTC))}"})
    write(stack, dynamodb, poisoned)
    export = completed_export(admin, "initech")
    told = dead_letters(stack, "T#initech", {each["sk"] for each in poisoned})
    assert export["status"] == "completed"
    assert all(set(body) == {"pk", "sk", "tenant", "error"} for body in told.values())
    assert {body["error"] for body in told.values()} == {
        "This version cannot read trigger of the run.",
        "This version cannot read spec of the run.",
        "This version cannot read attempt of the run.",
        "This version cannot read id, tenant of the run.",
    }
    for each in poisoned:
        key = {name: {"S": each[name]} for name in ("pk", "sk")}
        dynamodb.delete_item(TableName=stack.resources["Table"], Key=key)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_nothing_but_unwritable_entries_leaves_no_gap_in_the_journals_numbers(
    stack: RunningStack, dynamodb: Any, count: int, database: Any
) -> None:
    notes = [note(tenant="initech", actor="\0") for _ in range(count)]
    write(stack, dynamodb, notes)
    for each in notes:
        wait_until(lambda each=each: item(stack, dynamodb, "DEAD#audit", each["sk"]), SOON)
    after = note(tenant="initech")
    write(stack, dynamodb, [after])
    wait_until(lambda: journal_of(stack, "initech", after["subject"]), SOON)
    gaps = database.execute(
        "SELECT count(*) - max(seq) + min(seq) FROM stowage.changes WHERE tenant = 'initech'"
    ).fetchone()
    assert gaps == (1,)
