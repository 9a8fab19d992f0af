"""Dumps that go wrong: none of them ever becomes an artifact, no process is left, and the error says what to do."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from stowage.aws.uploads import MultipartUpload
from stowage.basics.errors import CancelledError, RunError, TransientRunError
from stowage.pipeline.compress import gzip_compressor
from stowage.pipeline.transfer import Stored, transfer
from stowage.postgres.dumps import contents
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.failures import dump_error
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat, pg_dump_version
from stowage.postgres.dumps.preflight import preflight
from tests.stack.dump_surface import Bucket, Database, Watch

pytest_plugins = ("tests.stack.dump_fixtures",)

FORMATS: tuple[DumpFormat, ...] = ("sql", "tar", "custom")


@pytest.fixture
def tenant(scratch: Database) -> Database:
    """A tenant whose dump takes long enough (20 MB) to be interrupted."""
    scratch.connect().execute("""
        CREATE SCHEMA tenant_acme;
        CREATE TABLE tenant_acme.posts (id int PRIMARY KEY, body text);
        INSERT INTO tenant_acme.posts SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 60000) i
    """)
    return scratch


class Interrupted(Dump):
    """A dump to which something happens once 2 MB have come; the sleeps let it happen in mid-dump for sure."""

    happens: Callable[["Interrupted"], None]

    def chunks(self) -> Iterator[bytes]:
        read, happened = 0, False
        for chunk in super().chunks():
            read += len(chunk)
            if read > 2_000_000 and not happened:
                happened = True
                self.happens(self)
                time.sleep(0.2)
            yield chunk


def store(source: Dump, bucket: Bucket, watch: Watch) -> Stored:
    upload = MultipartUpload(
        bucket.name, "dump", "run", attempt=1, content_type="application/gzip", on_created=lambda _: None
    )
    return transfer(source, upload, compress=gzip_compressor(), watch=watch)


def interrupted(
    database: Database,
    dump_format: DumpFormat,
    happens: Callable[[Interrupted], None],
    snapshot: str | None = None,
) -> Interrupted:
    source = Interrupted("tenant_acme", dump_format, database.environment, snapshot=snapshot, binary=database.pg_dump)
    source.happens = happens
    return source


def nothing_is_left(bucket: Bucket, pid: int) -> bool:
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)
    return (bucket.keys(), bucket.unfinished()) == ([], [])


@pytest.mark.long(but=["9-sql", "15-custom"])
@pytest.mark.parametrize("dump_format", FORMATS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pg_dump_never_becomes_a_backup(
    tenant: Database, bucket: Bucket, watch: Watch, dump_format: DumpFormat, number: signal.Signals
) -> None:
    pids: list[int] = []

    def kill(source: Interrupted) -> None:
        assert source.process is not None
        pids.append(source.process.pid)
        os.kill(source.process.pid, number)

    with pytest.raises(TransientRunError):
        store(interrupted(tenant, dump_format, kill), bucket, watch)

    assert nothing_is_left(bucket, pids[0])


@pytest.mark.parametrize("dump_format", ["sql", "custom"])
def test_a_cut_connection_is_worth_another_attempt(
    tenant: Database, bucket: Bucket, watch: Watch, dump_format: DumpFormat
) -> None:
    owner = tenant.connect()
    pids: list[int] = []

    def terminate(source: Interrupted) -> None:
        assert source.process is not None
        pids.append(source.process.pid)
        ended = owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'pg_dump'"
        ).fetchall()
        assert ended == [(True,)]

    with pytest.raises(TransientRunError) as caught:
        store(interrupted(tenant, dump_format, terminate), bucket, watch)

    assert caught.value.code == "connection_lost"
    assert nothing_is_left(bucket, pids[0])


def test_a_cancel_in_mid_dump_ends_pg_dump_and_its_query(tenant: Database, bucket: Bucket, watch: Watch) -> None:
    pids: list[int] = []

    def cancel(source: Interrupted) -> None:
        assert source.process is not None
        pids.append(source.process.pid)
        watch.cancelled = lambda: True

    source = interrupted(tenant, "sql", cancel)
    tenant.connect().execute(
        "INSERT INTO tenant_acme.posts SELECT -i, repeat('x', 1000) FROM generate_series(1, 200000) i"
    )
    with pytest.raises(CancelledError):
        store(source, bucket, watch)

    assert nothing_is_left(bucket, pids[0])
    assert sessions(tenant) == 0


def test_a_cancel_is_noticed_within_a_second_although_pg_dump_waits_for_a_lock(
    tenant: Database, bucket: Bucket, watch: Watch
) -> None:
    holder = tenant.connect()
    holder.execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")
    source = Dump("tenant_acme", "sql", tenant.environment, binary=tenant.pg_dump)
    began = time.monotonic()
    watch.cancelled = lambda: time.monotonic() > began + 1

    with pytest.raises(CancelledError):
        store(source, bucket, watch)

    assert time.monotonic() - began < 2.5
    assert (bucket.keys(), bucket.unfinished()) == ([], [])
    assert sessions(tenant) == 0


def sessions(database: Database) -> int:
    """pg_dump's sessions that are still there after a moment."""
    owner = database.connect()
    for _ in range(20):
        found = owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pg_dump'"
        ).fetchone()
        if found == (0,):
            break
        time.sleep(0.1)
    return int(found[0]) if found else -1


