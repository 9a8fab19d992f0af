"""$default: 404 and 405 in our shape, for what no other route takes."""

import re
from collections.abc import Mapping
from typing import Any

from stowage.basics.errors import MethodNotAllowedError, NotFoundError
from stowage.entry.http import error_answer
from stowage.entry.routes import ROUTES

_PATHS = [
    (method, path.count("{"), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))))
    for method, path in (line.split() for line in ROUTES)
]


def app(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Tell an unknown path from a known one with another method."""
    # The gateway too prefers a path's own words to placeholders.
    matching = [(placeholders, method) for method, placeholders, path in _PATHS if path.fullmatch(event["rawPath"])]
    methods = sorted({method for placeholders, method in matching if placeholders == min(matching)[0]})
    request_id = event["requestContext"]["requestId"]
    if not methods:
        return error_answer(NotFoundError("There is nothing at this address."), request_id)
    refusal = MethodNotAllowedError(f"This address takes {', '.join(methods)}.")
    answer = error_answer(refusal, request_id)
    answer["headers"]["allow"] = ", ".join(methods)
    return answer
