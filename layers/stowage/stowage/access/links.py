"""Download links of our own: an HMAC over tenant, run and expiry, good without other credentials (docs/api.md)."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from stowage.aws.keys import read_key
from stowage.basics.errors import NotFoundError

_SIGNATURE_BYTES = 32


@dataclass(frozen=True)
class Link:
    """What a link gives access to, and until when (RFC 3339); `file` names one of a run's several files."""

    tenant: str
    run_id: str
    expires_at: str
    file: str = ""


def make_token(link: Link) -> str:
    """The token of a link: base64url of its signature and its content."""
    parts = [link.tenant, link.run_id, link.expires_at]
    content = json.dumps([*parts, link.file] if link.file else parts, separators=(",", ":")).encode()
    return _packed(_sign(content) + content)


def link_url(link: Link, base_url: str) -> str:
    """The absolute form of a link."""
    return f"{base_url}/api/downloads/{make_token(link)}"


def read_token(token: str) -> Link:
    """The link behind a token, expired or not; NotFoundError when it is not ours."""
    try:
        packed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise no_link() from None
    signature, content = packed[:_SIGNATURE_BYTES], packed[_SIGNATURE_BYTES:]
    # The decoder overlooks foreign characters and spare bits; one link has one token.
    if _packed(packed) != token or not hmac.compare_digest(signature, _sign(content)):
        raise no_link()
    return Link(*json.loads(content))


def no_link() -> NotFoundError:
    """The answer to a link that is not ours, or whose export is no more."""
    return NotFoundError("This link is not valid, or no longer.", "link_not_found")


def _packed(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _sign(content: bytes) -> bytes:
    return hmac.digest(read_key("link")["secret"].encode(), b"download\0" + content, hashlib.sha256)
