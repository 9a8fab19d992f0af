"""The keys that verify tokens and sign links: copied into the table by one function, read by all."""

import time
from typing import Any

from stowage.aws import table
from stowage.basics.errors import UnavailableError

_REMEMBER_SECONDS = 300.0
_known: dict[str, tuple[float, dict[str, Any]]] = {}


def read_key(name: str) -> dict[str, Any]:
    """The key item `jwt` (`{secret}` or `{keys}`, a JWK set's) or `link` (`{secret}`); a warm function remembers it.

    UnavailableError when the deployment has not copied it yet.
    """
    remembered = _known.get(name)
    if remembered and time.monotonic() - remembered[0] < _REMEMBER_SECONDS:
        return remembered[1]
    item = table.get(f"KEY#{name}", "KEY")
    if item is None:
        raise UnavailableError("Sign-in is not set up yet.", "keys_missing", retry_after=60)
    _known[name] = (time.monotonic(), item)
    return item


def write_key(name: str, key: dict[str, Any]) -> None:
    """Keep a key item; only the function that copies them may."""
    table.put({"pk": f"KEY#{name}", "sk": "KEY", **key})
