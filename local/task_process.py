"""The processes of tasks: forks of a server (local/task_server.py) that starts with the first of them."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading

from local.children import Children
from local.configuration import ROOT

_LOST = 255
"""The exit code where the server is gone and nobody knows."""


class TaskProcess:
    """A process that runs one task."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self._ended = threading.Event()

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it has started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                if self.code is None:  # it has no session of its own yet
                    os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code once it has ended; that of a killed one is the signal's number below zero."""
        self._ended.wait()
        return _LOST if self.code is None else self.code

    def end(self, code: int) -> None:
        """Note that it has ended."""
        self.code = code
        self._ended.set()


class Launcher:
    """Starts processes that run one module, as `python -m` does."""

    def __init__(self, children: Children, module: str, paths: list[str], log: str) -> None:
        self._children = children
        self._command = [sys.executable, "-m", "local.task_server", module, log, *paths]
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._started: queue.SimpleQueue[TaskProcess] = queue.SimpleQueue()
        self._running: dict[int, TaskProcess] = {}

    def start(self, environment: dict[str, str]) -> TaskProcess:
        """Start one with this environment and no other."""
        with self._lock:
            self._server = self._server or self._start_server()
            assert self._server.stdin
            self._server.stdin.write(json.dumps(environment).encode() + b"\n")
            self._server.stdin.flush()
            return self._started.get(timeout=30)

    def close(self) -> None:
        """End the server; what it has started goes on."""
        with self._lock:
            if self._server:
                self._server.kill()
                self._server.wait()
                self._children.release(self._server.pid)

    def _start_server(self) -> subprocess.Popen[bytes]:
        server = self._children.start(self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()
        return server

    def _listen(self, server: "subprocess.Popen[bytes]") -> None:
        assert server.stdout
        for line in server.stdout:
            pid, *code = map(int, line.split())
            if code:
                self._children.release(pid)
                self._running.pop(pid).end(*code)
            else:
                self._children.adopt(pid)
                self._running[pid] = TaskProcess(pid)
                self._started.put(self._running[pid])
        for process in self._running.values():
            process.end(_LOST)
