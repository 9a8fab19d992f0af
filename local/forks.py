"""Processes that run one module, as forks of a server (local/fork_server.py) that starts with the first of them."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field

from local.children import Children
from local.configuration import ROOT
from local.fork_server import HEAD_BYTES

START_SECONDS = 120
"""So long may the server import what its processes share, on a machine that does much else."""
_LOST = 255
"""The exit code where the server is gone and nobody knows."""


class Fork:
    """A process that runs the module."""

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


@dataclass
class _Server:
    process: subprocess.Popen[bytes]
    requests: socket.socket
    started: queue.SimpleQueue[Fork] = field(default_factory=queue.SimpleQueue)
    running: dict[int, Fork] = field(default_factory=dict)

    def ask(self, request: dict[str, object], descriptors: list[int]) -> None:
        body = json.dumps(request).encode()
        socket.send_fds(self.requests, [len(body).to_bytes(HEAD_BYTES)], descriptors)
        self.requests.sendall(body)


class Launcher:
    """Starts processes that run one module, as `python -m` does."""

    def __init__(self, children: Children, preload: str, module: str, paths: list[str], log: str) -> None:
        self._children = children
        self._command = [sys.executable, "-m", "local.fork_server", preload, module, log, *paths]
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._imports: dict[str, object] | None = None

    def launch(self) -> None:
        """Start the server, before anything is to run."""
        with self._lock:
            self._server = self._server or self._start_server()

    def prepare(self, modules: list[str], environment: dict[str, str]) -> None:
        """Have these modules of the product imported once, in this environment, for all that start from now on."""
        with self._lock:
            self._imports = {"imports": modules, "environment": environment}
            if self._server:
                self._server.ask(self._imports, [])

    def start(self, environment: dict[str, str], *descriptors: int) -> Fork:
        """Start one with this environment and no other, and with a descriptor as its argument."""
        with self._lock:
            self._server = self._server or self._start_server()
            self._server.ask({"environment": environment}, list(descriptors))
            return self._server.started.get(timeout=START_SECONDS)

    def renew(self) -> None:
        """Let the next one run the code as it is then; those that run go on."""
        with self._lock:
            if self._server:
                self._server.requests.close()
            self._server = None

    def close(self) -> None:
        """End the server; what it has started goes on."""
        with self._lock:
            if self._server:
                self._server.process.kill()
                self._server.process.wait()

    def _start_server(self) -> _Server:
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._children.start(self._command, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE)
        server = _Server(process, ours)
        if self._imports:
            server.ask(self._imports, [])
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()
        return server

    def _listen(self, server: _Server) -> None:
        assert server.process.stdout
        for line in server.process.stdout:
            pid, *code = map(int, line.split())
            if code:
                self._children.release(pid)
                server.running.pop(pid).end(*code)
            else:
                self._children.adopt(pid)
                server.running[pid] = Fork(pid)
                server.started.put(server.running[pid])
        server.process.wait()
        self._children.release(server.process.pid)
        for fork in server.running.values():
            fork.end(_LOST)
