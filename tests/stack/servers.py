"""Postgres servers of the tests' own, an older one and the newest, with nothing of ours in them:
what a restore meets.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.postgres import UNPRIVILEGED_USERS, binaries
from stowage.postgres.schema.migrations import apply_roles, migrate
from tests.conftest import free_ports
from tests.stack.dump_surface import Database

OLDER, NEWEST = 15, 18
OLDER_PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "fsync": "off",
    "timezone": "UTC",
    "jit": "off",  # as in every session of ours
}
START_SECONDS = 60

type Servers = Callable[[int], Server]


class Server:
    """One server: `programs` is the folder of its psql and pg_dump."""

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stowage-server-"))
        self.folder.chmod(0o755)
        self.programs = self._reachable(programs)
        self.port = free_ports(1)[0]
        self._databases: list[Database] = []
        self._migrated = ""
        self._process: subprocess.Popen[bytes] | None = None
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if "user" in (user := self._as_user()):
            os.chown(data, user["user"], user["group"])
        subprocess.run(self._make(data), check=True, capture_output=True, **user)
        self.start()

    def _make(self, data: Path) -> list[str | Path]:
        """The command that fills an empty folder."""
        options = ["--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
        return [self.programs / "initdb", "-D", data, "-U", SUPERUSER, *options]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *options]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it, its data left as they are."""
        for database in self._databases:
            for connection in database.opened:
                connection.close()
        if self._process:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown
            self._process.wait(30)
            self._process = None

    def url(self, user: str = SUPERUSER, database: str = "postgres") -> str:
        """Where to connect as whom; no password is asked for."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make_database(self, encoding: str = "UTF8", owner: str | None = None, template: str = "template0") -> Database:
        """A new database of that encoding, as its owner sees it: the superuser, or the role of that name.
        It is empty, or a copy of another one to which nobody is connected.
        """
        name = f"scratch_{uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            create = "CREATE DATABASE {} TEMPLATE {} ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' OWNER {}"
            names = (sql.Identifier(name), sql.Identifier(template), sql.Literal(encoding))
            connection.execute(sql.SQL(create).format(*names, sql.Identifier(owner or SUPERUSER)))
        self._databases.append(Database(make_conninfo(self.url(owner or SUPERUSER, name)), self.programs))
        return self._databases[-1]

    def make_migrated(self) -> Database:
        """A new database with the roles and the product's migrations, which run once for all of them."""
        if not self._migrated:
            made = self.make_database()
            with psycopg.connect(made.url, autocommit=True) as connection:
                apply_roles(connection)
                migrate(connection)
            self._migrated = str(made.environment["PGDATABASE"])
        database = self.make_database(template=self._migrated)
        apply_roles(database.connect())  # what they may do in a database is not in its copy
        return database

    def remove(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        for name in UNPRIVILEGED_USERS:
            with contextlib.suppress(KeyError):
                user = pwd.getpwnam(name)
                return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
        raise AssertionError(f"Postgres cannot run as root, and there is no user {', '.join(UNPRIVILEGED_USERS)}.")

    def _reachable(self, programs: Path) -> Path:
        """These programs, or a copy of their installation where the server's user cannot get there."""
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **self._as_user())
        except PermissionError:
            shutil.copytree(programs.parent, self.folder / "programs")
            return self.folder / "programs" / programs.name
        return programs


class Standby(Server):
    """A hot standby: a copy of another server that follows it and takes no changes."""

    def __init__(self, primary: Server) -> None:
        self._primary = primary
        super().__init__(primary.programs)

    def _make(self, data: Path) -> list[str | Path]:
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", self._primary.url()]
        return [self.programs / "pg_basebackup", "-D", data, *options]


@contextlib.contextmanager
def start_servers() -> Iterator[Servers]:
    """`servers(15)` and `servers(18)`: one of each, started when first asked for."""
    started: dict[int, Server] = {}

    def server(version: int) -> Server:
        if version not in started:
            if version == OLDER and not (OLDER_PROGRAMS / "postgres").exists():
                pytest.fail(
                    f"This needs Postgres {OLDER} in {OLDER_PROGRAMS}, as Debian's package postgresql-{OLDER} installs "
                    "it (.ci/run does).",
                    pytrace=False,
                )
            started[version] = Server(OLDER_PROGRAMS if version == OLDER else binaries())
        return started[version]

    try:
        yield server
    finally:
        for each in started.values():
            each.remove()
