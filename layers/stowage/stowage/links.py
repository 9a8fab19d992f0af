"""Download links of our own: an HMAC over tenant, run and expiry, good without other credentials (CONTRACT §1)."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

from stowage.aws.keys import read_key
from stowage.errors import NotFoundError
from stowage.ids import parse_rfc3339

_SIGNATURE_BYTES = 32


@dataclass(frozen=True)
class Link:
    """What a link gives access to, and until when (RFC 3339)."""

    tenant: str
    run_id: str
    expires_at: str


def make_token(link: Link) -> str:
    """The token of a link: base64url of its signature and its content."""
    content = json.dumps([link.tenant, link.run_id, link.expires_at], separators=(",", ":")).encode()
    return urlsafe_b64encode(_sign(content) + content).decode().rstrip("=")


def read_token(token: str, now: datetime) -> Link:
    """The link behind a token; NotFoundError when it is not ours, or no longer good."""
    try:
        packed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise _no_link() from None
    signature, content = packed[:_SIGNATURE_BYTES], packed[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(content)):
        raise _no_link()
    link = Link(*json.loads(content))
    if parse_rfc3339(link.expires_at) <= now:
        raise _no_link()
    return link


def _no_link() -> NotFoundError:
    return NotFoundError("This link is not valid, or no longer.", "link_not_found")


def _sign(content: bytes) -> bytes:
    return hmac.digest(read_key("link")["secret"].encode(), b"download\0" + content, hashlib.sha256)
