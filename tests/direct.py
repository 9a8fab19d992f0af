"""The API without HTTP: the gateway's own routes and events, and the handlers run in this process.

The handlers use the running stack's database, table and buckets. What lies between a client and a
function (connections, processes, timeouts) is not there, and a request must end before the next one
begins: what tries these goes over HTTP.
"""

import io
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import responses
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from local import deployment, function_worker, parameters
from local.configuration import ROOT, Configuration, process_environment
from local.database_urls import for_product
from local.function_pool import Environment, Invocation, Outcome
from local.functions import Functions
from local.gateway import Gateway
from local.http_server import Headers, Request
from stowage import tenants
from stowage.aws import clients, keys
from stowage.postgres.session.connection import _kept
from stowage.settings import settings

type Json = Any
HERE = "127.0.0.1"
CLIENTS = (
    clients.s3,
    clients.dynamodb,
    clients.stepfunctions,
    clients.sqs,
    clients.secretsmanager,
    clients.lambda_client,
    clients.sesv2,
)


class Direct(HTTPAdapter):
    """Answers requests to one running stack in this process."""

    def __init__(self, description: Json, given: dict[str, str]) -> None:
        """`description` is the stack's stack.json; `given` are the template's parameters that it was started with."""
        super().__init__()
        self.url = f"{description['api_url']}/"
        ports = [urlsplit(description[name]).port or 0 for name in ("api_url", "aws_endpoint_url")]
        configuration = Configuration(*ports, ROOT / ".stowage", None, 1)
        values = parameters.parameters(configuration, for_product(description["database_url"]), given)
        deployed = deployment.resolve(configuration, values, description["resources"])
        self._here = _Here()
        functions = Functions(self._here, _Unchanged(), _Unchanged(), lambda: None, lambda *_: None)  # type: ignore[arg-type]
        for function in deployed.functions(process_environment(configuration), {}):
            functions.add(function)
        self._gateway = Gateway(functions, lambda: "in this process")
        for properties in deployed.of_type("AWS::ApiGatewayV2::Api").values():
            self._gateway.add_api(properties)

    @contextmanager
    def warm(self) -> Iterator[None]:
        """What the product keeps in this process from call to call lasts as long as the block."""
        # Tracebacks that Powertools logs for nobody, and our lines, which pytest would format once more.
        powertools, ours = (logging.getLogger(name) for name in ("aws_lambda_powertools", "stowage"))
        _forget()
        with (
            mock.patch.dict(os.environ),
            mock.patch.object(powertools, "level", logging.CRITICAL),
            mock.patch.object(ours, "propagate", new=False),
        ):
            try:
                yield
            finally:
                self._here.use(())
                _forget()

    def send(self, request: PreparedRequest, *_: object, **__: object) -> Response:
        """Answer one request."""
        answer = self._gateway.answer(_as_received(request))
        assert isinstance(answer.body, bytes)
        headers = HTTPHeaderDict(answer.headers)
        headers.setdefault("content-length", str(len(answer.body)))
        raw = HTTPResponse(
            io.BytesIO(b"" if request.method == "HEAD" else answer.body),
            headers,
            answer.status,
            reason=responses.get(answer.status),
            preload_content=False,
            original_response=_Original(answer.headers),  # type: ignore[arg-type]
            request_method=request.method,
        )
        return self.build_response(request, raw)


def _as_received(request: PreparedRequest) -> Request:
    """A request as the gateway's server reads it."""
    assert request.method
    assert request.url
    body = request.body or b""
    if not isinstance(body, str | bytes):
        body = b"".join(iter(body))
    data = body.encode() if isinstance(body, str) else body
    headers = [
        ("Host", urlsplit(request.url).netloc),
        *((_text(name), _text(value)) for name, value in request.headers.items()),
    ]
    return Request(request.method, request.path_url, headers, HERE, len(data), io.BytesIO(), data)


def _text(given: str | bytes) -> str:
    return given.decode("latin-1") if isinstance(given, bytes) else given


class _Original:
    """What `requests` reads cookies from."""

    def __init__(self, headers: Headers) -> None:
        self.msg = Message()
        for name, value in headers:
            self.msg[name] = value

    def isclosed(self) -> bool:
        return True


class _Unchanged:
    """Code that does not change while the tests run."""

    def changed(self) -> bool:
        return False


class _Here:
    """Runs functions in this process, one at a time, each with its own environment."""

    def __init__(self) -> None:
        self._handlers: dict[str, function_worker.Handler] = {}
        self._running = threading.Lock()
        self._environment: Environment = ()

    def invoke(self, invocation: Invocation, event: bytes) -> Outcome:
        """Run one event."""
        assert self._running.acquire(blocking=False), "Requests at once go over HTTP."
        deadline = time.time() + invocation.timeout
        context = function_worker.Context(invocation.name, str(uuid.uuid4()), invocation.memory, deadline)
        try:
            self.use(invocation.environment)
            return Outcome(*function_worker._run(self._handlers, invocation.handler, event, context))
        finally:
            self._running.release()

    def use(self, environment: Environment) -> None:
        """Set the variables of a function; those of none of the product's stay."""
        if environment == self._environment:
            return
        for name in [name for name in os.environ if name.startswith("STOWAGE_")]:
            del os.environ[name]
        os.environ.update(environment)
        settings.cache_clear()
        self._environment = environment


def _forget() -> None:
    while _kept:
        _kept.popitem()[1].close()
    for client in CLIENTS:
        if client.cache_info().currsize:
            client().close()
        client.cache_clear()
    keys._known.clear()
    tenants._known.clear()
