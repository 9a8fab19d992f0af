"""Both ports talk to programs of this machine and to pages of the console only, and the AWS port to who signs."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from local.aws_server import refuse as refuse_as_aws
from local.door import Door
from local.gateway import refuse as refuse_as_gateway
from local.http_server import Request, Response, Server
from tests.conftest import RunningStack, Signed

PORTS = ("api_url", "aws_url")
FUNCTION_PATH = "/2015-03-31/functions/{}/invocations"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def talk(port: int, *lines: str, body: bytes = b"", rest: bool = False) -> tuple[int, dict[str, str], bytes]:
    """What a server answers to these very lines: status, headers in lower case, body (until it closes: `rest`)."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body)
        with connection.makefile("rb") as file:
            status = int(file.readline().split()[1])
            headers: dict[str, str] = {}
            while line := file.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            answer = file.read() if rest else file.read(int(headers.get("content-length", 0)))
            return status, headers, answer


# ── Host ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{}", "localhost", "localhost:{}", "LocalHost:{}"])
def test_this_machine_has_two_names(stack: RunningStack, port: str, host: str) -> None:
    number = port_of(getattr(stack, port))
    status, _, body = talk(number, "GET /api/v1/health HTTP/1.1", f"Host: {host.format(number)}")
    assert b"foreign_host" not in body
    assert (status, body) == (200, b'{"status":"ok"}') if port == "api_url" else status == 403
    assert port == "api_url" or b"<Code>AccessDenied</Code>" in body


OTHER_HOSTS = [
    "evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "localhost.evil.example", "localhost.",
    "127.0.0.1.", "127.0.0.1@evil.example", "[::1]:{}", "::1", "0.0.0.0:{}", "127.1:{}", "2130706433", "0x7f.0.0.1",
    "127.0.0.2", "bucket.localhost:{}", "localhost:{}:1", "localhost:", "localhost:x", "localhost evil.example", "",
    "xlocalhost",
]  # fmt: skip


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_no_other_name_is_answered(stack: RunningStack, port: str, host: str) -> None:
    number = port_of(getattr(stack, port))
    status, _, body = talk(number, "GET /api/v1/health HTTP/1.1", f"Host: {host.format(number)}")
    assert status == 403
    if port == "api_url":
        refused = json.loads(body)
        assert (refused["success"], refused["code"]) == (False, "foreign_host")
        assert refused["message"] == refused["error"] != ""
        assert {*refused} == {"success", "error", "message", "code", "requestId"}
    else:
        assert b"<Code>AccessForbidden</Code>" in body


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("GET /api/v1/health HTTP/1.1",), 400),
        (("GET /api/v1/health HTTP/1.0",), 400),
        (("GET /api/v1/health HTTP/1.1", "Host: localhost", "Host: localhost"), 400),
        (("GET /api/v1/health HTTP/1.1", "Host: localhost", "Host: evil.example"), 400),
        (("GET http://evil.example/api/v1/health HTTP/1.1", "Host: localhost"), 403),
        (("GET http://localhost@evil.example/api/v1/health HTTP/1.1", "Host: localhost"), 403),
        (("GET //evil.example/api/v1/health HTTP/1.1", "Host: evil.example"), 403),
    ],
)
def test_a_request_names_one_host_and_a_whole_url_names_it(
    stack: RunningStack, port: str, lines: tuple[str, ...], expected: int
) -> None:
    assert talk(port_of(getattr(stack, port)), *lines)[0] == expected


def test_a_whole_url_of_this_machine_is_taken(stack: RunningStack) -> None:
    lines = (f"GET {stack.api_url}/api/v1/health HTTP/1.1", "Host: evil.example")
    assert talk(port_of(stack.api_url), *lines)[::2] == (200, b'{"status":"ok"}')


# ── Origin ──────────────────────────────────────────────────────────────────────────────────────────────────────────

