"""The database cuts us off, refuses us, or is not what we expected."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from tests.faults.run_surface import Runs, eventually

type Locking = Callable[[], AbstractContextManager[None]]


def terminate(runs: Runs, role: str, query: str) -> None:
    """End the sessions of a role that run such a query, as an administrator or a failover does."""
    find = "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() AND query ~ %s"
    with runs.connect(role) as connection:
        pids = eventually(lambda: connection.execute(find, (query,)).fetchall(), f"a session running {query}")
        for (pid,) in pids:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_a_dump_whose_connection_is_cut_is_made_again(runs: Runs, holding_dumps: Locking) -> None:
    with holding_dumps():
        run_id = runs.backup("zoo")
        runs.dump("zoo")
        terminate(runs, "stowage_dump", "^LOCK TABLE")
        eventually(lambda: runs.record(run_id)["attempts"], "the attempt has ended")
    run = runs.ends(run_id, "completed")

    assert run["attempt"] == 2
    assert run["attempts"][0]["error"] == "The connection to the database was lost."


def test_a_dump_whose_snapshot_is_lost_is_made_again(runs: Runs, holding_dumps: Locking) -> None:
    held = runs.hold("dynamodb", "UpdateItem", '"upload_id"', delay=0.8)
    run_id = runs.backup("zoo")
    held.reached()
    terminate(runs, "stowage_dump", "^(?!SELECT pid)")

    assert runs.ends(run_id, "completed")["attempt"] == 2


def test_an_inline_export_whose_connection_is_cut_is_made_again(runs: Runs) -> None:
    held = runs.hold("s3", "UploadPart", "/acme/", delay=1)
    run_id = runs.export("acme", "posts")
    held.reached()
    terminate(runs, "stowage_app", "^COPY ")
    run = runs.ends(run_id, "completed")

    assert run["lane"] == "inline"
    assert run["attempt"] == 2
    assert "while reading posts" in run["attempts"][0]["error"]


@pytest.fixture
def without_permission(database: psycopg.Connection) -> Iterator[None]:
    """Stowage's roles may not read globex's accounts."""
    database.execute("REVOKE SELECT ON tenant_globex.accounts FROM stowage_app, stowage_dump")
    yield
    database.execute("GRANT SELECT ON tenant_globex.accounts TO stowage_app, stowage_dump")


@pytest.mark.usefixtures("without_permission")
def test_a_refused_permission_fails_a_backup_at_once(runs: Runs) -> None:
    run_id = runs.backup()

    assert runs.ends(run_id, "failed")["attempt"] == 1
    assert runs.job(run_id)["last_error"] == "The dump role may not read accounts in tenant_globex."


@pytest.mark.usefixtures("without_permission")
def test_a_refused_permission_fails_an_export_at_once(runs: Runs) -> None:
    run_id = runs.export()

    assert runs.ends(run_id, "failed")["attempt"] == 1
    assert "may not read" in runs.job(run_id)["last_error"]


def test_a_run_that_failed_for_good_completes_once_the_cause_is_gone(runs: Runs, database: psycopg.Connection) -> None:
    database.execute("ALTER SCHEMA tenant_initech RENAME TO tenant_initech_moved")
    try:
        run_id = runs.backup("initech")
        assert runs.ends(run_id, "failed")["attempt"] == 1
        assert runs.job(run_id)["last_error"] == "There is no schema tenant_initech."
    finally:
        database.execute("ALTER SCHEMA tenant_initech_moved RENAME TO tenant_initech")

    assert runs.completes_when_retried(run_id)["attempt"] == 2


def test_a_server_newer_than_pg_dump_fails_at_once(runs: Runs, tmp_path: Path) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    held = runs.hold("ecs", "RunTask", delay=30)
    run_id = runs.backup()
    held.reached()

    # Its image is older than the server; the worker of the state machine then finds the attempt taken.
    assert runs.second_worker(run_id, PG_DUMP=str(old)).wait(90) == 0
    runs.release()

    assert runs.ends(run_id, "failed")["attempt"] == 1
    told = r"The server is version \S+, newer than pg_dump 9\.6\.24, which refuses it\."
    assert re.fullmatch(told, runs.job(run_id)["last_error"])
