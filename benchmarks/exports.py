"""Exports of a million posts against `psql` copying the same columns to nowhere as CSV.

    python -m benchmarks.exports [--database-url URL] [--slug SLUG] [--rounds 5] [--upload] [FORMAT ...]

Each export runs in a process of its own, from the first byte sent to Postgres until `finish`, hashing what it makes;
`--upload` runs the pipeline instead, into the running stack's storage. Rounds are interleaved, so that a busy moment of
the machine falls on all alike; medians are printed, the floor beside them. Peaks are VmHWM above the process after its
imports. Where a goal is missed, a profile tells what takes the time.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks.bench_tenant import pg_dump_binary, read_stack
from local.configuration import ACCESS_KEY, REGION, SECRET_KEY
from stowage.aws.clients import s3
from stowage.aws.uploads import MultipartUpload
from stowage.exports.formats import CONTENT_TYPES, EXTENSIONS, FORMATS, open_export
from stowage.pipeline.transfer import transfer
from stowage.postgres.reads.copy import Snapshot
from stowage.postgres.reads.rendering import copy_cells, copy_csv, copy_json, copy_values
from stowage.postgres.reads.selection import select

PSQL = Path(pg_dump_binary()).with_name("psql")
GOALS = {"csv": (1.05, 25), "ndjson": (1.5, 25), "xlsx": (2.0, 25), "parquet": (1.6, 130)}
"""Times the floor, and the megabytes that an export may add to its process."""
STATEMENTS = {"csv": copy_csv, "json": copy_json, "ndjson": copy_json, "xlsx": copy_cells, "parquet": copy_values}
FLOOR_COLUMNS = ("id", "account_id", "url", "caption", "likes", "posted_at", "created_at", "updated_at")


class Tenant(NamedTuple):
    """Where the posts lie: the schema `tenant_{slug}` of a database."""

    url: str
    slug: str

    @property
    def schema(self) -> str:
        """The tenant's schema."""
        return f"tenant_{self.slug}"


class Run(NamedTuple):
    """One export: seconds of wall clock and of our own CPU, bytes and rows made, MB at the peak above the imports."""

    seconds: float
    cpu_seconds: float
    bytes: int
    rows: int
    peak_mb: float


