"""pg_dump of exactly one tenant's schema, with those that it includes, or of exactly these, as a source of the
pipeline.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.dumps.failures import dump_error
from stowage.postgres.dumps.namespaces import ArchiveNamespaces, PlainNamespaces

DumpFormat = Literal["sql", "tar", "custom"]
FORMAT_LETTERS: dict[DumpFormat, str] = {"sql": "p", "tar": "t", "custom": "c"}

TIME_ZONE = "UTC"
"""Of the moments that a dump writes with their offset; pg_dump itself takes whichever its role has.
"""

READ_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024
"""Linux's limit for an unprivileged process: pg_dump goes on while we hash and cut a part."""
GATHER_SECONDS = 0.0005
"""pg_dump writes 4 KiB at a time; a short rest lets them gather into a chunk that is worth a call
of the compressor.
"""
GATHER_BELOW = 64 * 1024
SILENCE_SECONDS = 0.5
STDERR_BYTES = 64 * 1024
TERMINATE_SECONDS = 1.0
EXIT_SECONDS = 30.0


class Dump:
    """One run of pg_dump: `environment` is libpq's (PGHOST, PGPASSWORD, …), which only that process
    gets, `conninfo` what of libpq has no variable, without secrets.

    `encoding` is the database's own, so that nothing is converted: what a client prefers may not
    hold every character. `snapshot` is one that another session of the same database exported
    (`contents.SnapshotContents`), so that what we count there and what is dumped here agree.
    `lock_wait_seconds` bounds the wait for a table that someone holds exclusively. `included` are
    the tenant's schemas that are dumped along. With `beside` it is of further schemas too, and the
    caller has the archive looked at by cutting it (`Cutter`).
    """

    rows = 0

    def __init__(
        self,
        schema: str,
        dump_format: DumpFormat,
        environment: Mapping[str, str],
        *,
        conninfo: str = "",
        encoding: str | None = None,
        snapshot: str | None = None,
        binary: str = "pg_dump",
        lock_wait_seconds: float = 60,
        beside: Collection[str] = (),
        included: Sequence[str] = (),
    ) -> None:
        self.schema = schema
        self.process: subprocess.Popen[bytes] | None = None
        self._command = dump_command(
            schema,
            dump_format,
            conninfo=conninfo,
            encoding=encoding,
            snapshot=snapshot,
            binary=binary,
            lock_wait_seconds=lock_wait_seconds,
            others=(*included, *beside),
        )
        self._environment = child_environment({**environment, "PGTZ": TIME_ZONE})
        self._stderr = b""
        self._namespaces: PlainNamespaces | ArchiveNamespaces | None = None
        if beside:
            return
        if dump_format == "sql":
            self._namespaces = PlainNamespaces(schema, *included)
        else:
            self._namespaces = ArchiveNamespaces(schema, *included)

    def chunks(self) -> Iterator[bytes]:
        """Start pg_dump and give what it writes; `b""` twice a second while it writes nothing (it
        may wait for a lock).
        """
        stdout, stderr = self._start()
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        poll.register(stderr, select.POLLIN)
        reading = {stdout, stderr}
        while reading:
            ready = [fd for fd, _ in poll.poll(SILENCE_SECONDS * 1000)]
            if not ready:
                yield b""
            for fd in ready:
                data = os.read(fd, READ_BYTES)
                if not data:
                    poll.unregister(fd)
                    reading.discard(fd)
                elif fd == stderr:
                    self._stderr = (self._stderr + data)[:STDERR_BYTES]
                else:
                    if self._namespaces:
                        self._namespaces.feed(data)
                    yield data
                    if len(data) < GATHER_BELOW:
                        time.sleep(GATHER_SECONDS)

    def finish(self) -> None:
        """Return only if pg_dump ended by itself with 0 and the archive holds this schema alone.

        Its exit code alone tells whole from partial: to the pipe a killed pg_dump is a clean end of
        file.
        """
        assert self.process is not None, "finish comes after the chunks"
        try:
            code = self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise TransientRunError("pg_dump closed its output and did not end.", "dump_interrupted") from error
        if code != 0:
            raise dump_error(code, self._stderr.decode(errors="replace"), self.schema)
        if self._namespaces:
            self._namespaces.finish()

    def close(self) -> None:
        """End pg_dump and whatever it started: SIGTERM, on which it cancels its query in the
        server, then SIGKILL.
        """
        if self._namespaces:
            self._namespaces.close()
        process, self.process = self.process, None
        if process is None:
            return
        for signal_number, seconds in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, None)):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal_number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()

    def _start(self) -> tuple[int, int]:
        try:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pipesize=PIPE_BYTES,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise RunError("There is no pg_dump here.", "pg_dump_missing") from error
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        return self.process.stdout.fileno(), self.process.stderr.fileno()


def dump_command(
    schema: str,
    dump_format: DumpFormat,
    *,
    conninfo: str = "",
    encoding: str | None = None,
    snapshot: str | None = None,
    binary: str = "pg_dump",
    lock_wait_seconds: float = 60,
    others: Collection[str] = (),
) -> list[str]:
    """Give the command line. Never `-b`: it dumps every large object of the database, other
    tenants' too.

    No password stands here, and compression is always off: ours is five times as fast and beside
    pg_dump, not in it.
    """
    command = [
        binary,
        f"--format={FORMAT_LETTERS[dump_format]}",
        "--compress=0",
        *(f"--schema={schema_pattern(each)}" for each in (schema, *others)),
        "--strict-names",
        "--no-sync",
        "--no-password",
        f"--lock-wait-timeout={round(lock_wait_seconds * 1000)}",
    ]
    if conninfo:
        command.append(f"--dbname={conninfo}")
    if encoding:
        command.append(f"--encoding={encoding}")
    if snapshot:
        command.append(f"--snapshot={snapshot}")
    return command


def schema_pattern(schema: str) -> str:
    """Quote a name for pg_dump's `-n`, which takes a pattern: only within double quotes are `*`,
    `?`, `|`, `.` and capitals themselves (psql's documentation, "Patterns").
    """
    return '"' + schema.replace('"', '""') + '"'


INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "KRB5_CONFIG", "KRB5CCNAME")
"""Where programs, temporary files, authorities and tickets are."""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give a child's whole environment: nothing of ours but the path, its messages in English so
    that we can read them.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "LC_ALL": "C", **environment}


def pg_dump_version(binary: str = "pg_dump") -> str:
    """Give pg_dump's version as it names it (`18.4`, `19beta1`); RunError where there is none."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError("There is no pg_dump here.", "pg_dump_missing") from error
    found = re.search(r"\) (\S+)", answer.stdout)
    if not found:
        raise RunError("pg_dump does not tell its version.", "pg_dump_missing")
    return found[1]
