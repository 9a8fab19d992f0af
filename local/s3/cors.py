"""A bucket's CORS rules, as S3 goes by them: the first that takes the origin, the method and every header.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

from fnmatch import fnmatchcase
from typing import Any

from local.aws_errors import AwsError
from local.http_server import Headers, Request, Response

_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")


def preflight(request: Request, rules: list[Any]) -> Response:
    """The answer to a browser that asks; AwsError 403 where no rule takes what it means to do."""
    origin, method = request.header("origin"), request.header("access-control-request-method")
    if not origin or not method:
        missing = "Access-Control-Request-Method" if origin else "Origin"
        raise AwsError(400, "BadRequest", f"Insufficient information. {missing} request header needed.")
    wanted = [name.strip().lower() for name in request.header("access-control-request-headers").split(",") if name]
    if not rules:
        raise AwsError(403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
    rule = _matching(rules, origin, method, wanted)
    if rule is None:
        raise AwsError(403, "AccessForbidden", "CORSResponse: This CORS request is not allowed.")
    headers = _headers(rule, origin)
    if wanted:
        headers.append(("Access-Control-Allow-Headers", ", ".join(wanted)))
    if rule.max_age_seconds is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age_seconds)))
    return Response(200, headers)


def allow(request: Request, response: Response, rules: list[Any]) -> Response:
    """The answer with the headers that let a page of an allowed origin read it, and none besides."""
    response.headers = [pair for pair in response.headers if not pair[0].lower().startswith("access-control-")]
    origin = request.header("origin")
    rule = _matching(rules, origin, request.method, []) if origin else None
    if rule is not None:
        response.headers = [pair for pair in response.headers if pair[0].lower() != "vary"] + _headers(rule, origin)
    return response


def _matching(rules: list[Any], origin: str, method: str, wanted: list[str]) -> Any | None:
    return next(
        (
            rule
            for rule in rules
            if _any_of(rule.allowed_origins, origin)
            and method in rule.allowed_methods
            and all(_any_of([allowed.lower() for allowed in rule.allowed_headers or []], name) for name in wanted)
        ),
        None,
    )


def _any_of(patterns: list[str], text: str) -> bool:
    return any(fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)


def _headers(rule: Any, origin: str) -> Headers:
    everybody = "*" in rule.allowed_origins
    headers = [
        ("Access-Control-Allow-Origin", "*" if everybody else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.allowed_methods)),
        _VARY,
    ]
    if rule.exposed_headers:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed_headers)))
    return headers if everybody else [*headers, ("Access-Control-Allow-Credentials", "true")]