def time_psql(tenant: Tenant, statement: str) -> float:
    """Seconds of `psql -c statement > /dev/null`."""
    began = time.perf_counter()
    subprocess.run([PSQL, "-X", "-q", "-d", tenant.url, "-c", statement], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def time_floor(tenant: Tenant) -> float:
    """Seconds that Postgres and psql need for the bare COPY of the same columns and rows."""
    columns = ", ".join(FLOOR_COLUMNS)
    return time_psql(
        tenant, f"COPY (SELECT {columns} FROM {tenant.schema}.posts WHERE deleted_at IS NULL) TO STDOUT (FORMAT csv)"
    )


def run_export(tenant: Tenant, format: str, *, upload: bool = False, until: str = "end") -> Run:
    """One export in a process of its own; `until="rows"` reads the rows from Postgres and makes nothing of them."""
    command = [sys.executable, "-m", "benchmarks.exports", "--child", tenant.url, tenant.slug, until, format]
    done = subprocess.run([*command, "--upload"] if upload else command, check=True, capture_output=True, text=True)
    return Run(**json.loads(done.stdout))


def measure(tenant: Tenant, formats: Sequence[str], rounds: int, *, upload: bool = False) -> dict[str, list[Run]]:
    """`rounds` runs of the floor and of each format, in turn; the floor's are under `floor`."""
    found: dict[str, list[Run]] = {name: [] for name in ("floor", *formats)}
    for _ in range(rounds):
        found["floor"].append(Run(time_floor(tenant), 0, 0, 0, 0))
        for name in formats:
            found[name].append(run_export(tenant, name, upload=upload))
    return found


def report(tenant: Tenant, found: dict[str, list[Run]]) -> bool:
    """Print the figures, and a profile of each format that misses its goal; whether all goals were reached."""
    floor = median(run.seconds for run in found["floor"])
    print(f"{'floor: psql COPY csv':<22}{floor:7.2f} s")
    reached = True
    for name, runs in found.items():
        if name == "floor":
            continue
        seconds = median(run.seconds for run in runs)
        peak = max(run.peak_mb for run in runs)
        goal = GOALS.get(name)
        missed = goal is not None and (seconds / floor > goal[0] or peak > goal[1])
        told = f"(goal {goal[0]}x, {goal[1]} MB{', MISSED' if missed else ''})" if goal else ""
        print(
            f"{name:<22}{seconds:7.2f} s  {seconds / floor:5.2f}x  {runs[0].rows:,} rows  "
            f"{runs[0].bytes / 1e6:6.1f} MB  peak +{peak:.1f} MB  {told}"
        )
        if missed:
            reached = False
            profile(tenant, name)
    return reached


def profile(tenant: Tenant, format: str, rounds: int = 3) -> None:
    """Where an export's time goes: Postgres alone, reading alone, the whole, and how busy our own process was."""
    with psycopg.connect(tenant.url, autocommit=True) as connection:
        selection = select(tenant.schema, tenant.slug, "posts")
        statement = STATEMENTS[format](selection).as_string(connection)
    postgres = median(time_psql(tenant, f"SET timezone = 'UTC'; SET jit = off; {statement}") for _ in range(rounds))
    rows = [run_export(tenant, format, until="rows") for _ in range(rounds)]
    whole = [run_export(tenant, format) for _ in range(rounds)]
    for name, seconds in (
        ("Postgres formatting its rows, read by psql", postgres),
        ("the same rows read by us", median(run.seconds for run in rows)),
        ("  of which our CPU", median(run.cpu_seconds for run in rows)),
        ("the whole file, hashed", median(run.seconds for run in whole)),
        ("  of which our CPU", median(run.cpu_seconds for run in whole)),
    ):
        print(f"    {name:<44}{seconds:6.2f} s")


def export_here(tenant: Tenant, format: str, until: str, *, upload: bool) -> Run:
    """The export itself, in this process."""
    if format == "parquet":
        import pyarrow.csv
        import pyarrow.parquet  # noqa: F401
    if upload:
        s3()  # whose first use loads botocore's models
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _peak_mb()
    connection = psycopg.connect(tenant.url, autocommit=True, prepare_threshold=None)
    began, cpu = time.perf_counter(), time.process_time()
    size, rows = 0, 0
    if until == "rows":
        snapshot = Snapshot(connection)
        for batch in snapshot.copy(STATEMENTS[format](select(tenant.schema, tenant.slug, "posts")), "posts"):
            size += sum(map(len, batch))
        rows = snapshot.rows
        snapshot.close()
    else:
        source = open_export(connection, tenant.schema, tenant.slug, data_type="posts", format=format, filters=None)
        if upload:
            target = MultipartUpload(
                os.environ["BENCH_BUCKET"],
                f"bench/{uuid4()}.{EXTENSIONS[format]}",
                "bench",
                attempt=1,
                content_type=CONTENT_TYPES[format],
                on_created=lambda _: None,
            )
            stored = transfer(source, target, compress=None, watch=lambda *_: None)
            size, rows = stored.size_bytes, stored.rows
        else:
            sha256 = hashlib.sha256()
            for chunk in source.chunks():
                sha256.update(chunk)
                size += len(chunk)
            source.finish()
            rows = source.rows
            source.close()
    return Run(time.perf_counter() - began, time.process_time() - cpu, size, rows, _peak_mb() - before)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _use_storage_of_the_stack() -> None:
    """Upload into a bucket of our own beside the stack's."""
    os.environ |= {
        "AWS_ENDPOINT_URL": str(read_stack()["aws_endpoint_url"]),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "BENCH_BUCKET": f"bench-{uuid4().hex[:12]}",
    }
    s3().create_bucket(Bucket=os.environ["BENCH_BUCKET"])


def find_tenant(database_url: str | None, slug: str) -> Tenant:
    """The tenant in that database, or in the running stack's, where it is made if it is not there."""
    url = database_url or str(read_stack()["database_url"])
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT to_regnamespace(%s)", (f"tenant_{slug}",)).fetchone()
    if found == (None,):
        from local.sample import load_bench_posts

        load_bench_posts(url, slug)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(f"tenant_{slug}", "posts")))
    return Tenant(url, slug)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; default: all")
    parser.add_argument("--database-url", help="default: the running stack's")
    parser.add_argument("--slug", default="bench_posts", help="the tenant; made if missing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upload", action="store_true", help="through the pipeline, into storage")
    parser.add_argument("--child", nargs=3, metavar=("URL", "SLUG", "UNTIL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    formats = arguments.formats or list(FORMATS)
    if arguments.child:
        url, slug, until = arguments.child
        run = export_here(Tenant(url, slug), formats[0], until, upload=arguments.upload)
        print(json.dumps(run._asdict()))
        return
    if arguments.upload:
        _use_storage_of_the_stack()
    tenant = find_tenant(arguments.database_url, arguments.slug)
    report(tenant, measure(tenant, formats, arguments.rounds, upload=arguments.upload))


if __name__ == "__main__":
    main()
