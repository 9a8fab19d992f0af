"""`python -m local.fork_server PRELOAD MODULE LOG PATH…`: runs MODULE as `python -m` does, once for each
request on its standard input, in a fork of this process.

PRELOAD is a module that imports what all of them need from others than the product. A request is
four bytes, the length of the JSON that follows: an environment to start with, and a descriptor
beside the four bytes if the module is to have one, whose number is its argument. Or it names
modules of the product, which this process then imports once for all. It prints the number of each
process that it starts, and the number and the exit code of each that has ended. When its input
ends, it waits for those that run.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from typing import Any

HEAD_BYTES = 4
_ENDS = {signal.SIGCHLD}


def main(preload: str, module: str, log: str, paths: list[str]) -> None:
    """Start processes until the input ends; in each of them, run the module."""
    importlib.import_module(preload)
    signal.signal(signal.SIGCHLD, _tell_ends)
    with socket.socket(fileno=os.dup(0)) as requests:
        while request := _receive(requests):
            told, descriptors = request
            if "imports" in told:
                _import(told["imports"], paths, told["environment"])
                continue
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # a start is told before its end
            started = os.fork()
            if not started:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            else:
                _tell(f"{started}\n")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
            if not started:
                break
            for descriptor in descriptors:
                os.close(descriptor)
    if request:
        _move_in(paths, told["environment"], log)
        sys.argv = [module, *map(str, descriptors)]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            _tell_ends()


def _receive(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """A request and its descriptors; None when there are no more."""
    head, descriptors, _, _ = socket.recv_fds(requests, HEAD_BYTES, 1)
    body = b""
    while head and len(body) < (size := int.from_bytes(head)):
        if not (part := requests.recv(size - len(body))):
            return None
        body += part
    return (json.loads(body), descriptors) if head else None


def _import(modules: list[str], paths: list[str], environment: dict[str, str]) -> None:
    """Import what can be imported; what cannot, the process that needs it tells."""
    _take(paths, environment)
    for module in modules:
        before = set(sys.modules)
        try:
            importlib.import_module(module)
        except BaseException:
            for name in set(sys.modules) - before:
                del sys.modules[name]


def _move_in(paths: list[str], environment: dict[str, str], log: str) -> None:
    """Make this fork a process of its own: its session, its imports, its environment, and where it prints."""
    os.setsid()
    with open(os.devnull, "rb") as nothing, open(log, "ab", buffering=0) as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _take(paths, environment)


def _take(paths: list[str], environment: dict[str, str]) -> None:
    sys.path[:0] = [path for path in paths if path not in sys.path]
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _tell_ends(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(f"{ended[0]} {os.waitstatus_to_exitcode(ended[1])}\n")


def _tell(line: str) -> None:
    os.write(1, line.encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
