"""What a file import costs beside `COPY` into a temporary table + `INSERT … ON CONFLICT` + journal, and that memory
stays flat.

    python -m benchmarks.file_imports [--rows 1000000] [--rounds 1]

Needs a running stack (its Postgres and its storage). The import runs in a process of its own, from the first byte of
storage to the last result file; the floor reads the same file from disk and has one transaction, no validation and no
results. Rounds are interleaved; medians, both sides printed. Exits with 1 where memory is not flat.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks.bench_tenant import read_stack
from local.database_urls import as_role, for_product
from local.sample.rows import Sizes
from local.sample.tenants import SampleTenant, is_registered, make
from stowage.aws import table
from stowage.aws.clients import s3
from stowage.aws.objects import head
from stowage.imports.files.records import FileImportSpec
from stowage.imports.files.running import import_file
from stowage.runs.attempt import Attempt
from stowage.runs.record import Run

TENANT = SampleTenant("benchfiles", "Bench file imports", Sizes(5, 20, 20_000, 0, 0, 5))
COLUMNS = ("id", "accountId", "url", "caption", "likes", "postedAt", "createdAt", "updatedAt")
FLAT_MB = 60.0
"""Above the imports, at the peak, whatever the number of rows."""
FEW_ROWS = 50_000

type Json = Any


class Measured(NamedTuple):
    """Seconds of the rows alone and of the whole, MB at the peak above what the imports take."""

    rows_seconds: float
    seconds: float
    peak_mb: float


def main() -> int:
    """Run everything; 0 where memory is flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", metavar="SPEC", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    stack = read_stack()
    use_product(stack)
    if arguments.child:
        print(json.dumps(run_here(json.loads(arguments.child))))
        return 0
    with psycopg.connect(stack["database_url"], autocommit=True) as owner:
        if not is_registered(owner, TENANT.slug):
            make(owner, TENANT, TENANT.sizes)
        floors: list[float] = []
        found: list[Measured] = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "posts.csv"
            write_posts(path, arguments.rows)
            for _ in range(arguments.rounds):
                floors.append(time_floor(stack, owner, path))
                found.append(run_import(owner, path))
            few = Path(folder) / "few.csv"
            write_posts(few, FEW_ROWS)
            small = run_import(owner, few)
            megabytes = path.stat().st_size / 1e6
        empty(owner)
    floor, seconds = median(floors), median(run.seconds for run in found)
    rows_seconds, peak = median(run.rows_seconds for run in found), max(run.peak_mb for run in found)
    print(f"{arguments.rows:,} posts, {megabytes:.0f} MB of CSV")
    print(f"floor: {arguments.rows / floor:,.0f} rows/s; import: {arguments.rows / seconds:,.0f} rows/s")
    print(f"rows alone: {rows_seconds:.2f} s / {floor:.2f} s = {rows_seconds / floor:.2f}")
    print(f"with the result files: {seconds:.2f} s / {floor:.2f} s = {seconds / floor:.2f}")
    flat = peak <= FLAT_MB
    print(f"memory: +{peak:.0f} MB at the peak, +{small.peak_mb:.0f} MB for {FEW_ROWS:,} rows (goal ≤ {FLAT_MB:.0f})")
    return 0 if flat else 1