def test_a_table_that_stays_locked_is_worth_another_attempt(tenant: Database, bucket: Bucket, watch: Watch) -> None:
    tenant.connect().execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")
    source = Dump("tenant_acme", "sql", tenant.environment, binary=tenant.pg_dump, lock_wait_seconds=0.3)

    with pytest.raises(TransientRunError) as caught:
        store(source, bucket, watch)

    assert caught.value.code == "lock_timeout"


def test_a_pg_dump_that_does_not_listen_is_killed(tenant: Database) -> None:
    source = Dump("tenant_acme", "sql", tenant.environment, binary=tenant.pg_dump)
    next(source.chunks())
    assert source.process is not None
    pid = source.process.pid
    os.kill(pid, signal.SIGSTOP)

    began = time.monotonic()
    source.close()
    source.close()

    assert time.monotonic() - began < 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_schema_is_told_before_and_by_pg_dump(tenant: Database, bucket: Bucket, watch: Watch) -> None:
    with pytest.raises(RunError) as before:
        preflight(tenant.connect(), "tenant_acme2", "18.4")
    with pytest.raises(RunError) as during:
        store(Dump("tenant_acme2", "sql", tenant.environment, binary=tenant.pg_dump), bucket, watch)

    assert before.value.code == during.value.code == "schema_missing"
    assert not during.value.retryable
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


def test_a_newer_server_is_told_before(tenant: Database) -> None:
    with pytest.raises(RunError) as caught:
        preflight(tenant.connect(), "tenant_acme", "17.6")

    assert caught.value.code == "server_newer"
    assert "17.6" in caught.value.message
    assert preflight(tenant.connect(), "tenant_acme", "19beta1").relations == 1


def test_this_pg_dump_is_not_older_than_the_server(tenant: Database) -> None:
    assert preflight(tenant.connect(), "tenant_acme", pg_dump_version(tenant.pg_dump)).server_version


@pytest.fixture
def reader(tenant: Database) -> Iterator[str]:
    """A role that may read the schema's tables as long as nobody takes that away."""
    owner = tenant.connect()
    name = f"reader_{uuid4().hex[:8]}"
    role = sql.Identifier(name)
    owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(role))
    owner.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    owner.execute(sql.SQL("GRANT USAGE ON SCHEMA tenant_acme TO {}").format(role))
    owner.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA tenant_acme TO {}").format(role))
    yield name
    owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


def as_reader(tenant: Database, reader: str) -> dict[str, str]:
    return {**tenant.environment, "PGUSER": reader, "PGPASSWORD": "reader"}


