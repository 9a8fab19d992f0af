"""AWS's APIs at one endpoint: Lambda, ECS tasks, S3 and the event bus are ours, everything else is moto's."""

import io
import json
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from local import aws_errors, faults, mends_tables, signature
from local.aws_errors import AwsError
from local.event_bus import EventBus
from local.faults import Faults
from local.functions import MAX_PAYLOAD_BYTES, Functions
from local.http_server import RefusedError, Request, Response
from local.mail import Mailbox
from local.s3.objects import Objects, operation_of
from local.tasks import TaskError, Tasks

type Json = Any
JSON_1_1 = [("content-type", "application/x-amz-json-1.1")]
_TARGETS = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
    "AWSStepFunctions": "states",
    "DynamoDB_20120810": "dynamodb",
    "secretsmanager": "secretsmanager",
}
WRITES = {
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
    "ExecuteStatement",
    "BatchExecuteStatement",
    "ExecuteTransaction",
}
_SEND_MAIL = "POST /v2/email/outbound-emails"
_LAMBDA = "/2015-03-31/functions/"
_FUNCTION_PATH = re.compile(rf"{_LAMBDA}([^/]+)/invocations")
CONTROL = "local"
"""What `/_local/faults` is signed for, which is no service of AWS's."""


class Moto:
    """moto's server, called one request at a time per service: it is not safe for more."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._application = DomainDispatcherApplication(create_backend_app)
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.answered: Callable[[str, Request, Response], None] = lambda service, request, response: None
        """Told of each request, before its answer goes out and before the service takes the next one."""

    def locked(self, service: str) -> Callable[[Request], Response]:
        """A way to call a service of moto, one request at a time."""

        def call(request: Request) -> Response:
            _ = request.body
            with self.locks[service]:
                response = self.call(request)
                self.answered(service, request, response)
                return response

        return call

    def call(self, request: Request) -> Response:
        """Answer a request; NotImplementedError for an operation that moto does not have."""
        from botocore.model import OperationNotFoundError

        given: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            given["status"], given["headers"] = int(status[:3]), headers

        try:
            service, _, operation = request.header("x-amz-target").partition(".")
            if service.startswith("DynamoDB_"):
                return mends_tables.call(operation, request, lambda: _call_dynamodb(request))
            chunks = self._application(_environ(request), start_response)
        except OperationNotFoundError as error:
            raise NotImplementedError(str(error)) from error
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        return Response(given["status"], given["headers"], body)


def _call_dynamodb(request: Request) -> Response:
    """The same without the web application around moto: most calls go here, and it took a fifth of each."""
    from moto.core.request import Request as MotoRequest
    from moto.dynamodb.responses import DynamoHandler

    asked = MotoRequest(_environ(request))
    status, headers, body = DynamoHandler.dispatch(asked, asked.raw_url, dict(asked.headers))
    return Response(status, list(headers.items()), body.encode() if isinstance(body, str) else body)


def _environ(request: Request) -> dict[str, Any]:
    """The request as WSGI (PEP 3333) has it."""
    body = request.body
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": request.header("host").rpartition(":")[2] or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key not in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


class AwsServer:
    """Routes each request to whoever plays its service."""

    def __init__(
        self,
        moto: Moto,
        functions: Functions,
        tasks: Tasks,
        objects: Objects,
        bus: EventBus,
        mailbox: Mailbox,
        on_write: Callable[[str], None],
    ) -> None:
        """`on_write` is told of a call that may have changed a table or sent a message: `dynamodb` or `sqs`."""
        self._moto, self._functions, self._tasks, self._objects, self._bus = moto, functions, tasks, objects, bus
        self._mailbox, self._on_write = mailbox, on_write
        self._faults = Faults()
        self._custom_answers: dict[str, Callable[[Json], None]] = {}

    def expect_answer(self, receive: Callable[[Json], None]) -> str:
        """A path that nobody can guess, where a custom resource's function may put its answer, once."""
        path = f"/_local/custom-resources/{uuid.uuid4()}"
        self._custom_answers[path] = receive
        return path

    def answer(self, request: Request) -> Response:
        """Answer any request of an AWS client that is signed with our key; anything else is refused as AWS does."""
        receive = self._custom_answers.pop(request.path, None)
        if receive:
            receive(json.loads(request.body))
            return Response(200)
        service = service_of(request)
        try:
            if service != "s3":  # whose preflights, forms and links have rules of their own
                signature.verify(request, service)
            if service == CONTROL:
                return self._faults.control(request)
            operation = _operation(service, request)
            _check_form(service, operation, request)
            return self._answer(service, operation, request)
        except AwsError as error:
            return error.response(service)
        except NotImplementedError:
            status, code = (501, "NotImplemented") if service == "s3" else (400, "UnknownOperationException")
            return AwsError(status, code, "The local stack does not know this operation.").response(service)

    def _answer(self, service: str, operation: str, request: Request) -> Response:
        fault = self._faults.take(service, operation, request)
        if fault:
            if "not_started" in fault:
                self._tasks.not_started.append(fault["not_started"])
            instead = self._faults.before(fault)
            if instead:
                return instead
        response = self._perform(service, operation, request)
        if fault:
            faults.after(fault)
        return response

    def _perform(self, service: str, operation: str, request: Request) -> Response:
        match service, operation:
            case "lambda", "Invoke":
                return self._invoke(request)
            case "ecs", "RunTask" | "StopTask" | "DescribeTasks" | "ListTasks":
                return self._call_tasks(operation, request)
            case "events", "PutEvents":
                return _json(self._bus.put_events(json.loads(request.body)))
            case "sqs", "ReceiveMessage":
                # Long polls wait, and must not keep others from sending.
                return self._moto.call(request)
            case "ses", _:
                self._mailbox.verify_sender()
                response = self._moto.locked(service)(request)
                if response.status == 200 and operation == _SEND_MAIL:
                    self._mailbox.keep(request.body)
            case "s3", _:
                response = self._objects.answer(request)
            case _:
                response = self._moto.locked(service)(request)
        if service == "dynamodb" and operation in WRITES:
            self._on_write("dynamodb")
        elif service == "sqs" and operation.startswith(("Send", "ChangeMessage")):
            self._on_write("sqs")
        return response

    def _invoke(self, request: Request) -> Response:
        match = _FUNCTION_PATH.fullmatch(request.path)
        function = self._functions.find(unquote(match[1])) if match else None
        if function is None:
            raise AwsError(404, "ResourceNotFoundException", f"Function not found: {request.path}")
        if len(request.body) > MAX_PAYLOAD_BYTES:
            raise AwsError(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes")
        event = request.body or b"{}"
        try:
            json.loads(event)
        except ValueError as error:
            message = "Could not parse request body into json."
            raise AwsError(400, "InvalidRequestContentException", message) from error
        if request.header("x-amz-invocation-type") == "Event":
            self._functions.invoke_later(function, event)
            return Response(202)
        if request.header("x-amz-invocation-type") == "DryRun":
            return Response(204)
        outcome = self._functions.invoke(function, event)
        headers = [("content-type", "application/json"), ("x-amzn-requestid", str(uuid.uuid4()))]
        if outcome.error:
            headers.append(("x-amz-function-error", outcome.error))
        return Response(200, headers, outcome.payload)

    def _call_tasks(self, operation: str, request: Request) -> Response:
        call = {
            "RunTask": self._tasks.run,
            "StopTask": self._tasks.stop,
            "DescribeTasks": self._tasks.describe,
            "ListTasks": self._tasks.list,
        }[operation]
        try:
            return _json(call(json.loads(request.body)))
        except TaskError as error:
            raise AwsError(400, error.code, str(error)) from error


def service_of(request: Request) -> str:
    """Whom a request is for; S3 where nothing says otherwise."""
    prefix = request.header("x-amz-target").partition(".")[0]
    if prefix:
        return _TARGETS.get(prefix, signature.service_of(request) or prefix)
    if request.path.startswith(_LAMBDA):
        return "lambda"
    return CONTROL if request.path == "/_local/faults" else signature.service_of(request) or "s3"


def _operation(service: str, request: Request) -> str:
    """The operation that is asked for; empty where there is none."""
    if request.header("x-amz-target"):
        return request.header("x-amz-target").partition(".")[2]
    if service == "lambda":
        return "Invoke" if request.method == "POST" and _FUNCTION_PATH.fullmatch(request.path) else ""
    if service == "s3":
        return operation_of(request)
    if service == "ses":  # version 2, whose operations are paths
        return f"{request.method} {request.path}"
    if request.header("content-type").startswith("application/x-www-form-urlencoded"):
        found = re.search(rb"(?:^|&)Action=(\w+)", request.body)
        return found[1].decode() if found else ""
    return ""


def _check_form(service: str, operation: str, request: Request) -> None:
    """AwsError for what no service of JSON or of forms takes."""
    prefix = request.header("x-amz-target").partition(".")[0]
    # moto takes the name of a service that is not among ours from before its date.
    if not operation or (prefix and prefix not in _TARGETS and "_" not in prefix):
        raise AwsError(404 if service == "lambda" else 400, "UnknownOperationException", "There is no such operation.")
    if prefix:
        try:
            understood = request.method == "POST" and isinstance(json.loads(request.body), dict)
        except ValueError:
            understood = False
        if not understood:
            raise AwsError(400, "SerializationException", "The body is not a JSON object.")


def refuse(error: RefusedError, request: Request | None) -> Response:
    """What the server itself refuses, in the words of the service that the request seems to be for."""
    return aws_errors.refuse(error, service_of(request) if request else "s3")


def _json(answer: Json) -> Response:
    return Response(200, [*JSON_1_1, ("x-amzn-requestid", str(uuid.uuid4()))], json.dumps(answer).encode())
