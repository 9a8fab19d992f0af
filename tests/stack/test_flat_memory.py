"""Memory does not grow with a tenant: what an export's process and a backup's worker need at most, little and much.

The figures are the README's; `make bench` measures them with more data.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.exports import Run, Tenant, run_export
from local.sample import load_bench_posts, load_bench_tenant
from tests.conftest import Api, RunningStack
from tests.faults.run_surface import Json, Runs, eventually, file_of
from tests.stack.file_import_surface import mover_token
from tests.stack.scratch_databases import migrated_database, server_url
from tests.stack.spare_schemas import remove_tenant

EXPORT_MB = 25.0
"""What an export may add to its process."""
WORKER_MB = 85.0
FLAT_MB = 5.0
"""How much more the larger one may need: pages that an allocator keeps, not rows."""
FEW_ROWS, MANY_ROWS = 20_000, 100_000
"""Of about 300 bytes each: were they kept, the many would need 25 MB more."""
FEW_MB, MANY_MB = 30, 75


@pytest.fixture(scope="module")
def posts(request: pytest.FixtureRequest) -> Iterator[dict[int, Tenant]]:
    """Tenants of few and of many posts."""
    with migrated_database(server_url(request)) as url:
        for count in (FEW_ROWS, MANY_ROWS):
            load_bench_posts(url, f"posts_{count}", count)
        yield {count: Tenant(url, f"posts_{count}") for count in (FEW_ROWS, MANY_ROWS)}


@pytest.mark.long(but=["csv", "xlsx"])
@pytest.mark.parametrize("format", ["csv", "json", "ndjson", "xlsx"])
def test_an_export_of_many_rows_needs_no_more_memory_than_one_of_few(posts: dict[int, Tenant], format: str) -> None:
    found: dict[int, Run] = {count: run_export(tenant, format) for count, tenant in posts.items()}

    assert {count: run.rows for count, run in found.items()} == {count: count for count in posts}
    assert found[MANY_ROWS].bytes > 4.5 * found[FEW_ROWS].bytes
    assert found[MANY_ROWS].peak_mb - found[FEW_ROWS].peak_mb < FLAT_MB
    assert found[MANY_ROWS].peak_mb < EXPORT_MB


@pytest.fixture
def runs(stack: RunningStack, dynamodb: Any, s3: Any, stepfunctions: Any) -> Iterator[Runs]:
    """The runs of whoever may reach every tenant."""
    with Api(stack.api_url, mover_token(stack)) as everybody:
        made = Runs(stack, everybody, dynamodb, s3, stepfunctions)
        yield made
    stack.faults()


def peak_of_a_backup(runs: Runs, tenant: str) -> tuple[float, Json]:
    """MB that the worker needed at most, up to its last step, and the run."""
    held = runs.hold("s3", "PutObject", f"/{tenant}/backups/", delay=1)
    run_id = runs.backup(tenant, compress=False)
    held.reached()
    status = Path(f"/proc/{runs.worker(run_id)}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024, runs.reaches(run_id, "completed")


def test_a_backup_of_much_needs_no_more_memory_than_one_of_little(stack: RunningStack, runs: Runs) -> None:
    for megabytes in (FEW_MB, MANY_MB):
        load_bench_tenant(stack.database_url, f"dump_{megabytes}", megabytes)
    runs.invoke("CopyRegistryFunction", {})
    eventually(lambda: runs.item("TENANTS", f"dump_{MANY_MB}"), "the tenant is known")
    peaks = {}
    for megabytes in (FEW_MB, MANY_MB):
        peaks[megabytes], run = peak_of_a_backup(runs, f"dump_{megabytes}")
        assert file_of(run)["size_bytes"] > 0.9 * megabytes * 1_000_000

    assert peaks[MANY_MB] - peaks[FEW_MB] < FLAT_MB
    assert peaks[MANY_MB] < WORKER_MB


@pytest.fixture(autouse=True, scope="module")
def without_the_large_tenants(stack: RunningStack) -> Iterator[None]:
    """They are taken away again."""
    yield
    with psycopg.connect(stack.database_url) as connection:
        for megabytes in (FEW_MB, MANY_MB):
            remove_tenant(connection, f"dump_{megabytes}")
    stack.invoke("CopyRegistryFunction")
