"""GET /api/v1/openapi.json: the API's document."""

from aws_lambda_powertools.event_handler import Response

from stowage.entry.answers import Answer
from stowage.entry.document import role_of_readers, served
from stowage.entry.http import Visitor, http_app

app = http_app(
    role_of_readers,
    answers=(Answer(200, dict, ("ETag", "Cache-Control")), Answer(304, None, ("ETag", "Cache-Control"))),
    reads=("If-None-Match",),
)


@app.get("/api/v1/openapi.json", compress=True)
@app.head("/api/v1/openapi.json", compress=True)
def get_openapi(visitor: Visitor) -> Response[str | None]:
    """Describe every route, with the records of the entities that are declared here."""
    body, tag = served()
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if visitor.has(tag):
        return Response(304, headers=headers)
    return Response(200, "application/json", body, headers)
