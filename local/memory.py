"""How much memory this process holds."""

import os
import resource
import sys

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_megabytes() -> int:
    """Resident now; where the system has no /proc (macOS), at most so far. Microseconds, so any line may say it."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE // 1_000_000
    except FileNotFoundError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most // (1_000_000 if sys.platform == "darwin" else 1000)
