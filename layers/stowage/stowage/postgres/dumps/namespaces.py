"""Proof, while a dump streams by, that it holds one schema and nothing of another tenant's.

`-n` already names the schema exactly; this is the second look that DESIGN §6.1 asks for. It reads only a dump's head,
so its cost does not grow with the data.
"""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO

from stowage.basics.errors import RunError

LIST_SECONDS = 30.0


class PlainNamespaces:
    """For plain SQL: every entry before the first table's data has to be of the schema.

    pg_dump writes `-- Name: …; Type: …; Schema: …; Owner: …` between two lines of `--` above each entry. All tables are
    created before any data, so this proves of every table in the dump that it is the schema's. Indexes and foreign keys
    come after the data and are not looked at: they hang on tables that were.
    """

    ENTRY = re.compile(
        rb"^--\n-- (?:Data for )?Name: [^\n]*; Type: ([A-Z ]+); Schema: ([^\n]*); Owner: [^\n]*\n--\n", re.M
    )
    LONGEST_ENTRY = 4096

    def __init__(self, schema: str) -> None:
        self.entries = 0
        self._schema = schema
        self._rest: bytes | None = b""

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes; RunError at the first entry of another schema."""
        if self._rest is None:
            return
        text = self._rest + chunk
        end = 0
        for entry in self.ENTRY.finditer(text):
            end = entry.end()
            self._check(entry[1].decode(), entry[2].decode())
            if entry[1] == b"TABLE DATA":
                self._rest = None
                return
        self._rest = text[max(end, len(text) - self.LONGEST_ENTRY) :]

    def finish(self) -> None:
        """RunError where nothing was seen: a dump whose entries we cannot read proves nothing."""
        if not self.entries:
            raise foreign_schema(self._schema)

    def close(self) -> None:
        """Look at nothing more."""
        self._rest = None

    def _check(self, kind: str, schema: str) -> None:
        self.entries += 1
        # The schema itself, its comment and its grants have no schema of their own.
        if schema != self._schema and not (schema == "-" and kind in ("SCHEMA", "COMMENT", "ACL", "SECURITY LABEL")):
            raise foreign_schema(self._schema)


class ArchiveNamespaces:
    """For tar and custom: `pg_restore --list` of the same version reads the archive's table of contents beside us.

    It is given the stream until it has read the contents, which stand at the head, and hangs up. This proves of every
    entry, indexes and foreign keys included, whose it is.
    """

    def __init__(self, schema: str, binary: str, environment: Mapping[str, str]) -> None:
        self.entries = 0
        self._schema = schema
        self._command = [binary, "--list"]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._list: IO[bytes] | None = None
        self._feeding = True

    def feed(self, chunk: bytes) -> None:
        """Pass the next bytes on as long as they are wanted."""
        if not self._feeding:
            return
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(chunk)
        except BrokenPipeError:
            self._hang_up(process)

    def finish(self) -> None:
        """RunError unless the table of contents names this schema alone."""
        if self._process is None or self._list is None:
            raise foreign_schema(self._schema)
        self._hang_up(self._process)
        self._process.wait(LIST_SECONDS)
        self._list.seek(0)
        for line in self._list.read().decode(errors="replace").splitlines():
            if line and not line.startswith(";"):
                self.entries += 1
                if not self._is_ours(line):
                    raise foreign_schema(self._schema)
        if not self.entries:
            raise foreign_schema(self._schema)

    def close(self) -> None:
        """End pg_restore, at any time, also twice."""
        self._feeding = False
        process, self._process = self._process, None
        if process:
            process.kill()
            self._hang_up(process)
            process.wait()
        if self._list:
            self._list.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self._list = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                stdin=subprocess.PIPE,
                stdout=self._list,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise RunError("There is no pg_restore here.", "pg_dump_missing") from error
        return self._process

    def _hang_up(self, process: subprocess.Popen[bytes]) -> None:
        self._feeding = False
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _is_ours(self, line: str) -> bool:
        """A line is `id; catalog oid KIND schema name owner`; kinds are words in capitals, a missing schema is `-`."""
        found = re.match(r"\d+; \d+ \d+ ([A-Z][A-Z ]*?) (?=[^A-Z])(.*)", line)
        if not found:
            return False
        kind, rest = found.groups()
        if rest.startswith(f"{self._schema} "):
            return True
        if kind == "SCHEMA":
            return rest.startswith(f"- {self._schema} ")
        if kind in ("COMMENT", "ACL", "SECURITY LABEL"):
            return rest.startswith(f"- SCHEMA {self._schema} ")
        return kind in ("ENCODING", "STDSTRINGS", "SEARCHPATH") and rest.startswith("- ")


def foreign_schema(schema: str) -> RunError:
    """The error that keeps a dump with something of another tenant from ever becoming an artifact."""
    return RunError(f"The dump is not of {schema} alone.", "foreign_schema")
