"""How far a dump is: told by the server, so that a dump that writes nothing for long is not taken for a hung one."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from stowage.aws import clients
from stowage.aws.table import decode
from stowage.backups.making import SnapshotDump
from stowage.basics.errors import TransientRunError
from stowage.postgres.dumps import contents
from stowage.postgres.dumps import progress as dump_progress
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.progress import DumpProgress
from stowage.postgres.session.connection import DUMP, connect
from stowage.runs.progress import Reporter
from stowage.runs.record import Estimate, Run
from stowage.settings import settings
from tests.conftest import RunningStack
from tests.stack.dump_surface import Database

pytest_plugins = ("tests.stack.dump_fixtures",)

ROWS = 30_000


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a dump of a second has been looked at."""
    monkeypatch.setattr(dump_progress, "LOOK_SECONDS", 0.01)


@pytest.fixture
def deployed(stack: RunningStack, postgres_programs: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings and credentials of a worker of the stack."""
    for name, value in {
        "STOWAGE_TABLE": stack.resources["Table"],
        "STOWAGE_EXPORTS_BUCKET": stack.resources["ExportsBucket"],
        "STOWAGE_BACKUPS_BUCKET": stack.resources["BackupsBucket"],
        "STOWAGE_DATABASE_URL": stack.product_url,
        "STOWAGE_PG_DUMP": str(postgres_programs / "pg_dump"),
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    clients.dynamodb.cache_clear()
    yield
    settings.cache_clear()
    clients.dynamodb.cache_clear()


@pytest.fixture
def schema(database: psycopg.Connection) -> Iterator[str]:
    """A tenant's schema whose one table makes a dump of 100 MB from little storage: only reading it takes long."""
    name = f"tenant_slow_{uuid4().hex[:8]}"
    database.execute(f"""
        CREATE SCHEMA {name};
        CREATE TABLE {name}.posts (id int PRIMARY KEY, body text);
        INSERT INTO {name}.posts SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, {ROWS}) i;
        GRANT USAGE ON SCHEMA {name} TO stowage_dump;
        GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO stowage_dump
    """)
    yield name
    database.execute(f"DROP SCHEMA {name} CASCADE")


def run_of(schema: str, dump_format: str = "tar", **fields: Any) -> Run:
    return Run(
        id=str(uuid4()), tenant="acme", kind="export_backup", database="main", requested_by="tests", attempt=1,
        created_at="2026-11-20T00:00:00.000Z", spec={"schema": schema, "format": dump_format}, **fields,
    )  # fmt: skip


@pytest.mark.usefixtures("deployed")
def test_rows_move_while_tar_writes_nothing(schema: str) -> None:
    source = SnapshotDump(run_of(schema), connect("main", DUMP), "18.4", lambda: None)
    try:
        seen = [(len(chunk), source.rows) for chunk in source.chunks()]
        source.finish()
    finally:
        source.close()

    first = next(rows for size, rows in seen if size)
    rows = [rows for _, rows in seen]
    assert 0 < first <= ROWS, "the table was spooled, and read, before the first byte came"
    assert rows == sorted(rows)
    assert source.rows == ROWS
    assert not [thread for thread in threading.enumerate() if thread.name == "dump progress"]


@pytest.mark.usefixtures("deployed")
def test_only_the_pg_dump_of_the_attempt_is_looked_at(schema: str) -> None:
    source = SnapshotDump(run_of(schema, "sql"), connect("main", DUMP), "18.4", lambda: None)
    other = SnapshotDump(run_of(schema, "sql"), connect("main", DUMP), "18.4", lambda: None)
    try:
        chunks, others = source.chunks(), other.chunks()
        for _ in range(5):
            next(chunks)
            next(others)
        eventually(lambda: next(chunks) is not None and source.rows > 0)
        assert source.rows < ROWS
        others.close()
        other.close()
        assert sum(1 for _ in chunks) > 1
        source.finish()
        assert source.rows == ROWS
    finally:
        source.close()
        other.close()


@pytest.mark.usefixtures("deployed")
def test_counting_after_the_dump_is_movement_as_long_as_the_server_counts(
    schema: str, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[float] = []
    count = contents._count

    def count_slowly(connection: Any, *arguments: Any) -> int:
        connection.execute("SELECT pg_sleep(2.5)")
        return count(connection, *arguments)

    monkeypatch.setattr(contents, "_count", count_slowly)
    source = SnapshotDump(run_of(schema, "sql"), connect("main", DUMP), "18.4", lambda: moved.append(time.monotonic()))
    try:
        assert sum(len(chunk) for chunk in source.chunks()) > 50_000_000
        source.finish()
    finally:
        source.close()

    assert moved


def test_a_count_whose_session_is_gone_is_no_movement(scratch: Database) -> None:
    scratch.connect().execute("CREATE SCHEMA tenant_acme; CREATE TABLE tenant_acme.posts (id int)")
    holder, looking = scratch.connect(), scratch.connect()
    holder.execute("BEGIN; LOCK TABLE tenant_acme.posts IN ACCESS EXCLUSIVE MODE")
    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as reading:
        progress = DumpProgress(lambda: looking, "pg_dump", reading)
        eventually(lambda: progress.counting)
        holder.execute("SELECT pg_terminate_backend(%s)", (reading.backend_pid,))
        with pytest.raises(TransientRunError):
            reading.result(10)
        eventually(lambda: not progress.counting)
        progress.close()


def test_a_dump_goes_on_where_nobody_may_look(scratch: Database) -> None:
    scratch.connect().execute("CREATE SCHEMA tenant_acme")

    def refused() -> psycopg.Connection[Any]:
        raise psycopg.OperationalError("no room")

    with SnapshotContents(scratch.connect(), "tenant_acme", "18.4") as reading:
        progress = DumpProgress(refused, "pg_dump", reading)
        time.sleep(0.1)
        assert (progress.rows, progress.counting) == (0, False)
        assert reading.result(10).table_count == 0
        progress.close()
        progress.close()


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("bytes_read", "rows", "percent"),
    [(500, 0, 50), (500, 20, 50), (100, 70, 70), (5000, 5000, 99)],
    ids=["bytes alone", "more by bytes", "more by rows", "an estimate that was too low"],
)
def test_percent_is_the_further_of_rows_and_bytes(
    stack: RunningStack, dynamodb: Any, bytes_read: int, rows: int, percent: int
) -> None:
    run = run_of("tenant_acme", estimate=Estimate(rows=100, bytes=1000))
    key = {"pk": {"S": f"RUN#{run.id}"}, "sk": {"S": "PROGRESS"}}
    state = {"attempt": {"N": "1"}, "status": {"S": "running"}, "sequence": {"N": "0"}, "percent": {"N": "0"}}
    dynamodb.put_item(TableName=stack.resources["Table"], Item=key | state)
    reporter = Reporter(run, {"sequence": 0, "percent": 0})
    began = reporter.moved_at
    time.sleep(0.01)

    reporter.watch(bytes_read, 7, rows)
    reporter.watch(0, 0, 0)

    found = dynamodb.get_item(TableName=stack.resources["Table"], Key=key, ConsistentRead=True)["Item"]
    item = {name: decode(value) for name, value in found.items()}
    dynamodb.delete_item(TableName=stack.resources["Table"], Key=key)
    assert item["percent"] == percent
    assert time.time() - 5 < item["reported_at"] <= time.time()
    assert reporter.moved_at > began


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)
