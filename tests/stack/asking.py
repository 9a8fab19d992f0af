"""Handlers in this process, asked as the gateway asks them: for declarations that no running stack has."""

import json
import re
from base64 import b64encode
from functools import cache
from typing import Any

from tests.functions.deployment import handler
from tests.stack.office import Office
from tests.structure.repository import EVENTS

type Json = Any


@cache
def routes() -> list[tuple[str, re.Pattern[str], str]]:
    """Method, path and handler of every route, from the sample events."""
    found = []
    for path in EVENTS.glob("*.json"):
        method, _, pattern = json.loads(path.read_text()).get("routeKey", "").partition(" ")
        found.append((method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)), path.stem))
    return found


def asked(office: Office, method: str, path: str, body: Json = None) -> tuple[int, Json]:
    """Status and body of the answer to an admin of a tenant; `ID` in the path is the tenant's."""
    path, _, query = path.replace("ID", office.id).partition("?")
    name, found = next(
        (name, found) for verb, pattern, name in routes() if verb == method and (found := pattern.fullmatch(path))
    )
    event = json.loads((EVENTS / f"{name}.json").read_text())
    event |= {"rawPath": path, "rawQueryString": query, "pathParameters": found.groupdict()}
    event["queryStringParameters"] = dict(pair.split("=") for pair in query.split("&") if pair) or None
    event["headers"] |= {"authorization": office.caller("admin").headers["authorization"]}
    for unwanted in ("idempotency-key", "x-tenant-id"):
        event["headers"].pop(unwanted, None)
    event["requestContext"]["http"]["path"] = path
    event["body"], event["isBase64Encoded"] = b64encode(json.dumps(body).encode()).decode(), True
    if body is None:
        event.pop("body")
    answered = handler(name)(event, None)
    return answered["statusCode"], json.loads(answered["body"])