def connect_as(tenant: Database, reader: str) -> psycopg.Connection:
    return tenant.connect(user=reader, password="reader")


def test_a_role_that_may_read_everything_dumps(tenant: Database, reader: str, bucket: Bucket, watch: Watch) -> None:
    assert preflight(connect_as(tenant, reader), "tenant_acme", "18.4").relations == 1
    assert store(Dump("tenant_acme", "custom", as_reader(tenant, reader), binary=tenant.pg_dump), bucket, watch)


FORBIDDEN = {
    "a table": ("CREATE TABLE tenant_acme.salaries (id int)", "salaries"),
    "a sequence": ("CREATE SEQUENCE tenant_acme.numbers", "numbers"),
    "a partition": (
        "CREATE TABLE tenant_acme.days (day date) PARTITION BY RANGE (day);"
        "CREATE TABLE tenant_acme.days_2024 PARTITION OF tenant_acme.days DEFAULT;"
        "GRANT SELECT ON tenant_acme.days TO public",
        "days_2024",
    ),
}


@pytest.mark.parametrize(("statement", "name"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_the_role_may_not_read_is_named_before_and_by_pg_dump(
    tenant: Database, reader: str, bucket: Bucket, watch: Watch, statement: str, name: str
) -> None:
    tenant.connect().execute(statement)

    with pytest.raises(RunError, match=name) as before:
        preflight(connect_as(tenant, reader), "tenant_acme", "18.4")
    with pytest.raises(RunError) as during:
        store(Dump("tenant_acme", "sql", as_reader(tenant, reader), binary=tenant.pg_dump), bucket, watch)

    assert before.value.code == during.value.code == "permission_denied"
    assert not during.value.retryable


def test_a_schema_that_the_role_may_not_use_is_told_before(tenant: Database, reader: str) -> None:
    tenant.connect().execute("CREATE SCHEMA tenant_secret")

    with pytest.raises(RunError, match="may not use the schema") as caught:
        preflight(connect_as(tenant, reader), "tenant_secret", "18.4")

    assert caught.value.code == "permission_denied"


def test_row_level_security_that_would_hide_rows_is_told_before_and_by_pg_dump(
    tenant: Database, reader: str, bucket: Bucket, watch: Watch
) -> None:
    tenant.connect().execute("ALTER TABLE tenant_acme.posts ENABLE ROW LEVEL SECURITY")

    with pytest.raises(RunError, match="posts") as before:
        preflight(connect_as(tenant, reader), "tenant_acme", "18.4")
    with pytest.raises(RunError) as during:
        store(Dump("tenant_acme", "sql", as_reader(tenant, reader), binary=tenant.pg_dump), bucket, watch)

    assert before.value.code == during.value.code == "row_level_security"


def test_a_server_that_is_not_there_is_worth_another_attempt(tenant: Database, bucket: Bucket, watch: Watch) -> None:
    environment = {**tenant.environment, "PGHOST": "127.0.0.1", "PGPORT": "1"}

    with pytest.raises(TransientRunError) as caught:
        store(Dump("tenant_acme", "sql", environment, binary=tenant.pg_dump), bucket, watch)

    assert caught.value.code == "connection_lost"
    assert "127.0.0.1" not in caught.value.message


def test_a_missing_pg_dump_is_told(tenant: Database, bucket: Bucket, watch: Watch) -> None:
    with pytest.raises(RunError, match="no pg_dump"):
        store(Dump("tenant_acme", "sql", tenant.environment, binary="/nowhere/pg_dump"), bucket, watch)
    with pytest.raises(RunError, match="no pg_dump"):
        pg_dump_version("/nowhere/pg_dump")

    assert bucket.unfinished() == []


def test_an_alter_table_during_the_dump_waits_and_the_dump_is_whole(
    tenant: Database, bucket: Bucket, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the counting has not locked when the ALTER TABLE comes, it could read only after it, and so after itself."""
    altering, altered, waits = tenant.connect(), threading.Event(), threading.Event()
    count = contents._count

    def count_late(*arguments: Any) -> int:
        assert waits.wait(10)
        return count(*arguments)

    def alter() -> None:
        altering.execute("ALTER TABLE tenant_acme.posts ADD COLUMN likes int NOT NULL DEFAULT 0")
        altered.set()

    monkeypatch.setattr(contents, "_count", count_late)
    thread = threading.Thread(target=alter, daemon=True)

    def begin(_: Interrupted) -> None:
        thread.start()
        looking = tenant.connect()
        waiting = "SELECT FROM pg_locks WHERE pid = %s AND NOT granted"
        deadline = time.monotonic() + 5
        while not looking.execute(waiting, (altering.info.backend_pid,)).rowcount:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        waits.set()
        assert reading.result(10).row_count == 60000
        assert not altered.is_set()

    with SnapshotContents(tenant.connect(), "tenant_acme", "18.4") as reading:
        source = interrupted(tenant, "sql", begin, reading.snapshot)
        assert store(source, bucket, watch).source_bytes > 19_000_000

    thread.join(10)
    assert altered.is_set()


def test_counting_that_waits_too_long_for_a_lock_is_worth_another_attempt(
    tenant: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "BEGIN", contents.BEGIN.replace("'60s'", "'200ms'"))
    tenant.connect().execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")

    with (
        SnapshotContents(tenant.connect(), "tenant_acme", "18.4") as reading,
        pytest.raises(TransientRunError) as caught,
    ):
        reading.result(10)

    assert caught.value.code == "lock_timeout"
    with pytest.raises(TransientRunError):
        reading.check()


def test_counting_that_is_cut_off_is_worth_another_attempt(tenant: Database) -> None:
    counting = tenant.connect()
    locking = tenant.connect()
    with SnapshotContents(counting, "tenant_acme", "18.4") as reading:
        reading.result()
    locking.execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")
    with SnapshotContents(counting, "tenant_acme", "18.4") as reading:
        locking.execute("SELECT pg_terminate_backend(%s)", (counting.info.backend_pid,))
        with pytest.raises(TransientRunError) as caught:
            reading.result(10)

    assert caught.value.code == "connection_lost"


def test_leaving_by_an_error_cancels_the_counting_and_frees_the_connection(tenant: Database) -> None:
    counting = tenant.connect()
    tenant.connect().execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()

    def cancelled() -> None:
        with SnapshotContents(counting, "tenant_acme", "18.4"):
            time.sleep(0.2)
            raise CancelledError("The run was cancelled.")

    with pytest.raises(CancelledError):
        cancelled()

    assert time.monotonic() - began < 2
    assert counting.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert not [thread for thread in threading.enumerate() if thread.name == "contents"]


MESSAGES = [
    (-9, "", "dump_killed", True),
    (1, "pg_dump: error: query failed: ERROR:  permission denied for table salaries", "permission_denied", False),
    (1, "pg_dump: error: aborting because of server version mismatch", "server_newer", False),
    (
        1,
        'connection to server at "db" (10.0.0.1) failed: FATAL:  password authentication failed for user "d"',
        "login_refused",
        False,
    ),
    (1, 'connection to server at "db" failed: FATAL:  sorry, too many clients already', "connection_lost", True),
    (1, "pg_dump: error: out of memory", "out_of_memory", True),
    (1, 'pg_dump: error: query failed: ERROR:  snapshot "00000003-1" does not exist', "snapshot_lost", True),
    (1, "", "dump_failed", True),
]


@pytest.mark.parametrize(("code", "stderr", "name", "retryable"), MESSAGES)
def test_pg_dumps_messages_become_ours(code: int, stderr: str, name: str, retryable: bool) -> None:
    error = dump_error(code, stderr, "tenant_acme")

    assert (error.code, error.retryable) == (name, retryable)
    assert "10.0.0.1" not in error.message
