"""psql as a restore's writer: BEGIN and COMMIT come from us, and COMMIT only once the dump is whole.

`psql --single-transaction` commits whatever came before a clean end of its input: a file that was cut at a line's end
committed a quarter of its rows with exit code 0 (tried with 18.4). A feed whose end never comes is rolled back.
"""

import contextlib
import os
import re
import secrets
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import IO

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.dumps.failures import TRANSIENT, without_values
from stowage.postgres.dumps.pg_dump import PIPE_BYTES, STDERR_BYTES, child_environment
from stowage.postgres.session.connection import ChildLogin
from stowage.postgres.session.refusals import refusal

WAIT_SECONDS = 0.5
EXIT_SECONDS = 30.0
READ_BYTES = 64 * 1024

_NO_RIGHT = r"permission denied|must be owner|must be member|must be able to SET ROLE"


class Feed:
    """One session of psql. `waiting` is called twice a second while the server takes nothing (it may wait for a lock).

    It runs restricted, so that nothing in a dump is a command to psql (PostgreSQL documentation, psql, "restrict").
    """

    def __init__(self, login: ChildLogin, psql: str, waiting: Callable[[], None]) -> None:
        self._waiting = waiting
        self._token, self._proof = secrets.token_hex(16), secrets.token_hex(16)
        self._told: deque[bytes] = deque(maxlen=4)
        self._errors = b""
        command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--no-password"]
        try:
            self.process = subprocess.Popen(
                [*command, *(["-d", login.conninfo] if login.conninfo else [])],
                env=child_environment(login.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pipesize=PIPE_BYTES,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise RunError("There is no psql here.", "psql_missing") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._stdin = self.process.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._stdin.fileno(), select.POLLOUT)
        self._readers = [
            threading.Thread(target=read, args=(stream,), daemon=True, name="psql")
            for read, stream in ((self._read_rows, self.process.stdout), (self._read_errors, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        self.write(f"\\restrict {self._token}\nBEGIN;\n".encode())

    def write(self, data: bytes) -> None:
        """Let psql take these bytes. RunError or TransientRunError where it has ended."""
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(WAIT_SECONDS * 1000):
                self._waiting()
                continue
            try:
                rest = rest[os.write(self._stdin.fileno(), rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._failure() from None

    def commit(self) -> None:
        """Commit; returns only if it was committed. TransientRunError `outcome_unknown` where psql ended without
        saying so: it may have been, or not.
        """
        self.write(f"COMMIT;\nSELECT '{self._proof}';\n\\unrestrict {self._token}\n".encode())
        self._stdin.close()
        while self._readers[0].is_alive():
            self._readers[0].join(WAIT_SECONDS)
            self._waiting()
        try:
            code = self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self._proof.encode() in self._told and code == 0:
            return
        if b"ERROR:" in self._errors:
            raise self._failure()
        raise TransientRunError("The connection was lost while the restore was committed.", "outcome_unknown")

    def close(self) -> None:
        """End psql, at any time, also twice; what is not committed is rolled back."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read_rows(self, stream: IO[bytes]) -> None:
        last = b""
        while data := stream.read(READ_BYTES):
            *lines, last = (last + data).split(b"\n")
            self._told.extend(lines)

    def _read_errors(self, stream: IO[bytes]) -> None:
        while data := stream.read(READ_BYTES):
            self._errors = (self._errors + data)[:STDERR_BYTES]

    def _failure(self) -> RunError:
        try:
            code = self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._readers[1].join(EXIT_SECONDS)
        return restore_error(code, self._errors.decode(errors="replace"))


def restore_error(code: int, stderr: str) -> RunError:
    """The error for psql's exit code and its messages, in words without values; what may pass is worth another try."""
    error = _told_by_messages(code, stderr)
    if stderr:
        error.add_note(f"psql ended with {code}: {stderr}")
    return error


def _told_by_messages(code: int, stderr: str) -> RunError:
    if code < 0:
        return TransientRunError(f"psql was killed ({signal.strsignal(-code) or -code}).", "restore_interrupted")
    found = re.search(r"\b(?:ERROR|FATAL):  (.*)", stderr)
    if found is None and (refused := refusal(stderr)):
        return refused
    words = without_values(found[1]) if found else ""
    for pattern, name, _ in TRANSIENT:
        if name not in ("schema_changed", "snapshot_lost") and re.search(pattern, stderr):
            return TransientRunError(f"The database stopped the restore. {words}.", name)
    if found is None:
        return TransientRunError(f"psql failed (exit code {code}).", "restore_failed")
    if re.search(_NO_RIGHT, words):
        return RunError(f"The database refused the restore: {words}. `grant SCHEMA --restore` helps.", "not_configured")
    return RunError(f"The database refused the restore: {words}.", "restore_refused")
