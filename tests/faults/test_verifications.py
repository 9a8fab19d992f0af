"""Verifications that are killed, cancelled or come at the last moment; and what happens to the backup meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.faults.run_surface import Json, Runs, eventually, file_of, kill

LONG_AGO = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def backup(runs: Runs) -> Json:
    """A completed backup's record."""
    return runs.ends(runs.backup(), "completed")


@contextmanager
def verifying(runs: Runs, backup: Json, seconds: float = 3, level: int = 2) -> Iterator[str]:
    """A verification that is about to read the backup's file."""
    held = runs.hold("s3", "GetObject", file_of(backup)["key"], delay=seconds)
    run_id = runs.verify(backup["id"], level)
    held.reached()
    yield run_id


def shown(runs: Runs, backup: Json) -> Json:
    return runs.admin.get(f"/api/backup/{backup['id']}").json()["data"]


def test_a_backup_that_is_being_verified_is_not_deleted(runs: Runs, backup: Json) -> None:
    url = f"/api/backup/{backup['id']}"
    with verifying(runs, backup) as run_id:
        for forced in ("", "?force=true"):
            refused = runs.admin.delete(url + forced)
            assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert runs.record(backup["id"])["users"] == 1
    runs.ends(run_id, "completed")
    assert runs.objects(backup)
    assert shown(runs, backup)["verification"]["ok"] is True
    refused = runs.admin.delete(url)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_verified")
    assert runs.admin.delete(url + "?force=true").status_code == 204
    assert runs.objects(backup) == []
    assert runs.admin.delete(url).status_code == 404
    again = runs.admin.post(f"/api/jobs/{run_id}/retry")
    assert again.status_code == 409, "it has completed, and told what it found"


def test_a_backup_that_storage_gives_back_changed_is_made_again(runs: Runs) -> None:
    held = runs.hold("s3", "GetObject", "/globex/", delay=1.5)
    run_id = runs.backup()
    held.reached()
    [key] = runs.objects(runs.record(run_id))
    runs.s3.put_object(Bucket=runs.stack.resources["BackupsBucket"], Key=key, Body=b"something else")
    run = runs.ends(run_id, "completed")
    assert run["attempt"] == 2
    assert str(run["attempts"][0]["error"]).startswith("What was stored did not come back as it was. Its file ")
    assert run["verification"]["ok"] is True


def test_a_killed_verification_is_made_again(runs: Runs, backup: Json) -> None:
    with verifying(runs, backup) as run_id:
        kill(runs.worker(run_id))
    run = runs.ends(run_id, "completed")
    assert run["attempt"] == 2
    assert runs.record(backup["id"])["users"] == 0
    assert runs.record(backup["id"])["verification"]["at"] > backup["verification"]["at"]


def test_a_cancelled_verification_proves_nothing_and_lets_go(runs: Runs, backup: Json) -> None:
    with verifying(runs, backup) as run_id:
        assert runs.cancel(run_id).status_code == 202
    runs.ends(run_id, "cancelled")
    record = runs.record(backup["id"])
    assert (record["users"], record["verification"]) == (0, backup["verification"])
    assert runs.job(run_id)["result"] is None
    runs.completes_when_retried(run_id)
    assert runs.record(backup["id"])["users"] == 0
    assert runs.record(backup["id"])["verification"]["at"] > backup["verification"]["at"]


def test_a_verification_that_is_cancelled_while_it_waits_lets_go(runs: Runs, backup: Json) -> None:
    run_id = runs.verify(backup["id"])
    runs.ends(run_id, "completed")
    runs.change(run_id, status="pending", due_list="WAITING#-", not_before="2999-01-01T00:00:00.000Z")
    runs.change(backup["id"], users=1)
    assert runs.cancel(run_id).status_code == 202
    assert runs.record(run_id)["status"] == "cancelled"
    assert runs.record(backup["id"])["users"] == 0


def test_a_verification_is_not_retried_of_what_has_expired(runs: Runs, backup: Json) -> None:
    with verifying(runs, backup) as run_id:
        assert runs.cancel(run_id).status_code == 202
    before = runs.ends(run_id, "cancelled")
    runs.change(backup["id"], expired_at=LONG_AGO)
    refused = runs.admin.post(f"/api/jobs/{run_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (410, "expired")
    assert runs.record(run_id) == before
    assert runs.record(backup["id"])["users"] == 0


DAMAGE: dict[str, tuple[Any, str]] = {
    "a flipped bit": (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], "Its checksum is not the"),
    "a missing end": (lambda data: data[:-10], "Its file has "),
    "a missing file": (None, "Its file is gone."),
}