OTHER_ORIGINS = [
    "https://evil.example", "null", "", "http://localhost:3001", "https://localhost:3000", "http://localhost:3000/",
    "http://localhost:3000.evil.example", "http://evil.example:3000", "HTTP://LOCALHOST:3000", "http://127.0.0.1",
    "file://", "chrome-extension://abcdef", "http://localhost:3000, https://evil.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_site_is_refused_by_both_ports(stack: RunningStack, origin: str, method: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    api = requests.request(method, f"{stack.api_url}/api/v1/health", headers=headers, timeout=10)
    assert (api.status_code, api.json()["code"]) == (403, "foreign_origin")
    url = stack.aws_url + FUNCTION_PATH.format(stack.resources["GetHealthFunction"])
    aws = requests.request(method, url, headers=headers, auth=Signed("lambda"), data=b"{}", timeout=10)
    assert (aws.status_code, aws.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    faults = requests.request(
        method, f"{stack.aws_url}/_local/faults", headers=headers, auth=Signed("local"), timeout=9
    )
    assert faults.status_code == 403
    for answer in (api, aws, faults):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_one_foreign_origin_beside_a_listed_one_is_enough(stack: RunningStack) -> None:
    origins = ("Origin: http://localhost:3000", "Origin: https://evil.example")
    assert talk(port_of(stack.api_url), "GET /api/v1/health HTTP/1.1", "Host: localhost", *origins)[0] == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_pages_of_the_api_itself_and_of_the_console_are_welcome(stack: RunningStack, name: str) -> None:
    for origin in (f"http://{name}:{port_of(stack.api_url)}", "http://localhost:3000"):
        answer = requests.get(f"{stack.api_url}/api/v1/health", headers={"origin": origin}, timeout=10)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


# ── Signatures ──────────────────────────────────────────────────────────────────────────────────────────────────────

JSON_1_0 = "application/x-amz-json-1.0"
CALLS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "lambda": ("/2015-03-31/functions/{GetHealthFunction}/invocations", {}, b"{}"),
    "dynamodb": (
        "/",
        {"x-amz-target": "DynamoDB_20120810.Scan", "content-type": JSON_1_0},
        b'{"TableName": "{Table}", "Limit": 1}',
    ),
    "sqs": ("/", {"x-amz-target": "AmazonSQS.ListQueues", "content-type": JSON_1_0}, b"{}"),
    "states": ("/", {"x-amz-target": "AWSStepFunctions.ListStateMachines", "content-type": JSON_1_0}, b"{}"),
    "ecs": ("/", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.ListTasks"}, b"{}"),
    "events": ("/", {"x-amz-target": "AWSEvents.PutEvents"}, b'{"Entries": []}'),
    "secretsmanager": ("/", {"x-amz-target": "secretsmanager.ListSecrets"}, b"{}"),
    "sns": ("/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=ListTopics&Version=2010-03-31"),
    "s3": ("/{ExportsBucket}?list-type=2", {}, b""),
    "local": ("/_local/faults", {}, b""),
}
SIGNED = [service for service in CALLS if service != "s3"]


def call(stack: RunningStack, service: str, **changes: Any) -> requests.Response:
    path, headers, body = CALLS[service]
    for name in ("GetHealthFunction", "Table", "ExportsBucket"):
        path = path.replace("{" + name + "}", stack.resources[name])
        body = body.replace(b"{%s}" % name.encode(), stack.resources[name].encode())
    method = "GET" if service in ("s3", "local") else "POST"
    options = {"headers": headers, "data": body, "auth": Signed(service), "timeout": 10} | changes
    return requests.request(changes.pop("method", method), stack.aws_url + path, **options)


def code_of(response: requests.Response) -> str:
    if "x-amzn-errortype" in response.headers:
        return response.headers["x-amzn-errortype"]
    return response.text.partition("<Code>")[2].partition("</Code>")[0]


class Tampered(Signed):
    """Signs one body and sends another."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        super().__call__(request)
        request.body = b'{"Entries": [], "Limit": 7}'
        request.headers["content-length"] = str(len(request.body))
        return request


class Changed(Signed):
    """Signs, then changes a header."""

    def __init__(self, service: str, name: str, change: Callable[[str], str]) -> None:
        super().__init__(service)
        self._name, self._change = name, change

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        super().__call__(request)
        request.headers[self._name] = self._change(str(request.headers[self._name]))
        return request


def without_signature(authorization: str) -> str:
    return authorization.partition(", Signature=")[0]


@pytest.mark.parametrize("service", CALLS)
def test_a_signed_call_is_answered(stack: RunningStack, service: str) -> None:
    assert call(stack, service).status_code == 200


REST = {"lambda": 403, "sns": 403, "s3": 403}
QUERY = {"MissingAuthenticationTokenException": "MissingAuthenticationToken",
         "UnrecognizedClientException": "InvalidClientTokenId", "InvalidSignatureException": "SignatureDoesNotMatch",
         "IncompleteSignatureException": "IncompleteSignature"}  # fmt: skip
S3 = {"MissingAuthenticationTokenException": "AccessDenied", "UnrecognizedClientException": "InvalidAccessKeyId",
      "InvalidSignatureException": "SignatureDoesNotMatch",
      "IncompleteSignatureException": "AuthorizationHeaderMalformed"}  # fmt: skip


def assert_refused(response: requests.Response, service: str, code: str) -> None:
    expected = QUERY[code] if service == "sns" else S3[code] if service == "s3" else code
    status = 400 if expected == "AuthorizationHeaderMalformed" else REST.get(service, 400)
    assert (response.status_code, code_of(response)) == (status, expected), response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("service", CALLS)
def test_nobody_is_answered_without_a_signature(stack: RunningStack, service: str) -> None:
    # Nothing but a signature says for whom a call of forms is: without one, S3 answers.
    answering = "s3" if service == "sns" else service
    for auth in (None, ("local", "local")):
        assert_refused(call(stack, service, auth=auth), answering, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("service", CALLS)
def test_a_signature_of_another_key_or_secret_is_refused(stack: RunningStack, service: str) -> None:
    response = call(stack, service, auth=Signed(service, key="AKIAIOSFODNN7EXAMPLE"))
    assert_refused(response, service, "UnrecognizedClientException")
    assert_refused(call(stack, service, auth=Signed(service, secret="other")), service, "InvalidSignatureException")


@pytest.mark.parametrize("service", CALLS)
def test_a_broken_signature_is_refused(stack: RunningStack, service: str) -> None:
    for change in (without_signature, lambda _: "AWS4-HMAC-SHA256 ", lambda _: "AWS4-HMAC-SHA256 Credential=local/x"):
        response = call(stack, service, auth=Changed(service, "Authorization", change))
        named = "s3" if service == "sns" and change is not without_signature else service
        assert_refused(response, named, "IncompleteSignatureException")


@pytest.mark.parametrize("service", SIGNED)
def test_a_signed_body_or_address_cannot_be_changed(stack: RunningStack, service: str) -> None:
    assert_refused(call(stack, service, auth=Tampered(service)), service, "InvalidSignatureException")
    response = call(stack, service, params={"added": "1"}, auth=Changed(service, "Authorization", lambda _: _ + "0"))
    assert_refused(response, service, "InvalidSignatureException")


@pytest.mark.parametrize("service", CALLS)
def test_an_old_signature_is_refused(stack: RunningStack, service: str) -> None:
    response = call(stack, service, auth=Changed(service, "X-Amz-Date", lambda _: "20200101T000000Z"))
    if service == "s3":
        assert (response.status_code, code_of(response)) == (403, "RequestTimeTooSkewed")
    else:
        assert_refused(response, service, "InvalidSignatureException")


@pytest.mark.parametrize("service", [service for service in SIGNED if service != "sns"])
def test_a_signature_for_another_service_is_refused(stack: RunningStack, service: str) -> None:
    assert_refused(call(stack, service, auth=Signed("s3")), service, "InvalidSignatureException")


def test_a_signed_address_is_for_storage_only(stack: RunningStack) -> None:
    """A page may send one without being asked, by a form or an image."""
    client = stack.aws("lambda")
    name = stack.resources["GetHealthFunction"]
    url = client.generate_presigned_url("invoke", Params={"FunctionName": name}, ExpiresIn=60, HttpMethod="POST")
    client.close()
    assert_refused(requests.post(url, data=b"{}", timeout=10), "lambda", "MissingAuthenticationTokenException")


def test_an_sdk_finds_the_error_that_it_knows(stack: RunningStack) -> None:
    for service, operation in (("dynamodb", "list_tables"), ("sns", "list_topics"), ("lambda", "list_functions")):
        client = boto3.client(
            service,
            endpoint_url=stack.aws_url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        with pytest.raises(ClientError, match=r"UnrecognizedClientException|InvalidClientTokenId"):
            getattr(client, operation)()
        client.close()


# ── Requests that are none ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "target", "code"),
    [
        (b"{", "DynamoDB_20120810.GetItem", "SerializationException"),
        (b"", "DynamoDB_20120810.GetItem", "SerializationException"),
        (b"[]", "AWSEvents.PutEvents", "SerializationException"),
        (b"\xff\xfe", "AmazonEC2ContainerServiceV20141113.RunTask", "SerializationException"),
        (b"{}", "DynamoDB_20120810", "UnknownOperationException"),
        (b"{}", "DynamoDB_20120810.Nonsense", "UnknownOperationException"),
        (b"{}", "Nonsense.Nonsense", "UnknownOperationException"),
    ],
)
def test_what_no_json_service_understands_is_told_in_its_words(
    stack: RunningStack, body: bytes, target: str, code: str
) -> None:
    service = "ecs" if "Container" in target else "events" if "Events" in target else "dynamodb"
    response = requests.post(
        stack.aws_url, data=body, headers={"x-amz-target": target}, auth=Signed(service), timeout=10
    )
    assert (response.status_code, code_of(response)) == (400, code)


@pytest.mark.parametrize("method", ["PATCH", "PROPFIND", "TRACE", "X-NEW"])
def test_methods_that_aws_does_not_have(stack: RunningStack, method: str) -> None:
    at_storage = requests.request(method, f"{stack.aws_url}/bucket/key", auth=Signed("s3"), timeout=10)
    assert (at_storage.status_code, code_of(at_storage)) == (405, "MethodNotAllowed")
    url = stack.aws_url + FUNCTION_PATH.format(stack.resources["GetHealthFunction"])
    of_lambda = requests.request(method, url, auth=Signed("lambda"), timeout=10)
    assert (of_lambda.status_code, code_of(of_lambda)) == (404, "UnknownOperationException")


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE", "get", "X-NEW"])
def test_methods_that_the_api_does_not_have_go_to_its_default_route(stack: RunningStack, method: str) -> None:
    status, _, body = talk(port_of(stack.api_url), f"{method} /api/v1/health HTTP/1.1", "Host: localhost")
    assert (status, json.loads(body)["code"]) == (405, "method_not_allowed")


def test_an_event_that_is_no_json_reaches_no_function(stack: RunningStack) -> None:
    url = stack.aws_url + FUNCTION_PATH.format(stack.resources["GetHealthFunction"])
    response = requests.post(url, data=b"{", auth=Signed("lambda"), timeout=10)
    assert (response.status_code, code_of(response)) == (400, "InvalidRequestContentException")


def echo(request: Request) -> Response:
    return Response(200, [], f"{request.method} {request.target} ".encode() + request.body)


@pytest.fixture(scope="module", params=[refuse_as_gateway, refuse_as_aws], ids=["api", "aws"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that answers with what it got, and refuses in the words of the one port or the other."""
    server = Server(0, Door(0), request.param)
    server.answer = echo
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


POST, HOST = "POST /x?y=1 HTTP/1.1", "Host: localhost"
CHUNKED = "Transfer-Encoding: chunked"
BAD_REQUESTS = {
    "negative length": ([POST, HOST, "Content-Length: -1"], b"", 400),
    "length with a sign": ([POST, HOST, "Content-Length: +3"], b"abc", 400),
    "length with an underscore": ([POST, HOST, "Content-Length: 1_0"], b"abc", 400),
    "length in words": ([POST, HOST, "Content-Length: abc"], b"", 400),
    "empty length": ([POST, HOST, "Content-Length: "], b"", 400),
    "length in other digits": ([POST, HOST, "Content-Length: \xb2"], b"abc", 400),
    "hexadecimal length": ([POST, HOST, "Content-Length: 0x3"], b"abc", 400),
    "fraction": ([POST, HOST, "Content-Length: 3.0"], b"abc", 400),
    "list of lengths": ([POST, HOST, "Content-Length: 3, 3"], b"abc", 400),
    "length without end": ([POST, HOST, "Content-Length: " + "9" * 400], b"abc", 400),
    "two lengths": ([POST, HOST, "Content-Length: 3", "Content-Length: 4"], b"abcd", 400),
    "the same length twice": ([POST, HOST, "Content-Length: 3", "content-length: 3"], b"abc", 400),
    "length and chunks": ([POST, HOST, "Content-Length: 3", CHUNKED], b"0\r\n\r\n", 400),
    "chunks of HTTP/1.0": (["POST / HTTP/1.0", HOST, CHUNKED], b"0\r\n\r\n", 400),
    "unknown coding": ([POST, HOST, "Transfer-Encoding: gzip"], b"abc", 501),
    "two codings": ([POST, HOST, "Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n", 501),
    "negative chunk": ([POST, HOST, CHUNKED], b"-1\r\na\r\n0\r\n\r\n", 400),
    "chunk in words": ([POST, HOST, CHUNKED], b"zz\r\na\r\n0\r\n\r\n", 400),
    "chunk without size": ([POST, HOST, CHUNKED], b"\r\n\r\n", 400),
    "chunk too long": ([POST, HOST, CHUNKED], b"1\r\nabc\r\n0\r\n\r\n", 400),
    "chunk without end": ([POST, HOST, CHUNKED], b"ffffffffffffffffffffffff\r\n", 400),
    "enormous chunk": ([POST, HOST, CHUNKED], b"ffffffffff\r\nabc", 413),
    "no HTTP": (["nonsense"], b"", 400),
    "HTTP/0.9": (["GET /"], b"", 400),
    "HTTP/2": (["GET / HTTP/2.0", HOST], b"", 505),
    "two spaces": (["GET  / HTTP/1.1", HOST], b"", 400),
    "bytes of TLS": (["\x16\x03\x01\x02\x00"], b"", 400),
    "authority": (["CONNECT localhost:80 HTTP/1.1", HOST], b"", 400),
    "no path": (["GET x HTTP/1.1", HOST], b"", 400),
    "header without a colon": ([POST, HOST, "nonsense"], b"", 400),
    "space before the colon": ([POST, HOST, "X-A : 1"], b"", 400),
    "folded header": ([POST, HOST, "X-A: 1", " 2"], b"", 400),
    "header without a name": ([POST, HOST, ": 1"], b"", 400),
    "NUL in a header": ([POST, HOST, "X-A: a\0b"], b"", 400),
    "carriage return in a header": ([POST, HOST, "X-A: a\rb"], b"", 400),
    "70,000 bytes of headers": ([POST, HOST, *[f"X-{n}: {'a' * 1000}" for n in range(70)]], b"", 431),
    "70,000 bytes in one header": ([POST, HOST, "X-A: " + "a" * 70_000], b"", 431),
    "70,000 bytes of address": (["GET /" + "a" * 70_000 + " HTTP/1.1", HOST], b"", 414),
    "unknown expectation": ([POST, HOST, "Expect: 200-ok"], b"", 417),
}
IN_S3 = {408: 400, 414: 400, 431: 400}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_request_that_is_none_is_told_so_and_the_connection_ends(port: int, case: str, capfd: Any) -> None:
    lines, body, expected = BAD_REQUESTS[case]
    status, headers, answer = talk(port, *lines, body=body, rest=True)
    if answer.startswith(b"<"):
        assert status == IN_S3.get(expected, expected)
        assert b"<Code>" in answer
    else:
        assert status == expected
        assert set(json.loads(answer)) == {"message"}
    assert headers["connection"] == "close"
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_body_that_ends_early_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_length_beyond_all_bodies_is_answered_before_the_body_comes(stack: RunningStack) -> None:
    lines = ("POST /api/jobs HTTP/1.1", "Host: localhost", "Content-Length: 999999999999999999")
    status, headers, body = talk(port_of(stack.api_url), *lines, rest=True)
    assert (status, headers["connection"], json.loads(body)) == (413, "close", {"message": "Request Entity Too Large"})


GOOD_REQUESTS = {
    "no body": ([POST, HOST], b"", b"POST /x?y=1 "),
    "a body": ([POST, HOST, "Content-Length: 3"], b"abc", b"POST /x?y=1 abc"),
    "leading zeros": ([POST, HOST, "Content-Length: 003"], b"abc", b"POST /x?y=1 abc"),
    "chunks": ([POST, HOST, CHUNKED], b"1;a=b\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 1\r\n\r\n", b"POST /x?y=1 abc"),
    "two hundred headers": ([POST, HOST, *[f"X-{n}: 1" for n in range(200)]], b"", b"POST /x?y=1 "),
    "an empty line before": (["", POST, HOST], b"", b"POST /x?y=1 "),
    "a method of one's own": (["X-NEW / HTTP/1.1", HOST], b"", b"X-NEW / "),
    "an expectation": ([POST, HOST, "Expect: 100-Continue", "Content-Length: 0"], b"", b""),
}


@pytest.mark.parametrize("case", GOOD_REQUESTS)
def test_odd_requests_that_are_right_are_answered(port: int, case: str) -> None:
    lines, body, expected = GOOD_REQUESTS[case]
    status, _, answer = talk(port, *lines, body=body)
    assert (status, answer) == ((200, expected) if expected else (100, b""))


def test_a_hundred_headers_and_more_reach_the_function(stack: RunningStack) -> None:
    headers = {f"x-{number}": "1" for number in range(300)}
    assert requests.get(f"{stack.api_url}/api/v1/health", headers=headers, timeout=10).status_code == 200


def test_a_body_that_nobody_reads_does_not_become_the_next_request(port: int) -> None:
    first = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
        + b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n12"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(first[:-1] + b"x" + b"GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as file:
            answers = file.read()
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.endswith(b"GET /next ")
