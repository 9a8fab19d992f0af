"""API keys as credentials: how one is written, what is stored of it, and whom it names (docs/api.md, API keys).

`stw_`, an id of 9 characters, a secret of 33 (more than 192 bits) and a checksum of 6, by which a mistyped key is told
without a look at the table. Nobody can guess such a secret, so a fast keyed hash is enough; its key never leaves the
deployment.
"""

import hashlib
import hmac
from binascii import crc32
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stowage.access.identity import Identity
from stowage.aws import table
from stowage.aws.keys import read_key
from stowage.aws.table import PRESENT, Below, ConditionFailedError
from stowage.basics.errors import UnauthenticatedError
from stowage.basics.ids import parse_rfc3339, rfc3339

PREFIX = "stw_"
"""What every key begins with."""
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 9, 33, 6
LENGTH = len(PREFIX) + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH
SORT_KEY = "KEY"
USED_AGAIN_AFTER = timedelta(hours=1)
"""The last use is written at most once in this time."""
FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ApiKey:
    """A key as its owner has it; `text` is all of it."""

    id: str
    text: str


def make_key(seed: bytes) -> ApiKey:
    """The key that 32 random bytes make."""
    number = int.from_bytes(hashlib.sha512(seed).digest())
    key_id = _written(number % 62**ID_LENGTH, ID_LENGTH)
    body = key_id + _written(number // 62**ID_LENGTH, SECRET_LENGTH)
    return ApiKey(key_id, PREFIX + body + _checksum(body))


def read_text(text: str) -> ApiKey | None:
    """The key of that text; None for one that no key has."""
    body, checksum = text[len(PREFIX) : -CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    if not text.startswith(PREFIX) or len(text) != LENGTH or not text.isascii() or checksum != _checksum(body):
        return None
    return ApiKey(body[:ID_LENGTH], text)


def place_of(key_id: str) -> tuple[str, str]:
    """Where the item of a key lies. Never below `KEY#`, where the keys that verify tokens are."""
    return f"APIKEY#{key_id}", SORT_KEY


def hash_of(key: ApiKey) -> str:
    """What is stored of a key, in hexadecimal."""
    return hmac.new(derived("api keys"), key.text.encode(), hashlib.sha256).hexdigest()


def derived(purpose: str) -> bytes:
    """A key of the deployment's own for one purpose (HKDF, RFC 5869, with SHA-256 and one block)."""
    extracted = hmac.new(b"stowage", str(read_key("link")["secret"]).encode(), hashlib.sha256).digest()
    return hmac.new(extracted, purpose.encode() + b"\x01", hashlib.sha256).digest()


def identify_key(text: str, now: datetime) -> Identity:
    """The caller that a key names, and note that it was used; UnauthenticatedError where it names none."""
    key = read_text(text)
    item = table.get(*place_of(key.id)) if key else None
    # Compared in any case, so that the time tells nothing of which ids there are.
    is_right = key is not None and hmac.compare_digest(hash_of(key), str((item or {}).get("hash", "")))
    if item is None or not is_right or item.get("revoked_at"):
        raise UnauthenticatedError("The API key is not valid.")
    expires = parse_rfc3339(item["expires_at"]) if item.get("expires_at") else FOR_EVER
    if expires <= now:
        raise UnauthenticatedError("The API key has expired.")
    if item.get("last_used_at", "") <= rfc3339(now - USED_AGAIN_AFTER):
        with suppress(ConditionFailedError):  # another request has just noted it, or the key has just been revoked
            used = {"last_used_at": rfc3339(now)}
            table.update(item["pk"], item["sk"], used, when={"hash": PRESENT, "last_used_at": Below(rfc3339(now))})
    return Identity(f"api-key:{item['id']}", item["role"], frozenset([item["tenant"]]), expires)


def _checksum(body: str) -> str:
    return _written(crc32(body.encode()), CHECKSUM_LENGTH)


def _written(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
