"""$default: 404 and 405 in our shape, for what no other route takes."""

import re
from collections.abc import Mapping
from typing import Any

from stowage.basics.errors import MethodNotAllowedError, NotFoundError
from stowage.entry.http import error_answer

ROUTES = """
GET /api/backup
POST /api/backup/estimate
POST /api/backup/export
GET /api/backup/{id}
GET /api/backup/{id}/download
GET /api/downloads/{token}
POST /api/guilds/{guildId}/bulk/delete
GET /api/guilds/{guildId}/bulk/operations
POST /api/guilds/{guildId}/bulk/reassign
POST /api/guilds/{guildId}/bulk/undo
GET /api/guilds/{guildId}/exports
POST /api/guilds/{guildId}/exports
POST /api/guilds/{guildId}/exports/estimate
DELETE /api/guilds/{guildId}/exports/{exportId}
GET /api/guilds/{guildId}/exports/{exportId}
POST /api/guilds/{guildId}/exports/{exportId}/cancel
GET /api/guilds/{guildId}/exports/{exportId}/progress
GET /api/guilds/{guildId}/trash
DELETE /api/guilds/{guildId}/trash/{itemId}
POST /api/guilds/{guildId}/trash/{itemId}
POST /api/guilds/{guildId}/trash/{itemId}/restore
GET /api/jobs
GET /api/jobs/stats
GET /api/jobs/{id}
POST /api/jobs/{id}/cancel
POST /api/jobs/{id}/retry
GET /api/jobs/{id}/timeline
DELETE /api/session
POST /api/session
PATCH /api/v1/bulk/{entity}
POST /api/v1/bulk/{entity}/delete
POST /api/v1/guilds/{guildId}/bulk/delete
GET /api/v1/guilds/{guildId}/bulk/operations
POST /api/v1/guilds/{guildId}/bulk/reassign
POST /api/v1/guilds/{guildId}/bulk/undo
GET /api/v1/guilds/{guildId}/exports
POST /api/v1/guilds/{guildId}/exports
POST /api/v1/guilds/{guildId}/exports/estimate
DELETE /api/v1/guilds/{guildId}/exports/{exportId}
GET /api/v1/guilds/{guildId}/exports/{exportId}
POST /api/v1/guilds/{guildId}/exports/{exportId}/cancel
GET /api/v1/guilds/{guildId}/exports/{exportId}/progress
GET /api/v1/guilds/{guildId}/trash
DELETE /api/v1/guilds/{guildId}/trash/{itemId}
POST /api/v1/guilds/{guildId}/trash/{itemId}
POST /api/v1/guilds/{guildId}/trash/{itemId}/restore
GET /api/v1/health
POST /api/v1/import/{entity}
POST /api/v1/import/{entity}/file
POST /api/v1/import/{entity}/file/{id}/start
GET /api/v1/me
GET /api/v1/tenants
GET /api/v1/{entity}
POST /api/v1/{entity}
DELETE /api/v1/{entity}/{id}
GET /api/v1/{entity}/{id}
PATCH /api/v1/{entity}/{id}
"""
"""Every route of the template; tests/structure holds the two against each other."""

_PATHS = [
    (method, path.count("{"), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))))
    for method, path in (line.split() for line in ROUTES.split("\n") if line)
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
