"""A few threads for work that releases the interpreter's lock: compressing and uploading."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """At most so many threads, each started when needed. An executor's threads would hold up the end of a cancelled
    worker until storage has answered; these end with the process, or soon after `close`.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._started = 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Let a thread make this call; what it gives or raises is the future's."""
        future: Future[T] = Future()

        def job() -> None:
            try:
                result = call()
            except BaseException as error:  # raised again where the result is wanted
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        if self._started < self._most:
            self._started += 1
            threading.Thread(target=self._run, daemon=True, name=f"{self._name}-{self._started}").start()
        return future

    def close(self) -> None:
        """Let the threads end after the calls that they were given; does not wait for them."""
        for _ in range(self._started):
            self._jobs.put(None)
        self._started = 0

    def _run(self) -> None:
        while job := self._jobs.get():
            job()
