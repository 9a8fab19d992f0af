"""Child processes that never outlive the stack, not even its SIGKILL."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Children:
    """Starts children, each in a session of its own so that Ctrl-C reaches only us, and tells the guardian of them."""

    def __init__(self) -> None:
        guardian = Path(__file__).with_name("guardian.py")
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(guardian)], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        self._lock = threading.Lock()

    def _tell(self, line: str) -> None:
        pipe = self._guardian.stdin
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            if pipe is not None:
                pipe.write(line + "\n")
                pipe.flush()

    def start(
        self, command: Sequence[str | os.PathLike[str]], *, last_signal: int = signal.SIGKILL, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a child; `last_signal` is what it gets when the stack dies without stopping it."""
        child = subprocess.Popen(command, start_new_session=True, **options)
        self.adopt(child.pid, last_signal)
        return child

    def adopt(self, pid: int, last_signal: int = signal.SIGKILL) -> None:
        """Guard a process that something else started."""
        self._tell(f"+{pid} {int(last_signal)}")

    def release(self, pid: int) -> None:
        """Forget a process that has ended, before its number is given to another."""
        self._tell(f"-{pid}")

    def close(self) -> None:
        """Let the guardian end what is left, and wait for it."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait()
