"""The console's files: one page, and its assets under a name that changes with any of them.

Assets stand under `/console/{hash of the whole folder}/…`, so a browser keeps them for ever; the page
itself is asked for anew each time and names the hash of today.
"""

import gzip
import hashlib
import posixpath
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from aws_lambda_powertools.event_handler import Response

from stowage.basics.errors import NotFoundError
from stowage.entry.http import VisitorContext
from stowage.settings import settings

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
QUERY: dict[str, Any] = dict.fromkeys(("tenant", "type", "status", "trigger", "since", "until", "q", "run", "tab"), str)
"""What a page's address holds; the pages read it, and the server lets anything pass."""
PAGE = "index.html"
FIRST = "app.js"
PLACE = "/console/assets/"
"""Where the page says that its assets stand; they are served under the hash in its place."""
ONE_YEAR = 31_536_000
_IMPORT = re.compile(r"""\bfrom ?"(\.[^"]+)\"""")


def _folder() -> Path:
    """The layer's folder beside the packages on AWS, the checkout's own on a laptop."""
    here = Path(__file__).resolve()
    return next(each / "console" for each in here.parents if (each / "console" / PAGE).is_file())


@dataclass(frozen=True)
class Asset:
    """A file of the console, as it is and gzipped."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str


@dataclass(frozen=True)
class Console:
    """All files by their path in the folder; `version` is the hash of them all."""

    version: str
    assets: dict[str, Asset]


@cache
def read_console() -> Console:
    """Read the folder once for as long as the process lives."""
    folder = _folder()
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }
    whole = hashlib.sha256()
    for name, body in files.items():
        whole.update(f"{name} {len(body)} ".encode() + body)
    version = whole.hexdigest()[:16]
    preloads = "".join(f'<link rel="modulepreload" href="{PLACE}{name}">\n' for name in _first_modules(files))
    page = files[PAGE].decode().replace("</head>", f"{preloads}</head>").replace(PLACE, f"/console/{version}/")
    files[PAGE] = page.encode()
    return Console(version, {name: _asset(name, body) for name, body in files.items()})


def _first_modules(files: dict[str, bytes]) -> list[str]:
    """The modules that the first one imports, and theirs: a browser that knows them asks for all at once."""
    found: list[str] = []
    waiting = [FIRST]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found.append(name)
        imported = _IMPORT.findall(files[name].decode())
        waiting += [posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in imported]
    return found


def _asset(name: str, body: bytes) -> Asset:
    media_type = TYPES[PurePosixPath(name).suffix]
    return Asset(body, gzip.compress(body, mtime=0), media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


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
