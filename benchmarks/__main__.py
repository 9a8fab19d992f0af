"""`make bench`: every benchmark, on the running local stack or on one started for it.

make bench                          all of them
make bench ARGS="runs dumps"        some of: runs, dumps, exports, bulk, trash, imports, file_imports, compressors,
                                    own_tables, declarations, batches, api
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BENCHMARKS = {
    "runs": [["benchmarks.runs"]],
    "dumps": [["benchmarks.dumps"]],
    "exports": [["benchmarks.exports"], ["benchmarks.exports", "csv", "ndjson", "xlsx", "--upload"]],
    "bulk": [["benchmarks.bulk"]],
    "trash": [["benchmarks.trash"]],
    "imports": [["benchmarks.imports"]],
    "compressors": [["benchmarks.compressors"]],
    "file_imports": [["benchmarks.file_imports"]],
    "own_tables": [["benchmarks.own_tables"]],
    "declarations": [["benchmarks.declarations"]],
    "batches": [["benchmarks.batches"]],
    "api": [["benchmarks.api"]],
}
START_SECONDS = 60


def main() -> int:
    """Run the chosen benchmarks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; these are: {', '.join(BENCHMARKS)}")
    os.environ["PYTHONPATH"] = os.pathsep.join(["layers/stowage", "layers/entities", "functions"])
    with running_stack():
        for name in names:
            for module, *arguments in BENCHMARKS[name]:
                print(f"\n── {' '.join([module, *arguments])} ──\n", flush=True)
                subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    return 0


@contextmanager
def running_stack() -> Iterator[None]:
    """Use the stack that runs in STOWAGE_HOME; else start one in a folder of its own, and stop it afterwards."""
    if (Path(os.environ.get("STOWAGE_HOME", ".stowage")) / "stack.json").exists():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as home:
        os.environ["STOWAGE_HOME"] = home
        os.environ.setdefault("STOWAGE_PARAMETER_BackupTrials", "never")  # which would run beside what is measured
        log = Path(home) / "up.log"
        with log.open("wb") as output:
            stack = subprocess.Popen([sys.executable, "-m", "local", "up"], stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for(Path(home) / "stack.json", stack, log)
            yield
        finally:
            stack.send_signal(signal.SIGTERM)
            stack.wait(30)


def _wait_for(stack_file: Path, stack: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not stack_file.exists():
        if stack.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The stack did not start:\n{log.read_text()}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
