"""A table that somebody holds exclusively: runs wait for it as documented, requests say soon that they cannot."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests
from psycopg import sql

from stowage.basics.errors import TransientRunError, UnavailableError
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import Filters, parse_filters
from stowage.exports.formats import estimate, open_export
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.reads import copy
from stowage.postgres.session.held_tables import READING, told_of_held
from tests.conftest import Api, RunningStack
from tests.stack.office import Office
from tests.stack.route_surface import (
    completed_export,
    ended_job,
    export_body,
    locked,
    read_job,
    refusal,
    start_backup,
    start_export,
)
from tests.stack.servers import NEWEST, Servers

TENANT = "acme_x"
HEADERS = {"X-Tenant-Id": TENANT}


@contextmanager
def locked_for(stack: RunningStack, seconds: float) -> Iterator[None]:
    """The tenant's accounts are held so long, or until the end of the block, which waits for it."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with (
            psycopg.connect(stack.database_url, autocommit=True) as connection,
            locked(connection, TENANT, "accounts"),
        ):
            taken.set()
            over.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(10)
        yield
    finally:
        thread.join()


def test_a_backup_waits_for_a_lock_longer_than_a_request_may(stack: RunningStack, admin: Api) -> None:
    with locked_for(stack, 8):
        job_id = start_backup(admin, TENANT)
        time.sleep(7)
        assert read_job(admin, job_id)["status"] in ("pending", "running")

    job = ended_job(admin, job_id)
    assert (job["status"], job["attempts"], job["last_error"]) == ("completed", 1, None)


def test_an_export_waits_for_a_lock_longer_than_a_request_may(stack: RunningStack, admin: Api) -> None:
    with locked_for(stack, 8):
        export = start_export(admin, TENANT, dataType="accounts")
        time.sleep(7)
        assert read_job(admin, export["id"])["status"] in ("pending", "running")

    job = ended_job(admin, export["id"])
    assert (job["status"], job["attempts"], job["last_error"]) == ("completed", 1, None)


ASKED: dict[str, tuple[str, str, Callable[[Api], requests.Response]]] = {
    "a backup's estimate": (
        "database_busy",
        "The table accounts stays locked",
        lambda api: api.post("/api/backup/estimate", json={"project_id": TENANT}),
    ),
    "an export's estimate": (
        "lock_timeout",
        "The table accounts stayed locked.",
        lambda api: api.post(f"/api/guilds/{TENANT}/exports/estimate", json=export_body(dataType="accounts")),
    ),
} | {
    name: ("database_busy", "The table accounts stays locked", ask)
    for name, ask in {
        "a list": lambda api: api.get("/api/v1/accounts", headers=HEADERS),
        "a record": lambda api: api.get("/api/v1/accounts/none", headers=HEADERS),
        "another entity's list by a field of its reference": lambda api: api.get(
            "/api/v1/posts?platform=x", headers=HEADERS
        ),
        "the trash": lambda api: api.get(f"/api/guilds/{TENANT}/trash?type=account"),
        "a change": lambda api: api.patch("/api/v1/accounts/none", json={"followers": 1}, headers=HEADERS),
        "a bulk deletion": lambda api: api.post(
            f"/api/guilds/{TENANT}/bulk/delete", json={"ids": ["none"], "dataType": "accounts"}
        ),
    }.items()
}  # fmt: skip


def test_a_request_says_soon_which_table_it_cannot_wait_for(stack: RunningStack) -> None:
    def answered(name: str) -> tuple[requests.Response, float]:
        began = time.monotonic()
        api = Api(stack.api_url, stack.tokens["admin"])  # a session is one thread's
        return ASKED[name][2](api), time.monotonic() - began

    with (
        psycopg.connect(stack.database_url, autocommit=True) as owner,
        locked(owner, TENANT, "accounts"),
        ThreadPoolExecutor(len(ASKED)) as threads,
    ):
        answers = dict(zip(ASKED, threads.map(answered, ASKED), strict=True))
    for name, (response, took) in answers.items():
        code, named, _ = ASKED[name]
        assert named in refusal(response, 503, code)["error"], name
        assert int(response.headers["retry-after"]) > 0, name
        assert 4 < took < 15, name


def test_a_record_that_somebody_holds_is_no_locked_table(office: Office) -> None:
    office.accounts("a")
    with psycopg.connect(office.stack.database_url) as owner:
        owner.execute(sql.SQL("SELECT FROM {} FOR UPDATE").format(sql.Identifier(office.schema, "accounts")))
        response = office.caller().patch("/api/v1/accounts/a", json={"followers": 1})
    assert refusal(response, 503, "database_busy")["error"] == "Others are changing these records at the moment."


