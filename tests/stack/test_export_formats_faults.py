"""An export that cannot be whole never says it is: cut connections, refused permissions, a cancel, a moving table."""

import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest

from stowage.basics.errors import BadRequestError, CancelledError, RunError, TransientRunError
from stowage.entities.declared import ENTITIES
from stowage.exports.formats import FORMATS, Export, estimate, open_export
from stowage.postgres.session.connection import APP
from tests.stack.export_surface import sample_database, unzip
from tests.stack.scratch_databases import connect, server_url


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with sample_database(server_url(request)) as url:
        with connect(url) as connection:
            connection.execute(
                "INSERT INTO tenant_globex.posts (id, account_id, url, caption) SELECT 'big_' || n, 'acc_0000001',"
                " 'https://x.example/big/' || n, repeat(md5(n::text), 30) FROM generate_series(1, 60000) AS n"
            )
        yield url


def opened(database: str, data_type: str = "posts", format: str = "csv") -> tuple[Export, psycopg.Connection]:
    connection = connect(database, APP)
    return open_export(
        connection, "tenant_globex", "globex", data_type=data_type, format=format, filters=None
    ), connection


@pytest.mark.long(but=["csv", "xlsx"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_connection_cut_by_the_server_is_worth_another_attempt(database: str, format: str) -> None:
    source, connection = opened(database, format=format)
    chunks = source.chunks()
    next(chunks)
    with connect(database) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(TransientRunError, match="posts"):
        list(chunks)
    with pytest.raises(TransientRunError):
        source.finish()
    source.close()


def test_a_query_cancelled_by_somebody_is_worth_another_attempt(database: str) -> None:
    source, connection = opened(database)
    chunks = source.chunks()
    next(chunks), next(chunks)
    with connect(database) as other:
        other.execute("SELECT pg_cancel_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(TransientRunError):
        list(chunks)
    source.close()
    source.close()


def test_a_part_of_an_export_is_never_whole(database: str) -> None:
    source, connection = opened(database)
    next(source.chunks())
    with pytest.raises(TransientRunError):
        source.finish()
    source.close()
    assert connection.closed


def test_a_refused_permission_is_told_and_not_repeated(database: str) -> None:
    with connect(database) as owner:
        owner.execute("REVOKE SELECT ON tenant_globex.users FROM stowage_app")
    try:
        for data_type in ("users", "gdpr"):
            source, connection = opened(database, data_type)
            with pytest.raises(RunError, match="may not read users") as raised:
                list(source.chunks())
            assert not raised.value.retryable
            source.close()
            assert connection.closed
        with connect(database, APP) as connection, pytest.raises(RunError, match="may not read users"):
            estimate(connection, "tenant_globex", "globex", "users", None, "csv")
    finally:
        with connect(database) as owner:
            owner.execute("GRANT SELECT ON tenant_globex.users TO stowage_app")


@pytest.mark.long(but=["json", "parquet"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_table_is_told_and_not_repeated(database: str, format: str) -> None:
    source = open_export(connect(database), "tenant_gone", "gone", data_type="posts", format=format, filters=None)
    with pytest.raises(RunError, match="no table for posts") as raised:
        list(source.chunks())
    assert not raised.value.retryable
    source.close()


@pytest.mark.long
def test_a_row_that_postgres_cannot_write_is_told_and_not_repeated(database: str) -> None:
    """180 MB of control characters, each of which is six letters of JSON: more than a text may have."""
    with connect(database) as owner:
        owner.execute("INSERT INTO tenant_globex.tasks (id, title) VALUES ('big', repeat(E'\\x01', 180000000))")
    source, _ = opened(database, "tasks", "ndjson")
    try:
        with pytest.raises(RunError, match="A row of tasks is larger than Postgres can write out") as raised:
            list(source.chunks())
    finally:
        source.close()
        with connect(database) as owner:
            owner.execute("DELETE FROM tenant_globex.tasks WHERE id = 'big'")
    assert (raised.value.code, raised.value.retryable) == ("value_too_large", False)


def test_what_is_not_declared_is_a_bad_request_that_lists_what_is(database: str) -> None:
    with connect(database) as connection:
        with pytest.raises(BadRequestError, match="brands, groups"):
            open_export(connection, "tenant_zoo", "zoo", data_type="secrets", format="csv", filters=None)
        with pytest.raises(BadRequestError, match="csv, json"):
            open_export(connection, "tenant_zoo", "zoo", data_type="posts", format="doc", filters=None)


def test_closing_ends_the_query_on_the_server_within_two_seconds(database: str) -> None:
    source, connection = opened(database)
    pid = connection.info.backend_pid
    next(source.chunks())
    began = time.monotonic()
    source.close()
    with connect(database) as other:
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            assert time.monotonic() - began < 2
            time.sleep(0.02)
    assert connection.closed


def test_a_silent_database_gives_signs_of_life_and_can_be_left(database: str) -> None:
    source, connection = opened(database)
    with connect(database) as other, other.transaction():
        other.execute("LOCK TABLE tenant_globex.posts IN ACCESS EXCLUSIVE MODE")
        chunks = source.chunks()
        next(chunks)
        began = time.monotonic()
        assert [next(chunks), next(chunks)] == [b"", b""]
        assert 0.5 < time.monotonic() - began < 3
        source.close()
    with pytest.raises(CancelledError):
        list(chunks)
    assert connection.closed


def test_closing_from_another_thread_ends_the_reading(database: str) -> None:
    source, _ = opened(database)
    with connect(database) as other, other.transaction():
        other.execute("LOCK TABLE tenant_globex.posts IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(0.3, source.close)
        timer.start()
        with pytest.raises(CancelledError):
            list(source.chunks())
        timer.join()


def test_a_role_with_short_time_limits_still_exports(database: str) -> None:
    connection = connect(database, APP)
    connection.execute("SET statement_timeout = '20ms'; SET idle_in_transaction_session_timeout = '20ms'")
    source = open_export(connection, "tenant_globex", "globex", data_type="gdpr", format="ndjson", filters=None)
    for _ in source.chunks():
        time.sleep(0.001)
    source.finish()
    source.close()


def test_all_files_of_a_gdpr_export_are_of_one_moment(database: str) -> None:
    source, _ = opened(database, "gdpr", "ndjson")
    chunks = source.chunks()
    pieces = [next(chunks)]
    with connect(database) as writer:
        writer.execute("INSERT INTO tenant_globex.brands (id, label) VALUES ('brd_late', 'late')")
        writer.execute("UPDATE tenant_globex.users SET name = 'late'")
        writer.execute("UPDATE tenant_globex.posts SET caption = 'late' WHERE id LIKE 'big_1%%'")
    pieces += chunks
    source.finish()
    source.close()
    assert all(b'"late"' not in data for data in unzip(b"".join(pieces)).values())


def test_a_writer_is_not_held_up_and_a_reader_sees_one_state(database: str) -> None:
    """Two counters that always sum to the same do so in each export, whatever is written meanwhile."""
    stop = threading.Event()

    def write() -> None:
        with connect(database) as writer:
            turn = 0
            while not stop.is_set():
                turn += 1
                with writer.transaction():
                    writer.execute("UPDATE tenant_globex.accounts SET followers = %s WHERE id = 'acc_0000001'", (turn,))
                    writer.execute(
                        "UPDATE tenant_globex.accounts SET followers = 1000000 - %s WHERE id = 'acc_0000002'", (turn,)
                    )

    with connect(database) as writer:
        writer.execute(
            "UPDATE tenant_globex.accounts SET followers = 500000 WHERE id IN ('acc_0000001', 'acc_0000002')"
        )
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            source, _connection = opened(database, "accounts", "ndjson")
            rows = [json.loads(line) for line in b"".join(source.chunks()).splitlines()]
            source.close()
            followers = {row["id"]: row["followers"] for row in rows}
            assert followers["acc_0000001"] + followers["acc_0000002"] == 1_000_000
    finally:
        stop.set()
        thread.join()


def test_rows_are_counted_while_they_come_and_chunks_are_of_a_good_size(database: str) -> None:
    source, _ = opened(database)
    sizes, counts = [], []
    for chunk in source.chunks():
        sizes.append(len(chunk))
        counts.append(source.rows)
    source.close()
    assert all(before <= after for before, after in pairwise(counts))
    assert counts[-1] == source.rows > 60_000
    assert all(64 * 1024 <= size <= 256 * 1024 for size in sizes[1:-1])


def test_every_declared_entity_can_be_exported(database: str) -> None:
    for name in ENTITIES:
        source, _ = opened(database, name)
        assert b"".join(source.chunks()).startswith(b"id,")
        source.finish()
        source.close()
