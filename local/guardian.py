"""A small process beside the stack that outlives it by a moment, to end what a killed stack leaves behind.

It reads lines `+<process group> <signal>` and `-<process group>`; at the end of its input, which comes whatever way the
stack ended, it ends every group that is still on its list. This works alike on Linux and macOS, and reaches what a
child started in its turn, which a parent-death signal does not.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 6


def send(group: int, number: int) -> bool:
    """Signal a group, or a process that has none of its own yet; False where it is gone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(group, number)
        except (ProcessLookupError, PermissionError):
            continue
        return True
    return False


def main() -> None:
    """Follow the stack until it ends, then end its children."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, int] = {}
    for line in sys.stdin:
        if line.startswith("+"):
            group, last_signal = line[1:].split()
            groups[int(group)] = int(last_signal)
        else:
            groups.pop(int(line[1:]), None)
    left = [group for group, number in groups.items() if send(group, number)]
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [group for group in left if send(group, 0)]
    for group in left:
        send(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
