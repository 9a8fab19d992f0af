"""Which compressor the pipeline uses: speed alone and beside Postgres, size and memory of each, on a real tenant's
dump.

    python -m benchmarks.compressors [--database-url URL --schema SCHEMA]

Each runs in a process of its own that reads a pipe or a file in the pipeline's chunks and throws the result away. The
rounds are interleaved, so that a busy moment of the machine falls on all alike; medians are printed, with the floor
beside them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from benchmarks.bench_tenant import BenchTenant, bench_tenant
from stowage.pipeline.compress import gzip_compressor
from stowage.postgres.dumps.pg_dump import PIPE_BYTES, READ_BYTES


def _zlib_ng(level: int) -> Any:
    from zlib_ng import zlib_ng

    return zlib_ng.compressobj(level, wbits=31)


def _zstandard(level: int) -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=level).compressobj()


def _isal(level: int) -> Any:
    from isal import isal_zlib

    return isal_zlib.compressobj(level, wbits=31)


COMPRESSORS: dict[str, Callable[[], Any]] = {
    "ours: isal 1, blocks on two threads": gzip_compressor,
    "isal 1": lambda: _isal(1),
    "isal 0": lambda: _isal(0),
    "isal 2": lambda: _isal(2),
    "zlib-ng 1": lambda: _zlib_ng(1),
    "zlib-ng 3": lambda: _zlib_ng(3),
    "zstandard 1": lambda: _zstandard(1),
    "zstandard 3": lambda: _zstandard(3),
    "zlib 1": lambda: zlib.compressobj(1, wbits=31),
}
PROGRAMS: dict[str, list[str]] = {"gzip -1": ["gzip", "-1"]}
IN_PG_DUMP: dict[str, list[str]] = {"pg_dump -Z1": ["-Z1"], "pg_dump -Z6": ["-Z6"], "pg_dump -Fc": ["-Fc"]}
"""What others run: pg_dump compresses by itself, in the one process that also reads from the server."""


class Run(NamedTuple):
    """One run: seconds by the clock, seconds of the compressor's processor, bytes out, peak memory in MB."""

    seconds: float
    cpu: float
    size: int
    peak: float


def main() -> None:
    """Print one line for each compressor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database-url")
    parser.add_argument("--schema", default="tenant_bench")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(compress_stdin(given.one)), file=sys.stderr)
        return
    tenant = bench_tenant(given.database_url, given.schema)
    with tempfile.TemporaryFile() as plain:
        subprocess.run([*tenant.pg_dump, "--compress=0"], env=tenant.environment, stdout=plain, check=True)
        total = plain.tell()
        print(f"{total / 1e6:,.0f} MB of plain dump, {given.rounds} rounds, medians")
        floors: list[float] = []
        alone: dict[str, list[Run]] = {}
        beside: dict[str, list[Run]] = {}
        for _ in range(given.rounds):
            floors.append(bare(tenant))
            for name in (*COMPRESSORS, *PROGRAMS):
                plain.seek(0)
                alone.setdefault(name, []).append(run_compressor(name, plain))
                beside.setdefault(name, []).append(beside_postgres(name, tenant))
            for name, options in IN_PG_DUMP.items():
                beside.setdefault(name, []).append(in_pg_dump(options, tenant))
    report(total, median(floors), alone, beside)


def report(total: int, floor: float, alone: dict[str, list[Run]], beside: dict[str, list[Run]]) -> None:
    """Print the table: ratios are to `pg_dump` to nowhere in the same rounds."""
    print(f"floor: pg_dump to nowhere {floor:.2f} s\n")
    print("| compressor | alone MB/s | beside Postgres s | to the floor | size MB | share | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for name, runs in beside.items():
        seconds = median(run.seconds for run in runs)
        speed = f"{total / 1e6 / median(run.seconds for run in alone[name]):,.0f}" if name in alone else ""
        peak = f"{runs[0].peak:.0f}" if runs[0].peak else ""
        size = runs[0].size
        print(
            f"| {name} | {speed} | {seconds:.2f} | {seconds / floor:.2f} | {size / 1e6:,.0f} "
            f"| {size / total:.3f} | {peak} |"
        )


def bare(tenant: BenchTenant) -> float:
    """Seconds of pg_dump to nowhere: the floor."""
    began = time.perf_counter()
    subprocess.run([*tenant.pg_dump, "--compress=0"], env=tenant.environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def beside_postgres(name: str, tenant: BenchTenant) -> Run:
    """pg_dump through a pipe into the compressor: three processes on the same cores."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*tenant.pg_dump, "--compress=0"], env=tenant.environment, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
    ) as dump:
        run = run_compressor(name, dump.stdout)
    return run._replace(seconds=time.perf_counter() - began)


def run_compressor(name: str, source: Any) -> Run:
    """One compressor in a process of its own."""
    if name in PROGRAMS:
        began, cpu = time.perf_counter(), os.times().children_user + os.times().children_system
        with subprocess.Popen(PROGRAMS[name], stdin=source, stdout=subprocess.PIPE) as process:
            size = _drain(process)
        spent = os.times().children_user + os.times().children_system - cpu
        return Run(time.perf_counter() - began, spent, size, 0)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compressors", "--one", name],
        stdin=source,
        stderr=subprocess.PIPE,
        check=True,
    )
    return Run(*json.loads(done.stderr))


def in_pg_dump(options: list[str], tenant: BenchTenant) -> Run:
    """pg_dump compressing by itself."""
    began = time.perf_counter()
    with subprocess.Popen([*tenant.pg_dump, *options], env=tenant.environment, stdout=subprocess.PIPE) as dump:
        size = _drain(dump)
    return Run(time.perf_counter() - began, 0, size, 0)


def _drain(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    size = 0
    while data := os.read(process.stdout.fileno(), PIPE_BYTES):
        size += len(data)
    return size


def compress_stdin(name: str) -> Run:
    """Compress standard input to nowhere, in the pipeline's chunks."""
    compressor = COMPRESSORS[name]()
    size = 0
    began = time.perf_counter()
    while chunk := os.read(0, READ_BYTES):
        size += len(compressor.compress(chunk))
    size += len(compressor.flush())
    return Run(time.perf_counter() - began, time.process_time(), size, peak_megabytes())


def peak_megabytes() -> float:
    """This process's highest memory. Not `ru_maxrss`, which a child inherits from its parent."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
