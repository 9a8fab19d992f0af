"""The running stack that the tests of one process share, and the clients with which they look at it."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psycopg
import pytest
import requests
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from local.database_urls import as_role, for_product
from tests import documented, prepared
from tests.direct import Direct

pytest_plugins = ["tests.schedule"]

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180
PARAMETERS = {"RetrySeconds": "1"}
"""The template's parameters that the tests' stack does not have as everybody's."""
PORTS_A_PROCESS = 40
PORTS_A_STACK = 4
"""From a stack's port on: its database takes the second one after it, where that is free."""


@dataclass(frozen=True)
class RunningStack:
    """What stack.json says of a running stack."""

    home: Path
    description: dict[str, Any]

    @property
    def api_url(self) -> str:
        return str(self.description["api_url"])

    @property
    def aws_url(self) -> str:
        return str(self.description["aws_endpoint_url"])

    @property
    def database_url(self) -> str:
        return str(self.description["database_url"])

    def url_as(self, role: str) -> str:
        """The database's URL for another role: all of ours have one password."""
        return as_role(self.database_url, role)

    @property
    def product_url(self) -> str:
        """The database's URL as the product takes it, which names the roles itself."""
        return for_product(self.database_url)

    @property
    def tokens(self) -> dict[str, str]:
        return dict(self.description["tokens"])

    @property
    def resources(self) -> dict[str, str]:
        return dict(self.description["resources"])

    def aws(self, service: str, **options: Any) -> Any:
        """A boto3 client of the local cloud."""
        return boto3.client(
            service,
            endpoint_url=self.aws_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            **options,
        )

    @cached_property
    def signing_key(self) -> str:
        """The key that this deployment's tokens are signed with."""
        with closing(self.aws("secretsmanager")) as client:
            return str(client.get_secret_value(SecretId=self.resources["JwtSecret"])["SecretString"])

    def invoke(self, function: str, event: Any = None) -> Any:
        """Call a function by its name in the template; its answer. AssertionError where it fails."""
        answer = self._functions.invoke(FunctionName=self.resources[function], Payload=json.dumps(event or {}))
        payload = answer["Payload"].read()
        assert "FunctionError" not in answer, payload
        return json.loads(payload)

    @cached_property
    def _functions(self) -> Any:
        return self.aws("lambda")

    @cached_property
    def _tasks(self) -> Any:
        return self.aws("ecs")

    def workers(self, run_id: str) -> list[int]:
        """The living processes of the tasks that carry out a run."""
        cluster = self.resources["Cluster"]
        arns = self._tasks.list_tasks(cluster=cluster)["taskArns"]
        tasks = self._tasks.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        return [
            int(task["containers"][0]["runtimeId"])
            for task in tasks
            for override in task["overrides"]["containerOverrides"]
            if {"name": "STOWAGE_RUN_ID", "value": run_id} in override["environment"]
            and task["lastStatus"] == "RUNNING"
        ]

    def close(self) -> None:
        """Close what was opened; the stack runs on."""
        for name in ("_functions", "_tasks"):
            if name in vars(self):
                vars(self)[name].close()

    def faults(self, *faults: dict[str, Any]) -> None:
        """Let the next calls of AWS's APIs fail so (local/faults.py); none forgets those not yet come."""
        url, auth = f"{self.aws_url}/_local/faults", Signed("local")
        requests.put(url, json=list(faults), auth=auth, timeout=5).raise_for_status()


class Signed(requests.auth.AuthBase):
    """Signs requests to the local cloud as boto3 does: every one of them needs it."""

    def __init__(self, service: str, key: str = "local", secret: str = "local") -> None:
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
        self._signer = signer(Credentials(key, secret), service, "us-east-1")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        headers = {name: value for name, value in request.headers.items() if name.lower().startswith("x-amz-")}
        made = AWSRequest(request.method, request.url, headers, request.body or b"")
        self._signer.add_auth(made)
        request.headers.update(dict(made.headers.items()))
        return request


