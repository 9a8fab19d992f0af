"""GET /console: the pages that operators work with."""

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer
from stowage.entry.console import QUERY, show
from stowage.entry.http import Visitor, http_app

HEADERS = ("ETag", "Cache-Control", "Content-Security-Policy")
TYPES = ("text/html", "text/css", "text/javascript", "image/svg+xml")

app = http_app(
    None,
    answers=(*(Answer(200, str, HEADERS, media_type) for media_type in TYPES), Answer(304, None, HEADERS)),
    reads=("If-None-Match",),
    open_query=True,
    query=QUERY,
)


@app.get("/console")
@app.head("/console")
def show_console(visitor: Visitor) -> Response[str | None]:
    """Show the console: every run at a glance, and everything that an operator does."""
    return show(visitor, "")


@app.get("/console/<path>")
@app.head("/console/<path>")
def show_console_part(visitor: Visitor, path: str) -> Response[str | None]:
    """Give a file of the console; a path without an extension is one of its pages."""
    return show(visitor, path)