@pytest.mark.long(but=["a flipped bit", "a missing file"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_backup_fails_its_verification_for_good(runs: Runs, backup: Json, name: str) -> None:
    change, message = DAMAGE[name]
    bucket, key, data = runs.bucket(backup), file_of(backup)["key"], runs.body(backup)
    if change:
        runs.s3.put_object(Bucket=bucket, Key=key, Body=change(data))
    else:
        runs.s3.delete_object(Bucket=bucket, Key=key)
    run = runs.reaches(runs.verify(backup["id"]), "failed")
    assert (run["attempt"], run["error"]["code"]) == (1, "backup_damaged")
    job = runs.job(run["id"])
    assert job["last_error"].startswith(f"The backup is damaged. {message}")
    assert job["result"]["ok"] is False
    assert message in str([check["message"] for check in job["result"]["checks"] if not check["ok"]])
    assert shown(runs, backup)["verification"] == {"level": 2, "at": job["result"]["at"], "ok": False}
    assert runs.record(backup["id"])["users"] == 0

    runs.s3.put_object(Bucket=bucket, Key=key, Body=data)
    runs.ends(runs.verify(backup["id"]), "completed")
    assert shown(runs, backup)["verification"]["ok"] is True


def test_a_damaged_backup_is_told_though_the_worker_dies_before_it_says_so(runs: Runs, backup: Json) -> None:
    runs.s3.put_object(Bucket=runs.bucket(backup), Key=file_of(backup)["key"], Body=b"nothing of it")
    held = runs.hold("dynamodb", "PutItem", "MANIFEST#", late=1)
    run_id = runs.verify(backup["id"])
    held.reached()
    eventually(lambda: runs.manifest(runs.record(run_id)), "the manifest is there")
    kill(runs.worker(run_id))
    run = runs.reaches(run_id, "failed")
    assert (run["attempt"], run["error"]["code"]) == (1, "backup_damaged")
    assert runs.record(backup["id"])["verification"]["ok"] is False


def test_a_backup_of_the_version_before_is_verified(runs: Runs, backup: Json) -> None:
    """Its record has an artifact, its manifest no facts."""
    file, outcome = file_of(backup), backup["outcome"]
    artifact = {**file, "bucket": runs.bucket(backup), "manifest_key": "", "tables": outcome["facts"]["tables"]}
    runs.change(backup["id"], outcome=None, execution=None, artifact={**artifact, "files": {}, "outcome": {}})
    assert runs.ends(runs.verify(backup["id"]), "completed")["attempt"] == 1
    assert shown(runs, backup)["verification"]["ok"] is True


def trials(runs: Runs) -> list[str]:
    """The databases in which a backup is being tried out."""
    with psycopg.connect(runs.stack.database_url) as database:
        found = database.execute("SELECT datname::text FROM pg_database WHERE datname ~ '^stowage_trial_' ORDER BY 1")
        return [name for (name,) in found.fetchall()]


@pytest.mark.long(but="killed")
@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_a_trial_restore_leaves_no_database_however_it_ends(runs: Runs, backup: Json, how: str) -> None:
    with verifying(runs, backup, seconds=30, level=3) as run_id:
        [name] = trials(runs)
        assert name == f"stowage_trial_{run_id.replace('-', '')}_1"
        if how == "killed":
            kill(runs.worker(run_id))
        else:
            assert runs.cancel(run_id).status_code == 202
    runs.ends(run_id, "completed" if how == "killed" else "cancelled")
    eventually(lambda: trials(runs) == [], "the database is dropped", 10)
    assert shown(runs, backup)["verification"]["level"] == (3 if how == "killed" else 2)


def test_what_a_trial_has_left_when_its_last_worker_was_killed_is_dropped(runs: Runs, backup: Json) -> None:
    with verifying(runs, backup, seconds=30, level=3) as run_id:
        runs.change(run_id, tries=3)
        kill(runs.worker(run_id))
    runs.ends(run_id, "failed")
    eventually(lambda: trials(runs) == [], "the database is dropped", 10)