class Api(requests.Session):
    """The HTTP API for one caller: paths instead of URLs, and a timeout."""

    direct: ClassVar[Direct | None] = None

    def __init__(self, url: str, token: str | None) -> None:
        super().__init__()
        self.url = url
        if token:
            self.headers["authorization"] = f"Bearer {token}"

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> requests.Response:
        options.setdefault("timeout", 40)
        return super().request(method, self.url + url if url.startswith("/") else url, *arguments, **options)

    def get_adapter(self, url: str | bytes) -> requests.adapters.BaseAdapter:
        """Call the handlers in this process, where that is switched on for the stack."""
        return Api.direct if Api.direct and str(url).startswith(Api.direct.url) else super().get_adapter(url)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Hold every answer of the API's own against its document."""
        response = super().send(request, **options)
        first = (response.history or [response])[0]
        if (request.url or "").startswith(self.url):
            documented.check(request, first, has_body=not options.get("stream"))
        return response


class LocalStack:
    """A stack of a test's own, for tests that start and stop one. Its database is a copy of one
    that was made before, unless it is to be `fresh`.
    """

    def __init__(self, home: Path, root: Path = ROOT, *, fresh: bool = False, **environment: str) -> None:
        self.home, self.root = home, root
        self.fresh = fresh or root != ROOT or not {"SCALE", "STOWAGE_DATABASE_URL"}.isdisjoint(environment)
        self.port, self.aws_port = free_ports(2)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith(("STOWAGE_", "AWS_"))
        } | {
            "STOWAGE_HOME": str(home),
            "STOWAGE_PORT": str(self.port),
            "STOWAGE_AWS_PORT": str(self.aws_port),
            "STOWAGE_PARAMETER_BackupSchedule": "",  # no backup that a test did not ask for
            "STOWAGE_PARAMETER_BackupTrials": "never",
            "STOWAGE_PARAMETER_ImageMaxBytes": "0",  # small backups show what the worker does with large ones
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None
        self.umask = -1
        self.running: RunningStack | None = None

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the process and leave it to itself."""
        arguments = arguments or ("up",)
        if not self.fresh and arguments[0] == "up" and not (self.home / "postgres").exists():
            prepared.copy(self.home, lambda home: _make_database(home, *arguments), *arguments)
        command = [sys.executable, "-m", "local", *arguments]
        with open(self.home / "terminal.log", "w") as terminal:
            self.process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                text=True,
                umask=self.umask,
            )
        return self.process

    def start(self, *arguments: str) -> RunningStack:
        """Start it and wait until it is up."""
        process = self.launch(*arguments)
        deadline = time.monotonic() + START_SECONDS
        file = self.home / "stack.json"
        while time.monotonic() < deadline and process.poll() is None:
            if file.exists():
                description = json.loads(file.read_text())
                if description["pid"] == process.pid:
                    self.running = RunningStack(self.home, description)
                    return self.running
            time.sleep(0.02)
        raise AssertionError(f"The stack did not come up:\n{self.terminal()}")

    def terminal(self) -> str:
        """What it has printed."""
        return (self.home / "terminal.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and give its exit code."""
        assert self.process is not None
        if self.running:
            self.running.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(90)


def _make_database(home: Path, *arguments: str) -> None:
    stack = LocalStack(home, fresh=True)
    stack.start(*arguments)
    stack.stop()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now and nobody is about to take. They lie below the range that
    the system hands out, and each process of the tests takes them in turn from a range of its own.
    """
    ports, _ = _own_ports()
    found: list[int] = []
    while len(found) < count:
        port = next(ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


@cache
def _own_ports() -> tuple[Iterator[int], socket.socket]:
    """Ports of a range that is this process's alone for as long as it holds the socket: the range's last port.

    They begin beyond the last one that browsers refuse, 10080 (https://fetch.spec.whatwg.org/#port-blocking).
    """
    for first in range(10_100, 30_000, PORTS_A_PROCESS):
        last = first + PORTS_A_PROCESS - 1
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", last))
        except OSError:
            holder.close()
            continue
        return itertools.cycle(range(first, last - PORTS_A_STACK, PORTS_A_STACK)), holder
    raise AssertionError("Every range of ports is taken.")


def make_home() -> Path:
    """An empty home."""
    return Path(tempfile.mkdtemp(prefix="stowage-test-"))


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The stack with its sample tenants; STOWAGE_TEST_STACK names the stack.json of one that runs already."""
    running = os.environ.get("STOWAGE_TEST_STACK")
    if running:
        found = RunningStack(Path(running).parent, json.loads(Path(running).read_text()))
        yield found
        found.close()
        return
    home = make_home()
    started = LocalStack(home, STOWAGE_PARAMETER_RetrySeconds=PARAMETERS["RetrySeconds"])
    try:
        yield started.start()
    finally:
        started.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def own_stack() -> Iterator[Callable[..., LocalStack]]:
    """Makes stacks of the test's own, not started yet; `own_stack(home=other.home)` shares another one's home."""
    made: list[LocalStack] = []

    def make(home: Path | None = None, *, fresh: bool = False, **environment: str) -> LocalStack:
        made.append(LocalStack(home or make_home(), fresh=fresh, **environment))
        return made[-1]

    yield make
    for each in made:
        if each.running:
            each.running.close()
        if each.process and each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        shutil.rmtree(each.home, ignore_errors=True)


@pytest.fixture(scope="session")
def handlers(stack: RunningStack) -> Direct:
    """The handlers of the stack's functions, to be called in this process."""
    return Direct(stack.description, PARAMETERS)


@pytest.fixture(scope="module")
def direct(handlers: Direct) -> Iterator[None]:
    """Let `Api` call the handlers in this process, with the stack's database and AWS, instead of HTTP."""
    with handlers.warm():
        Api.direct = handlers
        yield
        Api.direct = None


@pytest.fixture
def over_http(direct: None) -> Iterator[None]:
    """Let one test of a file that is `direct` use HTTP."""
    handlers, Api.direct = Api.direct, None
    yield
    Api.direct = handlers


@pytest.fixture(scope="session")
def tokens(stack: RunningStack) -> dict[str, str]:
    """Bearer tokens: admin, operator, viewer of every sample tenant, and other, an admin of globex only."""
    return stack.tokens


@pytest.fixture
def api(stack: RunningStack) -> Iterator[Callable[[str | None], Api]]:
    """`api("viewer")` is the HTTP API for that token; `api(None)` for nobody."""
    made: list[Api] = []

    def make(name: str | None = "admin") -> Api:
        made.append(Api(stack.api_url, stack.tokens[name] if name else None))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def admin(api: Callable[[str | None], Api]) -> Api:
    """The API for an admin of every sample tenant."""
    return api("admin")


@pytest.fixture
def operator(api: Callable[[str | None], Api]) -> Api:
    """The API for an operator of every sample tenant."""
    return api("operator")


@pytest.fixture
def viewer(api: Callable[[str | None], Api]) -> Api:
    """The API for a viewer of every sample tenant."""
    return api("viewer")


@pytest.fixture
def other(api: Callable[[str | None], Api]) -> Api:
    """The API for an admin of globex only."""
    return api("other")


@pytest.fixture
def anonymous(api: Callable[[str | None], Api]) -> Api:
    """The API for nobody."""
    return api(None)


@pytest.fixture
def database(stack: RunningStack) -> Iterator[psycopg.Connection]:
    """A connection as the owner of the tenants' schemas, in autocommit."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def dynamodb(stack: RunningStack) -> Iterator[Any]:
    """DynamoDB of the local cloud."""
    client = stack.aws("dynamodb")
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3(stack: RunningStack) -> Iterator[Any]:
    """S3 of the local cloud."""
    client = stack.aws("s3", config=Config(signature_version="s3v4"))
    yield client
    client.close()


@pytest.fixture(scope="session")
def stepfunctions(stack: RunningStack) -> Iterator[Any]:
    """Step Functions of the local cloud."""
    client = stack.aws("stepfunctions")
    yield client
    client.close()


@pytest.fixture
def faults(stack: RunningStack) -> Iterator[Callable[..., None]]:
    """Sets faults of AWS's APIs; those that did not come are forgotten afterwards."""
    yield stack.faults
    stack.faults()
