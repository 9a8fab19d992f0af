"""GET and HEAD /api/downloads/{token}: follow a download link of ours to storage's own, signed now."""

from aws_lambda_powertools.event_handler import Response

from stowage import exports
from stowage.entry.answers import Answer
from stowage.entry.http import Visitor, http_app

app = http_app(None, answers=(Answer(302, None, ("Location", "Cache-Control")),), refuses=(410,))


@app.get("/api/downloads/<token>")
@app.head("/api/downloads/<token>")
def download_export(visitor: Visitor, token: str) -> Response[None]:
    """Answer 302; the token is the credential."""
    link = exports.follow_link(token, visitor.source_ip, visitor.now, head=visitor.method == "HEAD")
    return Response(302, headers={"Location": link, "Cache-Control": "no-store"})
