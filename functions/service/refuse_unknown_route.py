"""$default: 404 and 405 in our shape, for what no other route takes."""

import re
from collections.abc import Mapping
from typing import Any

from stowage.basics.errors import MethodNotAllowedError, NotFoundError
from stowage.entry.http import SAFE_METHODS, error_answer
from stowage.entry.routes import ROUTES

PAGES = ("/console/", "/docs/")
"""What people type for a page; it stands without the slash."""


def _pattern(path: str) -> re.Pattern[str]:
    """What a route's path matches, as the gateway has it."""
    greedy = re.sub(r"\\{\w+\\\+\\}", ".+", re.escape(path))
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", greedy))


_PATHS = [(method, path.count("{"), _pattern(path)) for method, path in (line.split() for line in ROUTES)]


def app(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Tell an unknown path from a known one with another method; lead to a page that was asked for with a slash."""
    # The gateway too prefers a path's own words to placeholders.
    matching = [(placeholders, method) for method, placeholders, path in _PATHS if path.fullmatch(event["rawPath"])]
    methods = sorted({method for placeholders, method in matching if placeholders == min(matching)[0]})
    request_id = event["requestContext"]["requestId"]
    if event["rawPath"] in PAGES and event["requestContext"]["http"]["method"] in SAFE_METHODS:
        return {"statusCode": 308, "headers": {"location": event["rawPath"].rstrip("/")}}
    if not methods:
        return error_answer(NotFoundError("There is nothing at this address."), request_id)
    refusal = MethodNotAllowedError(f"This address takes {', '.join(methods)}.")
    answer = error_answer(refusal, request_id)
    answer["headers"]["allow"] = ", ".join(methods)
    return answer
