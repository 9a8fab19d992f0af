"""A restore that is killed at any step: the live schema is as it was, the next attempt ends it, and nothing stays."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.faults.run_surface import Runs, eventually, kill

TENANT, SCHEMA = "globex", "tenant_globex"
STEPS = [
    ("s3", "GetObject", "/globex/"),
    ("dynamodb", "UpdateItem", "Everything is loaded."),
    ("dynamodb", "UpdateItem", "Counting the rows."),
    ("dynamodb", "UpdateItem", "Waiting for older transactions."),
    ("dynamodb", "UpdateItem", "Waiting for locks."),
]
"""The worker's calls before the swap, in their order."""


@pytest.fixture
def database(runs: Runs) -> Iterator[psycopg.Connection]:
    with psycopg.connect(runs.stack.database_url, autocommit=True) as connection:
        yield connection


def labels(database: psycopg.Connection) -> list[tuple[Any, ...]]:
    """What the test changes after the backup, as it is now."""
    return database.execute("SELECT id, label FROM tenant_globex.brands ORDER BY id").fetchall()


def left(database: psycopg.Connection) -> set[str]:
    """The schemas that restores have made and nobody has dropped."""
    found = database.execute("SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^stowage_(copy|kept|aside)_'")
    return {name for (name,) in found.fetchall()}


def restore(runs: Runs, backup: str, **more: Any) -> str:
    """Ask for a restore in place; the run's id."""
    body = {"project_id": TENANT, "backup_id": backup, "mode": "in_place", "confirm": TENANT, **more}
    answer = runs.admin.post("/api/backup/restore", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["data"]["id"])


def look_now(runs: Runs, run_id: str) -> None:
    """Let the time come when the clock looks what a run has left."""
    runs.dynamodb.update_item(
        TableName=runs.table,
        Key={"pk": {"S": f"T#{TENANT}"}, "sk": {"S": f"RESTORED#{run_id}"}},
        UpdateExpression="SET due_at = :past",
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000Z"}},
    )


def test_a_restore_killed_before_its_swap_has_changed_nothing(runs: Runs, database: psycopg.Connection) -> None:
    backup = runs.ends(runs.backup(TENANT), "completed")["id"]
    backed_up, of_others = labels(database), left(database)
    database.execute("UPDATE tenant_globex.brands SET label = label || ' since'")
    since = labels(database)
    killed = list[str]()
    for service, operation, contains in STEPS:
        held = runs.hold(service, operation, contains, delay=60, drop="before")
        run_id = restore(runs, backup)
        held.reached()
        assert labels(database) == since, contains
        runs.change(run_id, tries=3)
        kill(runs.worker(run_id))
        runs.release()
        runs.ends(run_id, "failed")
        assert labels(database) == since, contains
        killed.append(run_id)
        assert left(database) - of_others <= {f"stowage_copy_{each.replace('-', '')}" for each in killed}, contains

    runs.retry(killed[-1])
    runs.ends(killed[-1], "completed")
    kept = f"stowage_kept_{killed[-1].replace('-', '')}"
    assert labels(database) == backed_up
    assert kept in left(database)
    database.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(kept)))

    for each in killed[:-1]:
        look_now(runs, each)
    runs.tick()
    eventually(lambda: left(database) == of_others, "what the killed ones have left is dropped")
