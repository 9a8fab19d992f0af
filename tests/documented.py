"""Every answer that a test receives is held against the API's document (docs/openapi.json)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import requests

from stowage.entry.document import read_base

type Json = Any

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = (404, 405)
BY_THE_GATEWAY = (400, 403, 404, 413, 429, 431, 500, 502, 503, 504)
"""Statuses under which the gateway itself says something, in its own shape."""


BY_THE_DOOR = ("Pages of ", "This server answers as ", "A request names one Host.")
"""What the local stack alone refuses (local/door.py)."""


class NotDocumentedError(AssertionError):
    """An answer that the document does not have."""


@dataclass(frozen=True)
class _Path:
    document: str
    path: str
    pattern: re.Pattern[str]
    operations: Json


@cache
def documents() -> dict[str, Json]:
    """The committed document, then the one without entities, for those of a test's own."""
    read = {"docs/openapi.json": json.loads((ROOT / "docs/openapi.json").read_text()), "base.json": read_base()}
    return {name: closed(document) for name, document in read.items()}


def closed(part: Json) -> Json:
    """The same where an object has no other fields than its schema names: ours says all that there is."""
    match part:
        case {"properties": dict() as properties, **rest} if properties and "type" in rest:
            inner = {name: closed(schema) for name, schema in properties.items()}
            return {"additionalProperties": False} | rest | {"properties": inner}
        case dict():
            return {name: closed(inner) for name, inner in part.items()}
        case list():
            return [closed(inner) for inner in part]
    return part


@cache
def _paths() -> list[_Path]:
    """Every path, the more particular first, as the gateway chooses."""
    found = []
    for name, document in documents().items():
        for path, operations in document["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\+\\\}", ".+", re.escape(path))
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)
            found.append(_Path(name, path, re.compile(pattern), operations))
    return sorted(found, key=lambda each: (each.path.count("{"), each.document == "base.json"))


def check(request: requests.PreparedRequest, response: requests.Response, *, has_body: bool = True) -> None:
    """NotDocumentedError unless the answer is one that the document declares for this request."""
    path = re.split("%3f", urlsplit(request.url or "").path, maxsplit=1, flags=re.IGNORECASE)[0]
    method, status = (request.method or "").lower(), response.status_code
    if method == "options" or _is_the_gateways(response, has_body=has_body):
        return
    found = find(method, path)
    if found is None:
        problems = [] if status in UNKNOWN else [f"no such route, and yet {status}"]
        if has_body and method != "head":
            problems += _problems(_validator("docs/openapi.json", "/components/schemas/Refusal"), response)
    else:
        problems = list(_differences(found, method, response, has_body=has_body and method != "head"))
    if problems:
        where = found.path if found else path
        raise NotDocumentedError(f"{method.upper()} {where} {status}: " + "; ".join(problems))


def find(method: str, path: str) -> _Path | None:
    """The path of a document that a request's is."""
    return next((each for each in _paths() if method in each.operations and each.pattern.fullmatch(path)), None)


def _differences(found: _Path, method: str, response: requests.Response, *, has_body: bool) -> Iterator[str]:
    declared = found.operations[method]["responses"]
    status = str(response.status_code)
    if status not in declared:
        yield f"declared are {', '.join(declared)}: {response.text[:300]}"
        return
    document, pointer = documents()[found.document], f"/paths/{_escaped(found.path)}/{method}/responses/{status}"
    answer = declared[status]
    if "$ref" in answer:
        pointer = answer["$ref"].removeprefix("#")
        answer = document["components"]["responses"][status]
    for name, header in answer.get("headers", {}).items():
        required = header.get("required") or (document["components"]["headers"][name]["required"] and "$ref" in header)
        if required and name.lower() not in response.headers:
            yield f"the header {name} is missing"
    contents = answer.get("content", {})
    if not has_body:
        return
    if not contents:
        if response.content:
            yield f"declared without a body: {response.text[:300]}"
        return
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind not in contents:
        yield f"declared as {', '.join(contents)}, not as {kind}"
    elif kind == "application/json":
        yield from _problems(_validator(found.document, f"{pointer}/content/application~1json/schema"), response)


def _escaped(path: str) -> str:
    return path.replace("~", "~0").replace("/", "~1")


@cache
def _validator(document: str, pointer: str) -> Any:
    """A validator of one schema of a document; a reference to it would need its braces encoded."""
    schema: Json = documents()[document]
    for part in pointer.split("/")[1:]:
        schema = schema[part.replace("~1", "/").replace("~0", "~")]
    return jsonschema_rs.validator_for(schema | {"components": documents()[document]["components"]})


def _problems(validator: Any, response: requests.Response) -> list[str]:
    try:
        body = response.json()
    except ValueError:
        return [f"no JSON: {response.text[:100]!r}"]
    if validator.is_valid(body):
        return []
    errors = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(body)]
    return [error[:500] for error in errors[:5]]


def _is_the_gateways(response: requests.Response, *, has_body: bool) -> bool:
    """What the gateway itself refuses, or says where a function gave no answer."""
    if response.status_code not in BY_THE_GATEWAY or not has_body:
        return False
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and ({*body} == {"message"} or str(body.get("error")).startswith(BY_THE_DOOR))
