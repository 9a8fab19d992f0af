"""A pool of function workers: as many processes as there are events at once, each for one environment at a time.

`ProcessPoolExecutor` will not do: it dies with one killed worker, and a late function is killed.
"""

import json
import signal
import threading
import time
import uuid
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from local.children import Children
from local.forks import Fork, Launcher

type Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Invocation:
    """What a worker needs to know beside the event."""

    name: str
    handler: str
    environment: Environment
    memory: int
    timeout: float


@dataclass(frozen=True)
class Outcome:
    """`error` is empty, or AWS's `FunctionError`; then the payload describes it."""

    error: str
    payload: bytes

    @property
    def timed_out(self) -> bool:
        """Whether the function was killed at its timeout."""
        return bool(self.error) and b"Sandbox.Timedout" in self.payload

    def describe(self) -> str:
        """The error in one line."""
        try:
            details = json.loads(self.payload)
            return f"{details['errorType']}: {details['errorMessage']}"
        except (ValueError, KeyError, TypeError):
            return self.error


def failure(kind: str, message: str) -> Outcome:
    """An error that the runtime reports itself."""
    return Outcome("Unhandled", json.dumps({"errorType": kind, "errorMessage": message}).encode())


class _LateError(Exception):
    pass


class _Worker:
    def __init__(self, process: Fork, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.generation = 0
        self.environment: Environment = ()
        self.idle_since = 0.0

    def call(self, invocation: Invocation, request_id: str, event: bytes) -> Outcome:
        head = {
            "name": invocation.name,
            "handler": invocation.handler,
            "memory": invocation.memory,
            "request_id": request_id,
            "deadline": time.time() + invocation.timeout,
        }
        self.connection.send_bytes(json.dumps(head).encode())
        self.connection.send_bytes(event)
        if not self.connection.poll(invocation.timeout):
            raise _LateError
        return Outcome(self.connection.recv_bytes().decode(), self.connection.recv_bytes())


@dataclass
class FunctionPool:
    """Workers of one environment are shared by all functions that have it; an idle one of another makes room.

    All but `kept` of them end when they have been idle for `idle_seconds`.
    """

    children: Children
    paths: list[str]
    log: Path
    limit: int = 32
    kept: int = 4
    idle_seconds: float = 120.0
    generation: int = 0
    _idle: list[_Worker] = field(default_factory=list)
    _all: set[_Worker] = field(default_factory=set)
    _room: threading.Condition = field(default_factory=threading.Condition)
    _starting: int = 0

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._launcher = Launcher(
            self.children, "local.preload_functions", "local.function_worker", self.paths, str(self.log)
        )

    def launch(self) -> None:
        """Start the fork server, which then imports what every worker needs."""
        self._launcher.launch()
        threading.Thread(target=self._shrink, daemon=True).start()

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._all)

    def invoke(self, invocation: Invocation, event: bytes) -> Outcome:
        """Run one event; at its timeout the worker is killed, as Lambda kills the sandbox."""
        request_id = str(uuid.uuid4())
        worker = self._take(invocation.environment)
        try:
            outcome = worker.call(invocation, request_id, event)
        except _LateError:
            self._discard(worker)
            seconds = f"{invocation.timeout:.2f}"
            return failure("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {seconds} seconds")
        except (EOFError, OSError):
            self._discard(worker)
            return failure(
                "Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited without providing a reason"
            )
        self._give_back(worker)
        return outcome

    def renew(self) -> None:
        """Replace every worker before its next event, because its code has changed."""
        with self._room:
            self.generation += 1
            self._launcher.renew()

    def warm(self, environment: Environment, modules: list[str], count: int) -> None:
        """Have workers ready for an environment, and these modules of handlers imported for every worker."""
        self._launcher.prepare(modules, dict(environment))
        for worker in [self._take(environment) for _ in range(count)]:
            self._give_back(worker)

    def close(self) -> None:
        """End every worker, whatever it does."""
        self._closing.set()
        with self._room:
            self.limit = 0
            workers = list(self._all)
        for worker in workers:
            self._discard(worker)
        self._launcher.close()

    def _take(self, environment: Environment) -> _Worker:
        with self._room:
            while True:
                stale = [worker for worker in self._idle if worker.generation != self.generation]
                for worker in stale:
                    self._idle.remove(worker)
                    self._end(worker)
                fitting = next((w for w in reversed(self._idle) if w.environment == environment), None)
                if fitting:
                    self._idle.remove(fitting)
                    return fitting
                if len(self._all) + self._starting >= self.limit and self._idle:
                    self._end(self._idle.pop(0))
                if len(self._all) + self._starting < self.limit:
                    self._starting += 1
                    break
                self._room.wait()
        try:
            started = self._start(environment)
        except BaseException:
            with self._room:
                self._starting -= 1
            raise
        with self._room:
            self._starting -= 1
            self._all.add(started)
        return started

    def _start(self, environment: Environment) -> _Worker:
        generation = self.generation
        ours, theirs = Pipe()
        with theirs:
            process = self._launcher.start(dict(environment), theirs.fileno())
        worker = _Worker(process, ours)
        worker.generation, worker.environment = generation, environment
        return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._room:
            if worker.generation == self.generation:
                worker.idle_since = time.monotonic()
                self._idle.append(worker)
            else:
                self._end(worker)
            self._room.notify()

    def _shrink(self) -> None:
        while not self._closing.wait(self.idle_seconds / 4):
            while self._end_idle():
                pass

    def _end_idle(self) -> bool:
        """End the worker that has been idle longest, where it is one too many; the lock is free between two of them."""
        with self._room:
            late = time.monotonic() - self.idle_seconds
            if len(self._all) <= self.kept or not self._idle or self._idle[0].idle_since > late:
                return False
            self._end(self._idle[0])
            return True

    def _discard(self, worker: _Worker) -> None:
        with self._room:
            self._end(worker)
            self._room.notify()

    def _end(self, worker: _Worker) -> None:
        """Kill a worker; called with the lock held."""
        if worker not in self._all:
            return
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        worker.process.signal(signal.SIGKILL)
        worker.connection.close()
