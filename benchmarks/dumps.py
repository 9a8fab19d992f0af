"""What a dump costs beside the bare pg_dump, and that memory stays flat.

    python -m benchmarks.dumps [--rounds 5] [--database-url URL --schema SCHEMA]

Needs a running stack (its storage is the upload's target). Every figure is a ratio to a floor of the same rounds, which
are interleaved; medians, both sides printed. Exits with 1 where a goal is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from uuid import uuid4

from benchmarks.bench_tenant import BenchTenant, bench_tenant, read_stack
from benchmarks.compressors import bare, in_pg_dump, peak_megabytes
from benchmarks.figures import told
from stowage.aws.clients import dynamodb, s3
from stowage.aws.uploads import MultipartUpload
from stowage.pipeline.compress import gzip_compressor
from stowage.pipeline.source import Source
from stowage.pipeline.transfer import Stored, transfer
from stowage.postgres.dumps.pg_dump import READ_BYTES, Dump

PACED_GOAL, SAME_CORES_GOAL, CUSTOM_GOAL = 1.1, 1.6, 2.0
PEAK_GOAL, FLAT_GOAL = 85.0, 5.0
SMALL_PEAK_BYTES, LARGE_PEAK_BYTES = 300_000_000, 3_000_000_000


class Paced:
    """A dump that comes from a file at an even speed, as from a database that has cores of its own."""

    rows = 0

    def __init__(self, path: str, seconds: float) -> None:
        self._path, self._seconds = path, seconds

    def chunks(self) -> Iterator[bytes]:
        """Give the file within the given seconds; late chunks are caught up on, as a pipe's buffer would."""
        size = Path(self._path).stat().st_size
        began, given = time.perf_counter(), 0
        with open(self._path, "rb", buffering=0) as file:
            while chunk := file.read(READ_BYTES):
                given += len(chunk)
                early = began + self._seconds * given / size - time.perf_counter()
                if early > 0:
                    time.sleep(early)
                yield chunk

    def finish(self) -> None:
        """A file is whole."""

    def close(self) -> None:
        """Closed by its reader."""


class Repeated:
    """Dumps of one tenant after another until there are so many bytes: a tenant larger than the one at hand."""

    rows = 0

    def __init__(self, dump: Callable[[], Dump], size: int) -> None:
        self._make, self._size = dump, size
        self._dump: Dump | None = None

    def chunks(self) -> Iterator[bytes]:
        """Give exactly that many bytes."""
        left = self._size
        while left:
            self._dump = self._make()
            for chunk in self._dump.chunks():
                yield chunk[:left]
                left -= min(left, len(chunk))
                if not left:
                    break
            self.close()

    def finish(self) -> None:
        """Cut off on purpose."""

    def close(self) -> None:
        """End the dump at hand."""
        if self._dump:
            self._dump.close()


def main() -> int:
    """Run everything; 0 where all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database-url")
    parser.add_argument("--schema", default="tenant_bench")
    parser.add_argument("--endpoint", help="storage other than the running stack's")
    given = parser.parse_args()
    use_storage(given.endpoint)
    tenant = bench_tenant(given.database_url, given.schema)
    with ScratchBucket() as bucket:
        if given.peak:
            print(json.dumps(peak(tenant, bucket, given.peak)))
            return 0
        goals = [*speeds(tenant, bucket, given.rounds), *peaks(sys.argv[1:])]
    return 0 if all(goals) else 1


def speeds(tenant: BenchTenant, bucket: str, rounds: int) -> list[bool]:
    """Measure the pipeline against the bare dump, against a paced source, and against pg_dump's own archive."""
    floor, custom, same, paced, alone = [], [], [], [], []
    with tempfile.NamedTemporaryFile() as plain:
        subprocess.run([*tenant.pg_dump, "--compress=0"], env=tenant.environment, stdout=plain, check=True)
        size = plain.tell()
        stored = store(Dump(tenant.schema, "sql", tenant.environment, binary=tenant.binary), bucket)[1]
        for _ in range(rounds):
            floor.append(bare(tenant))
            same.append(store(Dump(tenant.schema, "sql", tenant.environment, binary=tenant.binary), bucket)[0])
            custom.append(in_pg_dump(["-Fc"], tenant).seconds)
            speed = median(floor)
            alone.append(read(Paced(plain.name, speed)))
            paced.append(store(Paced(plain.name, speed), bucket)[0])
    print(f"{size / 1e6:,.0f} MB of plain dump, {stored.size_bytes / 1e6:,.0f} MB stored; {rounds} rounds, medians\n")
    return [
        told("pipeline, source paced to the bare dump's speed", median(paced), median(alone), PACED_GOAL),
        told("pipeline, all on the same cores as Postgres", median(same), median(floor), SAME_CORES_GOAL),
        told("pg_dump -Fc, by the pipeline", median(custom), median(same), CUSTOM_GOAL, at_least=True),
    ]


def peaks(arguments: list[str]) -> list[bool]:
    """Measure the highest memory of a process that stores little, and of one that stores ten times as much."""
    small, large = (
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.dumps", *arguments, "--peak", str(size)],
                capture_output=True,
                check=True,
            ).stdout
        )
        for size in (SMALL_PEAK_BYTES, LARGE_PEAK_BYTES)
    )
    met, flat = large["peak"] <= PEAK_GOAL, large["peak"] - small["peak"] <= FLAT_GOAL
    outcome = "met" if met and flat else "MISSED"
    print(
        f"peak memory: {small['peak']:.1f} MB at 0.3 GB, {large['peak']:.1f} MB at 3 GB, "
        f"of it {large['imports']:.1f} imports and clients (goal ≤ {PEAK_GOAL:.0f}, flat) {outcome}"
    )
    return [met, flat]


def peak(tenant: BenchTenant, bucket: str, size: int) -> dict[str, float]:
    """Store so many bytes of dumps in this process, which has imported and opened what the worker has."""
    import psycopg  # noqa: F401 - the worker has it in memory
    import pydantic  # noqa: F401 - likewise

    dynamodb()
    imports = peak_megabytes()
    store(Repeated(lambda: Dump(tenant.schema, "sql", tenant.environment, binary=tenant.binary), size), bucket)
    return {"imports": imports, "peak": peak_megabytes()}


def store(source: Source, bucket: str) -> tuple[float, Stored]:
    """Seconds of one whole transfer, and what it stored; the object is deleted afterwards."""
    upload = MultipartUpload(
        bucket,
        f"bench/{uuid4()}",
        "bench",
        attempt=1,
        content_type="application/gzip",
        on_created=lambda _: None,
    )
    began = time.perf_counter()
    stored = transfer(source, upload, compress=gzip_compressor(), watch=lambda *_: None)
    seconds = time.perf_counter() - began
    s3().delete_object(Bucket=bucket, Key=stored.key)
    return seconds, stored


def read(source: Source) -> float:
    """Seconds of the source alone."""
    began = time.perf_counter()
    for _ in source.chunks():
        pass
    return time.perf_counter() - began


def use_storage(endpoint: str | None) -> None:
    """Point the product's clients at the running stack's storage (the credentials are any there)."""
    os.environ["AWS_ENDPOINT_URL"] = endpoint or str(read_stack()["aws_endpoint_url"])
    for name, value in (("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


class ScratchBucket:
    """A bucket for the objects of one benchmark."""

    def __enter__(self) -> str:
        self._name = f"bench-{uuid4().hex[:12]}"
        s3().create_bucket(Bucket=self._name)
        return self._name

    def __exit__(self, *_: object) -> None:
        s3().delete_bucket(Bucket=self._name)


if __name__ == "__main__":
    sys.exit(main())
