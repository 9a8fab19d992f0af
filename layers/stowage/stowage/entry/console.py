"""The console: one page, and its assets under a name that changes with any of them.

Assets stand under `/console/{hash of the whole folder}/…`, so a browser keeps them for ever; the page
itself is asked for anew each time and names the hash of today.
"""

from base64 import b64encode
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from aws_lambda_powertools.event_handler import Response

from stowage.basics.errors import NotFoundError
from stowage.entry.console_files import PAGE, Asset, read_console
from stowage.entry.http import VisitorContext
from stowage.settings import settings

QUERY: dict[str, Any] = dict.fromkeys(("tenant", "type", "status", "trigger", "since", "until", "q", "run", "tab"), str)
"""What a page's address holds; the pages read it, and the server lets anything pass."""
ONE_YEAR = 31_536_000


def show(visitor: VisitorContext, path: str) -> Response[str | None]:
    """The file at a path below `/console/`; the page for every path without an extension. NotFoundError."""
    console = read_console()
    version, _, name = path.partition("/")
    if not PurePosixPath(path).suffix:
        return _answer(visitor, console.assets[PAGE], "no-cache")
    if version != console.version or name == PAGE or name not in console.assets:
        raise NotFoundError("There is nothing at this address.")
    return _answer(visitor, console.assets[name], f"public, max-age={ONE_YEAR}, immutable")


def _answer(visitor: VisitorContext, asset: Asset, keeping: str) -> Response[str | None]:
    headers = {
        "ETag": asset.etag,
        "Cache-Control": keeping,
        "Content-Security-Policy": policy(),
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    if visitor.has(asset.etag):
        return Response(304, headers=headers)
    is_packed = "gzip" in visitor.headers.get("accept-encoding", "")
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    body = b64encode(asset.packed if is_packed else asset.body).decode()
    # Powertools would take bytes for text, where a type says what an answer is.
    answer: Response[str | None] = Response(200, asset.media_type, body, headers)
    answer.base64_encoded = True
    return answer


@cache
def policy() -> str:
    """The Content-Security-Policy: nothing from elsewhere, and files go to the uploads bucket alone."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{_uploads()}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _uploads() -> str:
    return f" {settings().uploads_origins}" if settings().uploads_origins else ""
