"""Requests as API Gateway's HTTP API hands them to functions, and functions' answers as it sends them.

Payload format 2.0: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
Its awkward sides are here on purpose: product code must live with them.
"""

import base64
import contextlib
import json
import time
import uuid
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.configuration import ACCOUNT
from local.http_server import Headers, Request, Response

type Json = Any
JSON_TYPE = ("content-type", "application/json")
_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")
_NOT_PASSED_ON = {"connection", "content-length", "transfer-encoding", "date", "server"}


def decoded_path(request: Request) -> str:
    """The path decoded, and cut where a decoded `?` stands in it."""
    return unquote(request.path).partition("?")[0]


def build(request: Request, route_key: str, parameters: dict[str, str]) -> Json:
    """The event for a function."""
    headers = _headers(request)
    cookies = [
        cookie.strip() for name, value in request.headers if name.lower() == "cookie" for cookie in value.split(";")
    ]
    now = time.time()
    raw_path = decoded_path(request)
    event: Json = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": headers.get("host", ""),
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": route_key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _query(request.query)
    if parameters:
        event["pathParameters"] = parameters
    if request.body:
        event |= _body(headers.get("content-type", ""), request.body)
    return event


def _headers(request: Request) -> dict[str, str]:
    """Names in lower case, repeated ones joined by commas, no `cookie`; with what the gateway adds."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key not in ("cookie", "connection", "transfer-encoding"):
            headers[key] = f"{headers[key]},{value}" if key in headers else value
    forwarded = headers.get("x-forwarded-for")
    port = headers.get("host", "").rpartition(":")[2]
    return headers | {
        "x-forwarded-for": f"{forwarded}, {request.client}" if forwarded else request.client,
        "x-forwarded-port": port if port.isdigit() else "80",
        "x-forwarded-proto": "http",
        "x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
    }


def _query(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _body(content_type: str, body: bytes) -> Json:
    """Text as it is, all else in base64: of AWS's gateway it is not known what it does with text that is not UTF-8."""
    if content_type.lower().startswith(_TEXT_TYPES) or "+json" in content_type or "+xml" in content_type:
        with contextlib.suppress(UnicodeDecodeError):
            return {"body": body.decode()}
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def answer(payload: bytes) -> Response:
    """A function's answer as HTTP; one without a status code is a JSON body; one that makes no sense is a 500."""
    given = json.loads(payload)
    if not (isinstance(given, dict) and "statusCode" in given):
        return Response(200, [JSON_TYPE], payload)
    try:
        status = int(given["statusCode"])
        body = given.get("body") or ""
        data = base64.b64decode(body) if given.get("isBase64Encoded") else body.encode()
        headers = _answer_headers(given)
    except (AttributeError, TypeError, ValueError):
        return failed(500, "Internal Server Error")
    if data and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    return Response(status, headers, data)


def _answer_headers(given: Json) -> Headers:
    headers = [(name.lower(), str(value)) for name, value in (given.get("headers") or {}).items()]
    for name, values in (given.get("multiValueHeaders") or {}).items():
        headers += [(name.lower(), str(value)) for value in values]
    headers = [(name, value) for name, value in headers if name not in _NOT_PASSED_ON]
    return headers + [("set-cookie", cookie) for cookie in given.get("cookies") or []]


def failed(status: int, message: str) -> Response:
    """What the gateway itself answers."""
    return Response(status, [JSON_TYPE], json.dumps({"message": message}).encode())
