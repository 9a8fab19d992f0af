"""Who may talk to the two ports: programs of this machine, and pages of the console. No other page, whatever name its
site gives to this address (DNS rebinding).
"""

import re
from collections.abc import Sequence

from local.http_server import RefusedError, Request

_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)


class Door:
    """Lets in requests that name this machine as their host and come from no page, or from one of `origins`."""

    def __init__(self, *own_ports: int) -> None:
        """Pages that this machine serves itself at one of these ports are welcome."""
        own = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost") for port in own_ports]
        self._own, self.origins = own, list[str]()

    def welcome(self, origins: Sequence[str]) -> None:
        """Let in pages of these origins too, as an API's or a bucket's CORS rules have them."""
        self.origins = list(origins)

    def __call__(self, request: Request) -> None:
        """RefusedError for a request that is not let in."""
        hosts = request.all_headers("host")
        if len(hosts) != 1:
            raise RefusedError(400, "A request names one Host.")
        if not _HOST.fullmatch(hosts[0]):
            raise RefusedError(403, "This server answers as 127.0.0.1 and localhost only.", "foreign_host")
        for origin in request.all_headers("origin"):
            if not any(allows(allowed, origin) for allowed in (*self._own, *self.origins)):
                sentence = f"Pages of {origin[:100]!r} may not call this server: ConsoleOrigins does not list it."
                raise RefusedError(403, sentence, "foreign_origin")


def allows(allowed: str, origin: str) -> bool:
    """Whether a CORS rule's origin takes a page's: it is the same, `*`, or `https://*`."""
    return allowed in ("*", origin) or (allowed.endswith("://*") and origin.startswith(allowed[:-1]))
