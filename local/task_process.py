"""A task's process: the worker in a fork that has the third-party modules already, as in an image that is there."""

import contextlib
import multiprocessing.process
import os
import runpy
import tempfile
from dataclasses import dataclass

from local.function_pool import FunctionPool
from local.function_worker import move_in


class TaskProcess:
    """A running module; only one thread may wait for it."""

    def __init__(
        self, pool: FunctionPool, module: str, paths: list[str], environment: dict[str, str], log: str
    ) -> None:
        self._children = pool.children
        self._process = pool.fork(_run, module, paths, environment, log)
        # Each start of a process asks all others whether they have ended, and two that ask about
        # one at once would read its exit code twice: the second gets 255.
        multiprocessing.process._children.discard(self._process)  # type: ignore[attr-defined]
        self.pid = self._process.pid or 0
        self._ended = False

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it has started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                if not self._ended:  # it has no session of its own yet
                    os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code once it has ended; that of a killed one is the signal's number below zero."""
        self._process.join()
        self._ended = True
        self._children.release(self.pid)
        return self._process.exitcode or 0


@dataclass(frozen=True)
class Launcher:
    """Starts one module as `python -m` does."""

    pool: FunctionPool
    module: str
    paths: list[str]
    log: str

    def start(self, environment: dict[str, str]) -> TaskProcess:
        """Start it with this environment and no other."""
        return TaskProcess(self.pool, self.module, self.paths, environment, self.log)


def _run(module: str, paths: list[str], environment: dict[str, str], log: str) -> None:
    move_in(paths, environment, log)
    tempfile.tempdir = None
    runpy.run_module(module, run_name="__main__", alter_sys=True)
