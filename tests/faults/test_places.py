"""Many runs at once: each database's budget holds, tenants wait for themselves only, and none sees another's data."""

import csv
import gzip
import io
import re
import threading
import time

import psycopg
import pytest
from psycopg import sql

from tests.faults.run_surface import Runs, eventually

LOOK_ALIKES = ("acme", "acme2", "acme_x")
BUDGET = 4
LONG_RUNS = BUDGET - 1


def test_look_alikes_are_dumped_at_the_same_time_and_apart(runs: Runs) -> None:
    runs.hold("s3", "UploadPart", "/acme", delay=2, times=3)
    run_ids = {tenant: runs.backup(tenant) for tenant in LOOK_ALIKES}
    eventually(lambda: set(run_ids.values()) <= runs.leases().keys(), "all three have a place")
    second = runs.backup("acme")
    time.sleep(0.5)
    assert runs.record(second)["due_list"] == "WAITING#main"

    for tenant, run_id in run_ids.items():
        dump = gzip.decompress(runs.body(runs.ends(run_id, "completed")))
        assert set(re.findall(rb"^COPY (\w+)\.", dump, re.M)) == {f"tenant_{tenant}".encode()}
        assert re.findall(rb"^CREATE SCHEMA (\w+)", dump, re.M) == [f"tenant_{tenant}".encode()]
    assert runs.ends(second, "completed")["attempt"] == 1


@pytest.mark.parametrize("tenant", LOOK_ALIKES)
def test_an_export_holds_its_own_tenants_rows_alone(runs: Runs, database: psycopg.Connection, tenant: str) -> None:
    run = runs.ends(runs.export(tenant, "brands"), "completed")
    rows = csv.DictReader(io.StringIO(runs.body(run).decode()))
    query = sql.SQL("SELECT id FROM {} WHERE deleted_at IS NULL").format(sql.Identifier(f"tenant_{tenant}", "brands"))

    assert sorted(row["id"] for row in rows) == sorted(row[0] for row in database.execute(query))


def test_large_exports_of_a_tenant_wait_for_each_other_and_waiting_costs_no_attempt(runs: Runs) -> None:
    runs.hold("s3", "UploadPart", "/globex/", delay=0.5, times=6)
    with Sampler(runs) as seen:
        run_ids = [runs.export(format="parquet") for _ in range(6)]
        ended = [runs.reaches(run_id, "completed", seconds=60) for run_id in run_ids]

    assert 2 <= seen.most_in_worker <= LONG_RUNS
    assert [run["tries"] for run in ended] == [1] * 6
    assert [len(run["attempts"]) for run in ended] == [1] * 6
    for run_id in run_ids:
        runs.leaves_nothing(run_id)


class Sampler:
    """Looks at the leases and executions until it is stopped, and keeps the most that it has seen."""

    def __init__(self, runs: Runs) -> None:
        self.most_leases = self.most_in_worker = 0
        self._runs, self._stop = runs, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            held = self._runs.leases().values()
            self.most_leases = max(self.most_leases, len(held))
            in_worker = sum(lease["kind"] == "export_backup" or lease["lane"] == "worker" for lease in held)
            self.most_in_worker = max(self.most_in_worker, in_worker)


def test_the_budget_holds_under_many_requests_and_every_one_completes(runs: Runs) -> None:
    small = ("globex", "initech", "zoo", "acme2", "acme_x")
    with Sampler(runs) as seen:
        run_ids = [runs.backup(tenant) for tenant in small]
        run_ids += [runs.export(small[number % len(small)], "brands") for number in range(10)]
        run_ids.append(runs.backup("globex"))
        assert len(run_ids) == 16 > 2 * BUDGET
        ended = [runs.reaches(run_id, "completed", seconds=180) for run_id in run_ids]

    assert 2 <= seen.most_leases <= BUDGET
    assert 1 <= seen.most_in_worker <= LONG_RUNS
    assert [run["attempt"] for run in ended] == [1] * 16
    assert not runs.leases()
    for run_id in (run_ids[0], run_ids[-1], run_ids[10]):
        runs.leaves_nothing(run_id)