def test_an_import_says_which_table_it_cannot_wait_for(office: Office) -> None:
    edit, import_id, accounts = office.edit(datetime.now(UTC)), uuid4().hex, ENTITIES["accounts"]
    with (
        psycopg.connect(office.stack.database_url, autocommit=True) as owner,
        psycopg.connect(office.app_url, autocommit=True, options="-c lock_timeout=200ms") as connection,
    ):
        assert begin_import(connection, import_id, 1, edit, accounts, keep_days=9)
        session = ImportSession(connection, edit, accounts, import_id, 1)
        told = []
        session.prepare({})
        with locked(owner, office.id, "accounts"), pytest.raises(UnavailableError) as caught, session.batch():
            pass
        told.append(caught.value.message)
        for table in ("accounts", "brands"):
            with locked(owner, office.id, table), pytest.raises(UnavailableError) as caught, session.batch():
                connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(office.schema, table)))
            told.append(caught.value.message)
        held = sql.SQL("SELECT FROM {} FOR UPDATE").format(sql.Identifier(office.schema, "brands"))
        with owner.transaction():
            owner.execute(held)
            with pytest.raises(UnavailableError) as caught, session.batch():
                connection.execute(held)
        told.append(caught.value.message)
    assert told == [
        "The table accounts stays locked at the moment.",
        "The table accounts stays locked at the moment.",
        "The table brands stays locked at the moment.",
        "Others are changing these records at the moment.",
    ]


def test_a_server_that_shows_nobody_its_locks_leaves_the_tables_unnamed(servers: Servers) -> None:
    database = servers(NEWEST).make_database()
    owner = database.connect()
    owner.execute("CREATE TABLE things (); DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    try:
        with psycopg.connect(database.url) as holder, database.connect(user="reader") as reader:
            holder.execute("LOCK TABLE things")
            assert told_of_held(reader, "public", READING) == "The table things stays locked at the moment"
            owner.execute("REVOKE SELECT ON pg_locks FROM public")
            assert told_of_held(reader, "public", READING) is None
    finally:
        owner.execute("DROP ROLE reader")


def test_an_export_that_waits_too_long_says_what_for(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "LOCK_SECONDS", 0.2)
    connection = psycopg.connect(stack.url_as("stowage_app"), autocommit=True)
    source = open_export(connection, f"tenant_{TENANT}", TENANT, data_type="accounts", format="csv", filters=Filters())
    with (
        psycopg.connect(stack.database_url, autocommit=True) as owner,
        locked(owner, TENANT, "accounts"),
        pytest.raises(TransientRunError) as caught,
    ):
        list(source.chunks())
    source.close()
    assert caught.value.code == "lock_timeout"
    assert "accounts" in caught.value.message


READS = {
    "accounts": ("accounts", {}, "accounts", "The table accounts stayed locked."),
    "posts": ("posts", {}, "posts", "The table posts stayed locked."),
    "posts by their accounts' platform": ("posts", {"platform": "x"}, "accounts", "The table accounts stayed locked."),
    "posts by their accounts' group": ("posts", {"groupId": "g"}, "accounts", "The table accounts stayed locked."),
    "posts by platform, themselves held": ("posts", {"platform": "x"}, "posts", "The table posts stayed locked."),
    "everything": ("gdpr", None, "brands", "The table brands stayed locked."),
    "a part of a table": ("tasks", {}, "tasks_of_old", "A table that tasks are read from stayed locked."),
}


@pytest.mark.parametrize(("asked", "filters", "held", "told"), READS.values(), ids=READS.keys())
def test_the_table_that_is_held_is_named_whatever_was_asked_for(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch, asked: str, filters: Any, held: str, told: str
) -> None:
    monkeypatch.setattr(copy, "LOCK_SECONDS", 0.2)
    read = None if filters is None else parse_filters(asked, filters)
    schema = f"tenant_{TENANT}"
    with (
        psycopg.connect(stack.database_url, autocommit=True) as owner,
        psycopg.connect(stack.url_as("stowage_app"), autocommit=True) as reader,
    ):
        owner.execute(f"CREATE TABLE {schema}.tasks_of_old () INHERITS ({schema}.tasks)")
        try:
            reader.execute("SET lock_timeout = '200ms'")
            with locked(owner, TENANT, held):
                with pytest.raises(TransientRunError) as estimated:
                    estimate(reader, schema, TENANT, asked, read, "csv")
                source = open_export(reader, schema, TENANT, data_type=asked, format="csv", filters=read)
                with pytest.raises(TransientRunError) as exported:
                    list(source.chunks())
        finally:
            owner.execute(f"DROP TABLE {schema}.tasks_of_old")
    for caught in (estimated.value, exported.value):
        assert (caught.code, caught.message) == ("lock_timeout", told)


def test_exports_go_on_once_the_lock_has_gone(admin: Api) -> None:
    assert completed_export(admin, TENANT, dataType="accounts")["status"] == "completed"
