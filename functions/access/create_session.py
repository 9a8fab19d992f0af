"""POST /api/session: check a token and keep it in the session cookie."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.shared.cookies import Cookie, SameSite
from pydantic import BaseModel

from stowage.access.identity import Role
from stowage.basics.ids import rfc3339
from stowage.entry.answers import Answer
from stowage.entry.auth import COOKIE, identify
from stowage.entry.http import Body, Visitor, http_app, json_response


class SessionRequest(Body):
    """The token to keep."""

    token: str


class Session(BaseModel):
    """Whose session it is, and until when."""

    sub: str
    role: Role
    tenants: list[str]
    expiresAt: str


app = http_app(None, answers=(Answer(200, Session, ("Set-Cookie",)),), refuses=(401,))


@app.post("/api/session")
def create_session(visitor: Visitor, request: SessionRequest) -> Response[Session]:
    """Set the cookie that the console's pages send by themselves; scripts cannot read it."""
    identity = identify(request.token, visitor.now, by_cookie=True)
    cookie = Cookie(
        name=COOKIE, value=request.token, path="/", secure=True, http_only=True, same_site=SameSite.LAX_MODE,
        expires=identity.expires_at.replace(tzinfo=None),
    )  # fmt: skip
    session = Session(
        sub=identity.sub,
        role=identity.role,
        tenants=sorted(identity.tenants),
        expiresAt=rfc3339(identity.expires_at),
    )
    return json_response(session, 200, cookies=[cookie])
