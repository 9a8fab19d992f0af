"""pg_restore as a reader: it writes an archive (tar or custom) that it is given out as the plain dump."""

import contextlib
import subprocess
import threading
from typing import Protocol

from stowage.basics.errors import RunError
from stowage.postgres.dumps.pg_dump import child_environment

READ_BYTES = 256 * 1024
SILENCE_SECONDS = 60.0
"""How long pg_restore may write nothing once it has everything: at the end of a tar that is cut short it loops for ever
(tried with 18.4).
"""


class Reader(Protocol):
    """Who takes a plain dump: `script.Script`, for one."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """No more bytes come."""


class Archive:
    """An archive that is fed in pieces. `script` has what pg_restore makes of it, once `finish` has returned."""

    def __init__(self, pg_restore: str, script: Reader) -> None:
        self.script = script
        self._feeding = True
        self._written = 0
        try:
            self._process = subprocess.Popen(
                [pg_restore, "--file=-"],
                env=child_environment({}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise RunError("There is no pg_restore here.", "pg_dump_missing") from error
        self._reader = threading.Thread(target=self._read, daemon=True, name="pg_restore")
        self._reader.start()

    def feed(self, data: bytes) -> None:
        """Give pg_restore the next bytes; waits until it has taken them, or has ended."""
        assert self._process.stdin is not None
        rest = memoryview(data)
        try:
            while self._feeding and rest:
                rest = rest[self._process.stdin.write(rest) :]
        except BrokenPipeError:
            self._feeding = False

    def finish(self) -> bool:
        """Whether pg_restore has read the archive to its end without an error."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        written = -1
        while self._reader.is_alive():
            if written == self._written:
                self._process.kill()
            written = self._written
            self._reader.join(SILENCE_SECONDS)
        self.script.finish()
        return self._process.wait() == 0

    def close(self) -> None:
        """End pg_restore, at any time, also twice."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read(READ_BYTES):
            self._written += len(data)
            self.script.feed(data)
