"""Copying the keys that verify tokens and links into the table, where every function may read them."""

from stowage.aws.keys import write_key
from stowage.aws.secrets import read_secret
from stowage.settings import settings

_FETCH_SECONDS = 10


def copy_keys() -> list[str]:
    """Copy the JWT's key (the shared secret, or the identity provider's key set) and the key of links."""
    config = settings()
    if config.jwt_algorithms == "HS256":
        write_key("jwt", {"secret": read_secret(config.jwt_secret)})
    else:
        write_key("jwt", {"keys": _fetch_key_set(config.jwks_url)})
    write_key("link", {"secret": read_secret(config.link_secret)})
    return ["jwt", "link"]


def _fetch_key_set(url: str) -> list[dict[str, str]]:
    """A JSON Web Key Set's keys (RFC 7517 §5)."""
    import requests

    response = requests.get(url, timeout=_FETCH_SECONDS)
    response.raise_for_status()
    keys: list[dict[str, str]] = response.json()["keys"]
    return keys
