"""Who holds a port that the stack wants."""

import contextlib
import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from local.console import StartError


def listening[Server](make: Callable[[], Server], port: int, variable: str) -> Server:
    """What `make` gives; StartError that names the holder and the variable where the port is taken."""
    try:
        return make()
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        reason = "is taken" if error.errno == errno.EADDRINUSE else "may not be used by this user"
        holder = holder_of(port) if error.errno == errno.EADDRINUSE else ""
        by = f" by {holder}" if holder else ""
        raise StartError(
            f"Port {port} {reason}{by}. Choose another one: {variable}={port + 100} make up", port
        ) from error


def holder_of(port: int) -> str:
    """`process 123 (its command)` that listens on 127.0.0.1 or everywhere at this port; empty where unknown."""
    pid = _holder_by_proc(port) if Path("/proc/net/tcp").exists() else _holder_by_lsof(port)
    if not pid:
        return ""
    command = ""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return f"process {pid}" + (f" ({command[:120]})" if command else "")


def _holder_by_proc(port: int) -> int | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                listens = fields[3] == "0A"
                if listens and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        return int(process.name)
    return None


def _holder_by_lsof(port: int) -> int | None:
    lsof = shutil.which("lsof")
    if not lsof:
        return None
    found = subprocess.run([lsof, "-ti", f"tcp:{port}", "-sTCP:LISTEN"], capture_output=True, text=True, check=False)
    pids = found.stdout.split()
    return int(pids[0]) if pids else None
