"""The page that shows the API's document: Swagger UI, every part of it from here.

`assets/sources.json` says where its files come from; `assets/swagger-ui.LICENSE.txt` is their licence.
"""

import gzip
import hashlib
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler import Response

from stowage.basics.errors import NotFoundError
from stowage.entry.http import VisitorContext

_ASSETS = Path(__file__).with_name("assets")
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Asset:
    """A file of the page: gzipped where that is how it is kept."""

    body: bytes
    is_gzipped: bool
    media_type: str
    etag: str


@cache
def read_asset(name: str) -> Asset:
    """A file of the page by its name; NotFoundError."""
    if name not in _TYPES:
        raise NotFoundError("There is nothing at this address.")
    kept = _ASSETS / f"{name}.gz"
    is_gzipped = kept.exists()
    body = (kept if is_gzipped else _ASSETS / name).read_bytes()
    return Asset(body, is_gzipped, _TYPES[name], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def show(visitor: VisitorContext, name: str) -> Response[str | None]:
    """A file of the page as an answer; 304 to who has it already."""
    asset = read_asset(name)
    headers = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    if visitor.has(asset.etag):
        return Response(304, headers=headers)
    body = asset.body
    if asset.is_gzipped and "gzip" in visitor.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    elif asset.is_gzipped:
        body = gzip.decompress(body)
    # Powertools would take bytes for text, where a type says what an answer is.
    answer: Response[str | None] = Response(200, asset.media_type, b64encode(body).decode(), headers)
    answer.base64_encoded = True
    return answer
