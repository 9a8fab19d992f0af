"""The local stack as a whole: what starts in which order, and how it ends."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

from local import aws_server, gateway, homes, tokens
from local.children import Children
from local.configuration import Configuration, layers, process_environment
from local.console import StartError, log, say
from local.database_urls import without_password
from local.door import Door
from local.function_pool import FunctionPool
from local.http_server import Server
from local.ports import listening
from local.postgres import Postgres

type Json = Any
WARM_WORKERS = 2


class Stack:
    """One local stack, from `start` to `stop`."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.description: Json = {}
        self._environment = process_environment(configuration)
        self._closers: list[tuple[str, Any]] = []
        self._lock_file: IO[str] | None = None
        self._postgres: Postgres | None = None

    def start(self) -> None:
        """Bring everything up; StartError says in a sentence why that is impossible."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything in the reverse order of its start, as far as it had started."""
        while self._closers:
            name, close = self._closers.pop()
            try:
                close()
            except Exception as error:
                say(f"{name} did not stop cleanly: {error!r}")

    def _start(self) -> None:
        configuration = self.configuration
        # What processes of the stack write is nobody else's to read.
        os.umask(0o077)
        homes.close(configuration.home)
        configuration.logs.mkdir(exist_ok=True)
        self._lock_home()
        door = Door(configuration.port)
        api = listening(lambda: Server(configuration.port, door, gateway.refuse), configuration.port, "STOWAGE_PORT")
        aws = listening(
            lambda: Server(configuration.aws_port, door, aws_server.refuse), configuration.aws_port, "STOWAGE_AWS_PORT"
        )
        _isolate(self._environment)
        children = Children()
        self._closers.append(("guardian", children.close))
        database = _Background(lambda: self._start_database(children))
        self._closers.append(("Postgres", lambda: self._stop_database(database)))
        pool = self._make_pool(children)
        # The fork server imports its modules, and Postgres starts, while this process imports moto.
        pool.launch()

        from local.cloud import Cloud

        self._serve(aws)
        cloud = Cloud(configuration, self._environment, children, pool)
        self._closers.append(("cloud", cloud.stop))
        aws.answer = cloud.aws.answer
        url, owner_url = database.result()
        prepared = self._prepare_database(children, owner_url)
        cloud.deploy(url)
        door.welcome(cloud.gateway.origins)
        cloud.warm(WARM_WORKERS)
        prepared()
        cloud.create_custom_resources()
        api.answer = cloud.gateway.answer
        self._serve(api)
        cloud.start()
        self._closers.append(("stack.json", self._remove_stack_file))
        self._describe(cloud, owner_url)

    def _remove_stack_file(self) -> None:
        self.configuration.stack_file.unlink(missing_ok=True)

    def _lock_home(self) -> None:
        """Two stacks must not share a home: the second would take the first one's data away."""
        self._lock_file = open(self.configuration.home / "lock", "a+")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with contextlib.suppress(OSError, ValueError, KeyError):
                running = json.loads(self.configuration.stack_file.read_text())
                raise StartError(
                    f"A local stack already runs in {self.configuration.home}: process {running['pid']} at "
                    f"{running['api_url']}. Stop it, or choose another home: STOWAGE_HOME=…"
                ) from error
            raise StartError(f"Another local stack uses {self.configuration.home}. Choose STOWAGE_HOME=…") from error
        # A killed stack leaves its file behind.
        self._remove_stack_file()

    def _start_database(self, children: Children) -> tuple[str, str]:
        """The URLs of the database: the product's without a user, and its owner's."""
        configuration = self.configuration
        if configuration.database_url:
            if not configuration.database_url.startswith(("postgresql://", "postgres://")):
                raise StartError("STOWAGE_DATABASE_URL is not of the form postgresql://USER@HOST:5432/DATABASE.")
            return _without_user(configuration.database_url), configuration.database_url
        server = Postgres(configuration.home, configuration.logs, children, configuration.port + 2)
        self._postgres = server
        server.start()
        return server.url, server.owner_url

    def _stop_database(self, starting: "_Background") -> None:
        starting.wait()
        if self._postgres:
            self._postgres.stop()

    def _prepare_database(self, children: Children, owner_url: str) -> Any:
        """Start the migrations and samples in a process of their own; gives what waits for it."""
        configuration = self.configuration
        url, password = without_password(owner_url)
        command = [sys.executable, "-m", "local.database", url, "--scale", str(configuration.scale)]
        if not configuration.database_url:
            command.append("--set-passwords")
        paths = [str(path) for path in (configuration.root, *layers(configuration.root))]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        if password:
            environment["PGPASSWORD"] = password
        process = children.start(
            command if configuration.sample else [*command, "--no-sample"],
            cwd=configuration.root,
            env=environment,
            stdin=subprocess.DEVNULL,
        )

        self._closers.append(("database preparation", lambda: _end(process)))

        def wait() -> None:
            code = process.wait()
            children.release(process.pid)
            if code:
                raise StartError("The database could not be brought to this version; the lines above say why.")

        return wait

    def _make_pool(self, children: Children) -> FunctionPool:
        root = self.configuration.root
        paths = [str(path) for path in (root / "functions", *layers(root))]
        pool = FunctionPool(children, paths, self.configuration.logs / "functions.log")
        self._closers.append(("functions", pool.close))
        return pool

    def _serve(self, server: Server) -> None:
        self._closers.append(("HTTP", server.shutdown))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def _describe(self, cloud: Any, owner_url: str) -> None:
        """Write stack.json: how everyone else finds this stack."""
        tenants = cloud.tenants(owner_url)
        secret = cloud.deployment.secrets.get("JwtSecret", "")
        self.description = {
            "pid": os.getpid(),
            "api_url": self.configuration.api_url,
            "console_url": f"{self.configuration.api_url}/console",
            "aws_endpoint_url": self.configuration.aws_endpoint_url,
            "database_url": owner_url,
            "tokens": tokens.issue(secret, [tenant["id"] for tenant in tenants]),
            "tenants": tenants,
            "resources": cloud.deployment.physical_ids(),
        }
        file = self.configuration.stack_file
        partial = file.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as output:
            json.dump(self.description, output, indent=2)
        partial.replace(file)


class _Background:
    """Work in a thread, whose result or error is wanted later."""

    def __init__(self, work: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Any) -> None:
        try:
            self._result = work()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def result(self) -> Any:
        self.wait()
        if self._error:
            raise self._error
        return self._result


def _isolate(environment: dict[str, str]) -> None:
    """Let boto3 in this process, and in the fork server, see this stack and nothing of the user's own AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _without_user(url: str) -> str:
    """The URL as the product takes it: the roles are chosen by its code."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def run_until_stopped(configuration: Configuration, while_running: Any = None) -> int:
    """Start the stack, wait for Ctrl-C or SIGTERM, stop it. `while_running` is called once with the stack."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    stack = Stack(configuration)
    started = time.monotonic()
    starting = _Background(stack.start)
    while starting.running and not stopping.is_set():
        starting.wait(0.1)
    if stopping.is_set() and starting.running:
        # What starts meanwhile, the guardian ends.
        stack.stop()
        return 130
    try:
        starting.result()
    except StartError as error:
        say(str(error.args[0]))
        return 1
    say(f"Up in {time.monotonic() - started:.1f} s: {configuration.api_url}  (Ctrl-C stops it)")
    say(f"Console: {tokens.sign_in_url(stack.description)}")
    code = 0
    if while_running:
        code = while_running(stack, stopping)
    else:
        while not stopping.wait(0.5):  # a signal that another thread gets does not wake an endless wait
            pass
    log("stopping")
    stack.stop()
    return code
