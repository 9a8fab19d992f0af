"""GET /docs: the page that shows the API's document."""

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer
from stowage.entry.document import role_of_readers
from stowage.entry.document.page import show
from stowage.entry.http import Visitor, http_app

HEADERS = ("ETag", "Cache-Control", "Content-Security-Policy")
TYPES = ("text/html", "text/css", "text/javascript")

app = http_app(
    role_of_readers,
    answers=(*(Answer(200, str, HEADERS, media_type) for media_type in TYPES), Answer(304, None, HEADERS)),
    reads=("If-None-Match",),
)


@app.get("/docs")
@app.head("/docs")
def show_docs(visitor: Visitor) -> Response[str | None]:
    """Show what the API can do, and try it out."""
    return show(visitor, "index.html")


@app.get("/docs/<file>")
@app.head("/docs/<file>")
def show_part(visitor: Visitor, file: str) -> Response[str | None]:
    """Give a part of that page: nothing of it comes from anywhere else."""
    return show(visitor, file)
