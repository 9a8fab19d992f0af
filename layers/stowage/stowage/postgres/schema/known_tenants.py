"""Waiting for a tenant that was just registered: functions outside the database's network read a
copy of the registry.
"""

import time
import urllib.error
import urllib.parse
import urllib.request

from stowage.basics.errors import StowageError

MOST_SECONDS = 150.0
"""A copy is made at most once a minute, when somebody asks for a tenant that is not in it."""
EVERY_SECONDS = 2.0
_ANSWER_SECONDS = 30.0


def wait_until_known(api: str, tenant: str, token: str) -> float:
    """Ask the API for the tenant until it does not say 404 any more; the seconds that this took.

    StowageError where it answers something else, or says 404 for longer than a copy of the registry can take.
    """
    query = urllib.parse.urlencode({"project_id": tenant, "limit": 1})
    request = urllib.request.Request(f"{api.rstrip('/')}/api/jobs?{query}")  # noqa: S310 - the operator's own URL
    request.add_header("Authorization", f"Bearer {token}")
    began = time.monotonic()
    while time.monotonic() - began < MOST_SECONDS:
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):  # noqa: S310
                return time.monotonic() - began
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise StowageError(f"It is registered, but the API at {api} answers {error.code}.") from error
        except (OSError, ValueError) as error:
            raise StowageError(f"It is registered, but {api} does not answer: {error}") from error
        time.sleep(EVERY_SECONDS)
    raise StowageError(
        f"It is registered, but the API still says 404. May the token see {tenant}? Does copy_registry run?"
    )
