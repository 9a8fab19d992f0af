"""A file of any length is imported in the same memory."""

import contextlib
import time
from pathlib import Path

import psycopg

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import counts, csv_file, start, uploaded
from tests.stack.office import open_office

FEW, MANY = 25_000, 75_000
BYTES_A_ROW = 1_400
"""So that either file is the worker's, whose memory is nobody else's."""
SPREAD_MB = 12


def test_the_workers_memory_does_not_grow_with_the_rows(stack: RunningStack, database: psycopg.Connection) -> None:
    office = open_office(stack, database)
    api = office.caller()
    few, many = (peak_mb(stack, api, office.id, rows) for rows in (FEW, MANY))
    office.close()
    assert abs(many - few) < SPREAD_MB, f"{few:.0f} MB for {FEW:,} rows, {many:.0f} MB for {MANY:,}"


def peak_mb(stack: RunningStack, api: Api, tenant: str, rows: int) -> float:
    """The most memory that the worker had for a file of so many tasks, of which one in ten is good."""
    text = "x" * BYTES_A_ROW
    lines = (f"task {n},{'never' if n % 10 else 'todo'},{text}" for n in range(rows))
    import_id = uploaded(api, "tasks", "csv", csv_file("title,status,description", *lines), tenant=tenant)
    assert start(api, "tasks", import_id).status_code == 202
    highest = 0
    while (job := api.get(f"/api/jobs/{import_id}").json()["data"])["status"] in ("pending", "running"):
        highest = max(highest, worker_peak(stack, import_id))
        time.sleep(0.1)
    assert job["status"] == "completed", job
    assert counts(job["result"]) == {"created": rows // 10, "failed": rows - rows // 10}
    assert highest > 0
    return highest / 1024


def worker_peak(stack: RunningStack, run_id: str) -> int:
    """VmHWM of the worker of a run in kB, 0 where there is none."""
    for pid in stack.workers(run_id):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 0
