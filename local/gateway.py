"""API Gateway's HTTP API: the routes of the template in front of its functions, with its limits and its CORS."""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from local import gateway_event
from local.console import log
from local.door import allows
from local.functions import MAX_PAYLOAD_BYTES, Function, Functions
from local.gateway_event import JSON_TYPE, failed
from local.http_server import Headers, RefusedError, Request, Response
from local.known_properties import Known

type Json = Any
INTEGRATION_SECONDS = 30.0
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 10_240
LONGEST_PART = 48
ANY = "x-amazon-apigateway-any-method"
"""Limits: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html"""


@dataclass(frozen=True)
class Route:
    """One route of the template."""

    method: str
    path: str
    pattern: re.Pattern[str]
    function: Function

    @property
    def key(self) -> str:
        """The route key that the function sees."""
        return "$default" if self.path == "$default" else f"{self.method} {self.path}"

    @property
    def generality(self) -> tuple[bool, int, bool]:
        """Orders routes: the most particular one that matches wins."""
        return "+}" in self.path, self.path.count("{"), self.method == "ANY"


UNLOGGED_READER = "stowage-demo"
"""The user agent whose reads need no line: the demonstration shows its progress itself."""


EVENT: Known = {"ApiId": ..., "Method": ..., "Path": ...}
"""What of an event of type HttpApi is used here."""

PROPERTIES: dict[str, Known] = {
    "AWS::Serverless::HttpApi": {
        "CorsConfiguration": {
            "AllowCredentials": ...,
            "AllowHeaders": ...,
            "AllowMethods": ...,
            "AllowOrigins": ...,
            "ExposeHeaders": ...,
            "MaxAge": ...,
        },
        "FailOnWarnings": "the local gateway has no warnings",
    }
}
"""What of the API is used here, and what is not."""


class Gateway:
    """Answers the requests of the API's clients."""

    def __init__(self, functions: Functions, usage: Callable[[], str]) -> None:
        """`usage` says in a few words what the process holds, for the end of each line of the log."""
        self._functions, self._usage = functions, usage
        self._routes: list[Route] = []
        self._default: Route | None = None
        self._cors: Json | None = None

    def add_api(self, properties: Json) -> None:
        """One `AWS::ApiGatewayV2::Api` with its OpenAPI body, resolved."""
        body = properties["Body"]
        self._cors = body.get("x-amazon-apigateway-cors")
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                uri = operation["x-amazon-apigateway-integration"]["uri"]
                match = re.search(r"functions/(arn:[^/]+)/invocations", uri)
                if match:
                    self._add_route(method, path, self._functions[match[1]])
        self._routes.sort(key=lambda route: route.generality)

    def _add_route(self, method: str, path: str, function: Function) -> None:
        if path == "/$default":
            self._default = Route("ANY", "$default", re.compile(""), function)
            return
        pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", re.escape(path))
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern)
        self._routes.append(Route("ANY" if method == ANY else method.upper(), path, re.compile(pattern), function))

    @property
    def origins(self) -> list[str]:
        """The origins whose pages may call the API."""
        return list((self._cors or {}).get("allowOrigins", []))

    def answer(self, request: Request) -> Response:
        """Answer one request and write its line to the terminal."""
        started = time.monotonic()
        response, name = self._answer(request)
        origin = request.header("origin")
        if self._cors and origin:
            response.headers = [pair for pair in response.headers if not pair[0].startswith("access-control-")]
            response.headers += self._cors_headers(origin, preflight=request.method == "OPTIONS")
        response.headers.append(("apigw-requestid", uuid.uuid4().hex[:16]))
        milliseconds = (time.monotonic() - started) * 1000
        if request.method != "GET" or request.header("user-agent") != UNLOGGED_READER:
            line = f"{request.method:6} {_readable(request.path)} {response.status} {milliseconds:.0f} ms {name}"
            log(f"{line} ({self._usage()})")
        return response

    def _answer(self, request: Request) -> tuple[Response, str]:
        header_bytes = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        if header_bytes > MAX_HEADER_BYTES:
            return failed(431, "Request Header Fields Too Large"), "gateway"
        if request.length > MAX_REQUEST_BYTES:
            return failed(413, "Request Entity Too Large"), "gateway"
        preflight = self._cors and request.method == "OPTIONS" and request.header("origin")
        if preflight and request.header("access-control-request-method"):
            return Response(204), "gateway"
        route, parameters = self._match(request)
        if route is None:
            return failed(404, "Not Found"), "gateway"
        event = json.dumps(gateway_event.build(request, route.key, parameters)).encode()
        if len(event) > MAX_PAYLOAD_BYTES:
            return failed(413, "Request Entity Too Large"), route.function.logical_id
        outcome = self._functions.invoke(route.function, event, timeout=INTEGRATION_SECONDS)
        if not outcome.error:
            return gateway_event.answer(outcome.payload), route.function.logical_id
        if outcome.timed_out and route.function.timeout >= INTEGRATION_SECONDS:
            return failed(503, "Service Unavailable"), route.function.logical_id
        if b"Function.ResponseSizeTooLarge" in outcome.payload:
            return failed(502, "Bad Gateway"), route.function.logical_id
        return failed(500, "Internal Server Error"), route.function.logical_id

    def _match(self, request: Request) -> tuple[Route | None, dict[str, str]]:
        path = re.split("%3f", request.path, maxsplit=1, flags=re.IGNORECASE)[0]
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match and route.method in (request.method, "ANY"):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return self._default, {}

    def _cors_headers(self, origin: str, *, preflight: bool) -> Headers:
        """What the API's CorsConfiguration adds; the gateway drops what a function says itself.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
        """
        cors = self._cors or {}
        origins = self.origins
        if not any(allows(allowed, origin) for allowed in origins):
            return []
        headers = [("access-control-allow-origin", "*" if origins == ["*"] else origin)]
        if preflight:
            headers.append(("access-control-allow-methods", ",".join(cors.get("allowMethods", []))))
            headers.append(("access-control-allow-headers", ",".join(cors.get("allowHeaders", []))))
            headers.append(("access-control-max-age", str(cors.get("maxAge", 0))))
        elif cors.get("exposeHeaders"):
            headers.append(("access-control-expose-headers", ",".join(cors["exposeHeaders"])))
        if cors.get("allowCredentials"):
            headers.append(("access-control-allow-credentials", "true"))
        return headers


def _readable(path: str) -> str:
    """The path without what is too long to read, such as the token of a download link."""
    return "/".join(part if len(part) <= LONGEST_PART else part[:8] + "…" for part in path.split("/"))


def refuse(error: RefusedError, request: Request | None) -> Response:
    """What the gateway refuses before it looks for a route, or the local stack's door in the contract's words."""
    if request:
        log(f"{request.method:6} {_readable(request.path)} {error.status} refused: {error.sentence}")
    if not error.code:
        return failed(error.status, HTTPStatus(error.status).phrase)
    body = {
        "success": False,
        "error": error.sentence,
        "message": error.sentence,
        "code": error.code,
        "requestId": str(uuid.uuid4()),
    }
    return Response(error.status, [JSON_TYPE], json.dumps(body).encode())
