"""Imports that are killed, cancelled, or cut off from storage: no row is lost, none comes in twice."""

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import requests

from tests.conftest import Api, RunningStack
from tests.faults.run_surface import Runs
from tests.stack.file_import_surface import (
    TENANT,
    counts,
    csv_file,
    ended,
    fetched,
    imported,
    journal,
    result_rows,
    start,
    started,
    uploaded,
)

LANES = {"inline": (12_000, 10), "worker": (4_000, 9_000)}
"""How many rows, and how long their descriptions: of 9 kB, they are more than a function imports.
Batches are of 5,000 rows, or of about 880 such long ones.
"""
ROWS, BAD = 4_000, 4
"""In a file for the worker."""


@pytest.fixture
def mark(database: psycopg.Connection) -> Iterator[str]:
    """What tells a test's own records from others."""
    mark = uuid4().hex[:10]
    yield mark
    database.execute(f"DELETE FROM tenant_{TENANT}.tasks WHERE id LIKE %s", (f"{mark}%",))


def large_file(mark: str, lane: str = "worker") -> bytes:
    """A CSV file for a lane; every thousandth row is bad."""
    rows, length = LANES[lane]
    text = io.StringIO()
    text.write("id,title,status,description\r\n")
    for n in range(rows):
        text.write(f"{mark}{n:05d},task {n},{'never' if n % 1000 == 999 else 'todo'},{'x' * length}\r\n")
    return text.getvalue().encode()


@contextmanager
def in_the_way(stack: RunningStack, mark: str, row: int) -> Iterator[None]:
    """Somebody is about to insert the record of a row, and has not said yet whether they will; then they do not."""
    with psycopg.connect(stack.database_url) as stranger:
        stranger.execute(f"INSERT INTO tenant_{TENANT}.tasks (id, title) VALUES (%s, 'mine')", (f"{mark}{row:05d}",))
        yield
        stranger.rollback()


def eventually[T](look: Callable[[], T], seconds: float = 40) -> T:
    """What `look` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def there(database: psycopg.Connection, mark: str) -> int:
    """How many records of a test there are."""
    row = database.execute(f"SELECT count(*) FROM tenant_{TENANT}.tasks WHERE id LIKE %s", (f"{mark}%",)).fetchone()
    assert row is not None
    return int(row[0])


def worker_of(stack: RunningStack, run_id: str) -> int | None:
    """The process that carries out a run."""
    return next(iter(stack.workers(run_id)), None)


def waiting_process(database: psycopg.Connection) -> int | None:
    """The process, a function's or the worker, whose import waits for somebody else."""
    waiting = database.execute(
        "SELECT client_port FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%import_rows%'"
    ).fetchone()
    if waiting is None:
        return None
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    ends = (f":{waiting[0]:04X}", f":{database.info.port:04X}")
    sockets = {f"socket:[{line[9]}]" for line in lines if (line[1][-5:], line[2][-5:]) == ends}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                return int(descriptor.parts[2])
    return None


