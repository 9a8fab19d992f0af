"""DELETE /api/session: clear the session cookie."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.shared.cookies import Cookie, SameSite

from stowage.entry.answers import Answer
from stowage.entry.auth import COOKIE
from stowage.entry.http import http_app

app = http_app(None, answers=(Answer(204, None, ("Set-Cookie",)),))


@app.delete("/api/session")
def delete_session() -> Response[None]:
    """Sign out; also a session that has expired can be cleared."""
    cookie = Cookie(
        name=COOKIE, value="", path="/", secure=True, http_only=True, same_site=SameSite.LAX_MODE, max_age=0
    )
    return Response(204, cookies=[cookie])