def use_product(stack: Json) -> None:
    """Let the import run in this process as it does in the worker."""
    os.environ |= {
        "AWS_ENDPOINT_URL": stack["aws_endpoint_url"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STOWAGE_TABLE": stack["resources"]["Table"],
        "STOWAGE_EXPORTS_BUCKET": stack["resources"]["ExportsBucket"],
        "STOWAGE_BACKUPS_BUCKET": stack["resources"]["BackupsBucket"],
        "STOWAGE_UPLOADS_BUCKET": stack["resources"]["UploadsBucket"],
        "STOWAGE_DATABASE_URL": for_product(stack["database_url"]),
    }


def write_posts(path: Path, rows: int) -> None:
    """A CSV file of posts, as an export of ours would give them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\r\n")
        for n in range(rows):
            account = f"acc_{1 + n % 20_000:07d}"
            file.write(
                f'"pst_bench_{n:08d}","{account}","https://x.example/p/{n:x}?igsh={n}","Morning light over the harbour '
                f'#{n % 977}, with ""quotes"" and a comma",{n % 5000},2024-03-01 10:20:{n % 60:02d}Z,'
                f"2024-03-01 10:20:30.123456Z,2024-03-02 00:00:00Z\r\n"
            )


_STAGED = """
CREATE TEMPORARY TABLE staged (
    id text, account_id text, url text, caption text, likes bigint, posted_at timestamptz, created_at timestamptz,
    updated_at timestamptz
) ON COMMIT DROP
"""
_INSERT = """
WITH written AS (
    INSERT INTO tenant_benchfiles.posts AS made
        (id, account_id, url, caption, likes, posted_at, created_at, updated_at)
    SELECT * FROM staged ON CONFLICT DO NOTHING
    RETURNING made.id, account_id, url, caption, likes, posted_at, created_at, updated_at
),
taken AS MATERIALIZED (SELECT stowage.take_seqs('benchfiles', (SELECT count(*) FROM written)) AS base)
INSERT INTO stowage.changes (tenant, seq, operation, entity, id, type, before, after, actor, at)
SELECT 'benchfiles', base + row_number() OVER (), 'op_floor', 'posts', id, 'created', NULL,
       jsonb_build_object('id', id, 'account_id', account_id, 'url', url, 'caption', caption, 'likes', likes,
                          'posted_at', posted_at, 'created_at', created_at, 'updated_at', updated_at),
       'bench', now()
FROM written, taken
"""


def time_floor(stack: Json, owner: psycopg.Connection, path: Path) -> float:
    """Seconds for the same rows by hand: one COPY, one statement with its journal, one transaction."""
    empty(owner)
    url = as_role(stack["database_url"], "stowage_app")
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(_STAGED)
            with cursor.copy("COPY staged FROM STDIN (FORMAT csv, HEADER)") as copy, path.open("rb") as file:
                while data := file.read(1 << 18):
                    copy.write(data)
            cursor.execute(_INSERT)
        return time.perf_counter() - began


def run_import(owner: psycopg.Connection, path: Path) -> Measured:
    """The same file from storage, in a process of its own."""
    empty(owner)
    key = f"{TENANT.slug}/imports/{uuid4()}/file.csv"
    bucket = os.environ["STOWAGE_UPLOADS_BUCKET"]
    with path.open("rb") as file:
        s3().put_object(Bucket=bucket, Key=key, Body=file)
    stored = head(bucket, key)
    assert stored is not None
    spec = FileImportSpec(
        entity="posts", schema_name=f"tenant_{TENANT.slug}", type="csv", mapping={}, on_conflict="fail",
        filename="posts.csv", key=key, size=stored["size"], etag=stored["etag"],
    )  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.file_imports", "--child", spec.model_dump_json()]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(done.stdout))


class _Watching:
    """Plays the reporter: notes when the last rows were written."""

    def __init__(self) -> None:
        self.rows = 0
        self.at = 0.0

    def watch(self, _bytes_read: int, _bytes_stored: int, rows: int) -> None:
        """Note it."""
        if rows != self.rows:
            self.rows, self.at = rows, time.perf_counter()

    def watch_on(self) -> None:
        """Nobody looks."""

    def report(self, _stage: str, _message: str) -> None:
        """Nobody looks."""


def run_here(spec: Json) -> dict[str, float]:
    """The import itself, in this process."""
    run = Run(
        id=str(uuid4()), tenant=TENANT.slug, kind="import", database="main", spec=spec, requested_by="bench",
        created_at="2026-01-01T00:00:00.000Z", attempt=1,
    )  # fmt: skip
    s3()  # whose first use loads botocore's models
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak_mb()
    watching: Any = _Watching()
    table.put({"pk": run.pk, "sk": run.sk, "status": "running", "attempt": run.attempt})
    began = time.perf_counter()
    import_file(Attempt(run, watching, lambda: datetime.now(UTC)))
    seconds = time.perf_counter() - began
    table.delete(run.pk, run.sk)
    return {"rows_seconds": watching.at - began, "seconds": seconds, "peak_mb": peak_mb() - before}


def peak_mb() -> float:
    """The most memory that this process had since `clear_refs`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def empty(owner: psycopg.Connection) -> None:
    """Take away the posts and their journal, so that each round starts from the same tables."""
    owner.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(f"tenant_{TENANT.slug}", "posts")))
    owner.execute("SET ROLE stowage_owner")
    owner.execute("DELETE FROM stowage.changes WHERE tenant = %s", (TENANT.slug,))
    owner.execute("VACUUM stowage.changes")
    owner.execute("RESET ROLE")


if __name__ == "__main__":
    sys.exit(main())