@pytest.mark.long(but="inline")
@pytest.mark.parametrize("lane", LANES)
def test_an_import_whose_process_is_killed_goes_on_without_duplicates(
    operator: Api, stack: RunningStack, runs: Runs, database: psycopg.Connection, mark: str, lane: str
) -> None:
    rows, bad = LANES[lane][0], LANES[lane][0] // 1000
    with in_the_way(stack, mark, rows // 2):
        import_id = started(operator, "tasks", "csv", large_file(mark, lane))
        before = eventually(lambda: there(database, mark))
        assert 0 < before < rows // 2
        os.kill(eventually(lambda: waiting_process(database)), signal.SIGKILL)
        eventually(lambda: waiting_process(database) is None)

    job = ended(operator, import_id)

    assert runs.record(import_id)["lane"] == lane
    assert job["status"] == "completed", job
    assert job["attempts"] == 2
    result = job["result"]
    assert counts(result) == {"created": rows - bad, "failed": bad}, "rows of the first attempt are not created again"
    assert there(database, mark) == rows - bad
    assert [int(row["_line"]) for row in result_rows(result, "failed")] == [n + 1 for n in range(1000, rows + 1, 1000)]
    assert fetched(result, "successful").count(b"\r\n") == rows - bad + 1
    changes = journal(stack, TENANT, result["operation_id"])
    assert len(changes) == rows - bad + 1
    assert len({change["id"] for change in changes}) == len(changes)
    assert changes[-1]["type"] == "operation"
    assert (changes[-1]["after"]["total"], changes[-1]["after"]["failed"]) == (rows, bad)


@pytest.mark.long(but="worker")
@pytest.mark.parametrize("lane", LANES)
def test_a_cancelled_import_keeps_what_it_wrote_and_tells_what_is_left(
    operator: Api, stack: RunningStack, runs: Runs, database: psycopg.Connection, mark: str, lane: str
) -> None:
    rows, bad = LANES[lane][0], LANES[lane][0] // 1000
    with in_the_way(stack, mark, rows // 2):
        import_id = started(operator, "tasks", "csv", large_file(mark, lane))
        eventually(lambda: there(database, mark))
        assert operator.post(f"/api/jobs/{import_id}/cancel").status_code == 202
        time.sleep(1.2)

    job = ended(operator, import_id)

    assert runs.record(import_id)["lane"] == lane
    assert job["status"] == "cancelled", job
    result = job["result"]
    done = result["total"]
    assert 0 < done < rows
    assert there(database, mark) == result["created"] == done - result["failed"]
    operation = journal(stack, TENANT, result["operation_id"])[-1]
    assert (operation["type"], operation["after"]["total"]) == ("operation", done)
    left = fetched(result, "unprocessed")
    assert left.count(b"\r\n") == rows - done + 1

    rest = imported(operator, "tasks", "csv", left)
    assert rest["total"] == rows - done
    assert there(database, mark) == rows - bad


def test_a_cancelled_import_that_is_retried_goes_on_as_another_operation(
    operator: Api, stack: RunningStack, database: psycopg.Connection, mark: str
) -> None:
    with in_the_way(stack, mark, ROWS // 2):
        import_id = started(operator, "tasks", "csv", large_file(mark))
        eventually(lambda: there(database, mark))
        operator.post(f"/api/jobs/{import_id}/cancel")
        time.sleep(1.2)
    first = ended(operator, import_id)["result"]

    assert operator.post(f"/api/jobs/{import_id}/retry").status_code == 202
    job = ended(operator, import_id)

    assert job["status"] == "completed"
    assert counts(job["result"]) == {"created": ROWS - BAD, "failed": BAD}, "of the whole file"
    assert job["result"]["operation_id"] != first["operation_id"]
    operations = [journal(stack, TENANT, result["operation_id"])[-1]["after"] for result in (first, job["result"])]
    assert sum(operation["total"] for operation in operations) == ROWS
    assert there(database, mark) == ROWS - BAD


def test_an_import_that_breaks_in_the_middle_of_its_file_tells_how_far_it_came(
    operator: Api, database: psycopg.Connection, mark: str
) -> None:
    data = csv_file("id,title", f"{mark}1,good", f'{mark}2,"never closed', f"{mark}3,lost")
    job = ended(operator, started(operator, "tasks", "csv", data))
    assert job["status"] == "failed"
    assert job["last_error"] == "A quote is opened in line 3 and never closed."
    assert counts(job["result"]) == {"created": 1}
    assert there(database, mark) == 1
    left = fetched(job["result"], "unprocessed")
    assert left == csv_file("id,title", f'{mark}2,"never closed', f"{mark}3,lost")


@pytest.mark.long(but="before")
@pytest.mark.parametrize("drop", ["before", "after"])
def test_connections_to_storage_that_break_are_made_again(
    operator: Api, faults: Callable[..., None], mark: str, drop: str
) -> None:
    import_id = uploaded(operator, "tasks", "csv", csv_file("id,title", f"{mark}1,one"))
    faults({"service": "s3", "operation": "GetObject", "contains": import_id, "drop": drop, "times": 3})
    start(operator, "tasks", import_id)
    job = ended(operator, import_id)
    assert (job["status"], job["attempts"]) == ("completed", 1), job


def test_a_file_that_is_replaced_after_the_start_is_not_imported(
    operator: Api, faults: Callable[..., None], database: psycopg.Connection, mark: str
) -> None:
    from tests.stack.file_import_surface import ask, upload

    data = csv_file("id,title", f"{mark}1,one")
    asked = ask(operator, "tasks", "csv", len(data)).json()["data"]
    upload(asked["upload"], data)
    faults({"service": "s3", "operation": "GetObject", "contains": asked["id"], "delay": 1.5})
    assert start(operator, "tasks", asked["id"]).status_code == 202
    upload(asked["upload"], data.replace(b"one", b"two"))
    job = ended(operator, asked["id"])
    assert (job["status"], job["result"]) == ("failed", None)
    assert "replaced" in job["last_error"]
    assert there(database, mark) == 0


def test_an_import_that_is_killed_for_good_is_still_summed_up_in_the_journal(
    operator: Api, stack: RunningStack, database: psycopg.Connection, mark: str
) -> None:
    with in_the_way(stack, mark, ROWS // 2):
        import_id = started(operator, "tasks", "csv", large_file(mark))
        before = eventually(lambda: there(database, mark))
        for attempt in (1, 2, 3):
            eventually(lambda: operator.get(f"/api/jobs/{import_id}").json()["data"]["attempts"] == attempt)  # noqa: B023
            os.kill(eventually(lambda: worker_of(stack, import_id)), signal.SIGKILL)
            eventually(lambda: worker_of(stack, import_id) is None)
        job = ended(operator, import_id)
    assert (job["status"], job["result"]) == ("failed", None)

    def summed_up() -> list[dict[str, object]]:
        with psycopg.connect(stack.url_as("stowage_app")) as connection:
            return connection.execute(
                "SELECT after FROM stowage.changes WHERE tenant = %s AND type = 'operation' AND after->>'job' = %s",
                (TENANT, import_id),
            ).fetchall()  # type: ignore[return-value]

    [(after,)] = eventually(summed_up)
    assert after["succeeded"] == before == there(database, mark)


def test_links_to_result_files_end_with_the_run(operator: Api, mark: str) -> None:
    result = imported(operator, "tasks", "csv", csv_file("id,title", f"{mark}1,one"))
    link = result["files"]["failed"]
    assert requests.get(link[:-2], timeout=30).status_code == 404
    assert requests.get(link, timeout=30).status_code == 200
